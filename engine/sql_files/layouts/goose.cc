// goose: N_name.sql with the marks "-- +goose Up" and "-- +goose Down"; "-- +goose NO TRANSACTION"
// holds for both. StatementBegin and StatementEnd are for goose's own splitter: ours needs none.
#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/sql_files/layout.h"

namespace understudy::sql_files::layouts {
namespace fs = std::filesystem;
namespace {

// "Up" of "-- +goose Up", or "".
std::string_view MarkOf(std::string_view line) {
  if (!line.starts_with("--")) return {};
  line.remove_prefix(2);
  const auto trim = [&] {
    while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
    while (!line.empty() && (line.back() == ' ' || line.back() == '\t' || line.back() == '\r')) {
      line.remove_suffix(1);
    }
  };
  trim();
  if (!line.starts_with("+goose")) return {};
  line.remove_prefix(6);
  trim();
  return line;
}

Version ReadOne(const fs::path& file, const Numbered& numbered) {
  Version version{.version = numbered.digits, .name = numbered.rest};
  const std::string text = ReadFile(file);
  enum { kBefore, kUp, kDown } where = kBefore;
  Script up{file, ""};
  Script down{file, ""};
  bool has_down = false;
  bool in_transaction = true;
  int open_statement = 0;
  ForEachLine(text, [&](int number, std::string_view line) {
    const std::string_view mark = MarkOf(line);
    if (mark == "Up") {
      if (where != kBefore) FailAtLine(file, number, "a second '-- +goose Up'");
      where = kUp;
    } else if (mark == "Down") {
      if (where != kUp) FailAtLine(file, number, "'-- +goose Down' must follow '-- +goose Up'");
      where = kDown;
      has_down = true;
    } else if (mark == "NO TRANSACTION") {
      in_transaction = false;
    } else if (mark == "StatementBegin") {
      open_statement = number;
    } else if (mark == "StatementEnd") {
      if (open_statement == 0) FailAtLine(file, number, "StatementEnd without StatementBegin");
      open_statement = 0;
    } else if (mark == "ENVSUB ON") {
      FailAtLine(file, number,
                 "goose would take values from its environment here (ENVSUB); rehearse it with the "
                 "strategy 'command', which runs goose itself");
    } else if (!mark.empty() && mark != "ENVSUB OFF") {
      FailAtLine(file, number, "unknown mark '+goose " + std::string(mark) + "'");
    } else if (where == kBefore && !line.empty() && !line.starts_with("--") &&
               line.find_first_not_of(" \t\r") != std::string_view::npos) {
      FailAtLine(file, number, "SQL before '-- +goose Up': goose refuses it");
    }
    up.text += (where == kUp ? std::string(line) : std::string()) + "\n";
    down.text += (where == kDown ? std::string(line) : std::string()) + "\n";
  });
  if (where == kBefore) FailAtLine(file, 1, "no '-- +goose Up' in this file");
  if (open_statement != 0) FailAtLine(file, open_statement, "StatementBegin without StatementEnd");
  up.in_transaction = down.in_transaction = in_transaction;
  version.up = std::move(up);
  if (has_down) version.down = std::move(down);
  return version;
}

}  // namespace

std::vector<Version> ReadGoose(const std::vector<fs::path>& files) {
  std::vector<Version> versions;
  for (const fs::path& file : files) {
    const auto numbered = ParseNumbered(file);
    if (!numbered) continue;
    versions.push_back(ReadOne(file, *numbered));
  }
  std::ranges::stable_sort(versions, NumberLess, &Version::version);
  for (std::size_t i = 1; i < versions.size(); ++i) {
    if (!NumberLess(versions[i - 1].version, versions[i].version)) {
      throw Error(ErrorKind::kInvalidSpec, "two files of the version " + versions[i].version +
                                               ": " + versions[i - 1].up->file.string() + " and " +
                                               versions[i].up->file.string());
    }
  }
  return versions;
}

}  // namespace understudy::sql_files::layouts
