// dbmate: N_name.sql with the marks "-- migrate:up" and "-- migrate:down", each perhaps followed by
// "transaction:false".
#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/sql_files/layout.h"

namespace understudy::sql_files::layouts {
namespace fs = std::filesystem;
namespace {

// What follows "-- migrate:" in this line, or nothing.
std::optional<std::string_view> MarkOf(std::string_view line) {
  if (!line.starts_with("--")) return std::nullopt;
  line.remove_prefix(2);
  while (!line.empty() && (line[0] == ' ' || line[0] == '\t')) line.remove_prefix(1);
  if (!line.starts_with("migrate:")) return std::nullopt;
  line.remove_prefix(8);
  while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
  return line;
}

bool InTransaction(std::string_view options, const fs::path& file, int number) {
  bool in_transaction = true;
  while (!options.empty()) {
    const auto begin = options.find_first_not_of(" \t");
    if (begin == std::string_view::npos) break;
    options.remove_prefix(begin);
    const std::string_view option = options.substr(0, options.find_first_of(" \t"));
    if (option == "transaction:false") {
      in_transaction = false;
    } else if (option != "transaction:true") {
      FailAtLine(file, number,
                 "unknown option '" + std::string(option) +
                     "'; allowed: transaction:true, transaction:false");
    }
    options.remove_prefix(option.size());
  }
  return in_transaction;
}

Version ReadOne(const fs::path& file, const Numbered& numbered) {
  Version version{.version = numbered.digits, .name = numbered.rest};
  const std::string text = ReadFile(file);
  Script* current = nullptr;
  Script up{file, ""};
  Script down{file, ""};
  bool has_up = false;
  bool has_down = false;
  ForEachLine(text, [&](int number, std::string_view line) {
    if (const auto mark = MarkOf(line)) {
      if (mark->starts_with("up")) {
        if (has_up) FailAtLine(file, number, "a second '-- migrate:up'");
        has_up = true;
        current = &up;
        up.in_transaction = InTransaction(mark->substr(2), file, number);
      } else if (mark->starts_with("down")) {
        if (!has_up) FailAtLine(file, number, "'-- migrate:down' must follow '-- migrate:up'");
        if (has_down) FailAtLine(file, number, "a second '-- migrate:down'");
        has_down = true;
        current = &down;
        down.in_transaction = InTransaction(mark->substr(4), file, number);
      }
    } else if (current == nullptr && !line.starts_with("--") &&
               line.find_first_not_of(" \t\r") != std::string_view::npos) {
      FailAtLine(file, number, "SQL before '-- migrate:up': dbmate refuses it");
    }
    up.text += (current == &up ? std::string(line) : std::string()) + "\n";
    down.text += (current == &down ? std::string(line) : std::string()) + "\n";
  });
  if (!has_up) FailAtLine(file, 1, "no '-- migrate:up' in this file");
  version.up = std::move(up);
  if (has_down) version.down = std::move(down);
  return version;
}

}  // namespace

std::vector<Version> ReadDbmate(const std::vector<fs::path>& files) {
  std::vector<Version> versions;
  for (const fs::path& file : files) {
    const auto numbered = ParseNumbered(file);
    if (!numbered) continue;
    versions.push_back(ReadOne(file, *numbered));
  }
  // dbmate goes by the file's name, not by the number.
  std::ranges::stable_sort(versions, {}, [](const Version& v) { return v.up->file.filename(); });
  for (std::size_t i = 1; i < versions.size(); ++i) {
    if (versions[i - 1].version == versions[i].version) {
      throw Error(ErrorKind::kInvalidSpec, "two files of the version " + versions[i].version +
                                               ": " + versions[i - 1].up->file.string() + " and " +
                                               versions[i].up->file.string());
    }
  }
  return versions;
}

}  // namespace understudy::sql_files::layouts
