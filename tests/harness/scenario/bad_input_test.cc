// One message for each kind of bad input: the file, the JSON pointer, what is wrong, what is
// allowed. The whole messages stand in
// bad_input.json, so that a change to one is a decision.
#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "harness/scenario/scenario.h"
#include "tests/harness/scenario/files.h"

namespace understudy::harness {
namespace {

// The message for kGood with `change` made in the file itself, without the folder's name.
std::string MessageFor(const Json& change) {
  const testing::ScenarioFolder folder;
  Json document = ParseJson(testing::kGood, "kGood");
  for (const Json& one : change) {
    if (one.contains("remove")) {
      const Json::json_pointer pointer(one["remove"].get<std::string>());
      document.at(pointer.parent_pointer()).erase(pointer.back());
    } else {
      document[Json::json_pointer(one["at"].get<std::string>())] = one["value"];
    }
  }
  const auto file = folder.Write("s.json", ToText(document));
  try {
    LoadScenario(file);
  } catch (const Error& error) {
    std::string what = error.what();
    const std::string prefix = folder.path().string() + "/";
    for (auto at = what.find(prefix); at != std::string::npos; at = what.find(prefix)) {
      what.erase(at, prefix.size());
    }
    return std::string(ErrorKindName(error.kind())) + " " + what;
  }
  return "accepted";
}

struct Bad {
  std::string name;
  Json change;
  std::string message;
};

std::vector<Bad> Golden() {
  std::vector<Bad> all;
  const std::filesystem::path source = UNDERSTUDY_SOURCE_DIR;
  for (const Json& one : ParseJsonFile(source / "tests/harness/scenario/bad_input.json")) {
    all.push_back(
        {one["name"].get<std::string>(), one["change"], one["message"].get<std::string>()});
  }
  return all;
}

class BadInput : public ::testing::TestWithParam<Bad> {};

TEST_P(BadInput, IsRefusedWithThePlaceAndWhatIsAllowed) {
  EXPECT_EQ(MessageFor(GetParam().change), GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(Kinds, BadInput, ::testing::ValuesIn(Golden()),
                         [](const auto& bad) { return bad.param.name; });

}  // namespace
}  // namespace understudy::harness
