#include "engine/core/spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/core/points.h"
#include "engine/core/registry.h"

namespace understudy::core {
namespace {
using ::testing::AllOf;
using ::testing::HasSubstr;

Registry SomeRegistry() {
  Registry registry;
  registry.Add(
      {.name = "sql", .endpoint_keys = {"on"}, .required = {"on", "up"}, .optional = {"down"}});
  return registry;
}

std::string MessageOf(const Json& document) {
  try {
    Spec::Parse(document, "id", "/folder", "m.json", SomeRegistry());
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidSpec);
    return error.what();
  }
  return "(no error)";
}

TEST(Spec, NamesThePlaceWhatIsWrongAndWhatIsAllowed) {
  EXPECT_THAT(MessageOf({{"strategy", "sq"}}),
              AllOf(HasSubstr("m.json"), HasSubstr("/strategy"), HasSubstr("allowed: sql")));
  EXPECT_THAT(MessageOf({{"strategy", "sql"}, {"on", "a.db"}, {"up", "x"}, {"upp", 1}}),
              AllOf(HasSubstr("/upp"), HasSubstr("allowed: strategy, id, limits, on, up, down")));
  EXPECT_THAT(MessageOf({{"strategy", "sql"}, {"on", "a.db"}}),
              AllOf(HasSubstr("/up"), HasSubstr("needs this key")));
  EXPECT_THAT(MessageOf({{"strategy", "sql"}, {"on", "nowhere"}, {"up", "x"}}),
              AllOf(HasSubstr("/on"), HasSubstr("not an endpoint")));
  EXPECT_THAT(
      MessageOf({{"strategy", "sql"}, {"on", "a.db"}, {"up", "x"}, {"limits", {{"jobs", "two"}}}}),
      HasSubstr("/limits/jobs"));
  EXPECT_THAT(
      MessageOf({{"strategy", "sql"}, {"on", "a.db"}, {"up", "x"}, {"limits", {{"job", 2}}}}),
      AllOf(HasSubstr("/limits/job"), HasSubstr("jobs")));
}

TEST(Spec, FillsInDefaultsAndResolvesPaths) {
  const Json document = {{"strategy", "sql"}, {"on", "a.db"}, {"up", "x.sql"}};
  const Spec spec = Spec::Parse(document, "file-name", "/folder", "m.json", SomeRegistry());
  EXPECT_EQ(spec.id, "file-name");
  EXPECT_EQ(spec.Target().file(), "/folder/a.db");
  EXPECT_EQ(spec.Path("x.sql"), "/folder/x.sql");
  EXPECT_EQ(spec.limits.cutover_budget_ms, 60000);
  EXPECT_FALSE(spec.limits.lock_timeout_ms.has_value());
  Json changed = document;
  changed["down"] = "y.sql";
  EXPECT_NE(Spec::Parse(changed, "f", "/folder", "m.json", SomeRegistry()).digest, spec.digest);
}

TEST(Spec, LetsLimitsChangeBetweenPhasesButTheOneThatTheDatabaseHolds) {
  const auto digest = [](const Json& limits) {
    Json document = {{"strategy", "sql"}, {"on", "a.db"}, {"up", "x.sql"}};
    if (!limits.is_null()) document["limits"] = limits;
    return Spec::Parse(document, "f", "/folder", "m.json", SomeRegistry()).digest;
  };
  const std::string none = digest(nullptr);
  EXPECT_EQ(digest(Json::object()), none);
  EXPECT_EQ(digest({{"lock_timeout_ms", 900}, {"jobs", 4}}), none);
  EXPECT_NE(digest({{"log_max_bytes", 4096}}), none);
  EXPECT_EQ(digest({{"log_max_bytes", 4096}, {"pause_ms", 1}}), digest({{"log_max_bytes", 4096}}));
}

TEST(Points, AreNamedAfterTheirPhase) {
  for (const Point& point : Points()) {
    EXPECT_EQ(FindPoint(point.name), &point);
    EXPECT_FALSE(point.meaning.empty());
  }
  EXPECT_EQ(FindPoint("no.such"), nullptr);
  EXPECT_THROW(PhaseFromName("cut-over"), Error);
}

}  // namespace
}  // namespace understudy::core
