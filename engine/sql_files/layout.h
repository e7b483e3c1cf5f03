#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// How the tools of the field lay out their migration files. Pure: a folder gives an ordered list
// of versions; no database is asked.
namespace understudy::sql_files {

enum class Layout { kPlain, kGolangMigrate, kGoose, kDbmate, kFlyway, kSqitch };
std::string_view LayoutName(Layout layout);  // plain golang-migrate goose dbmate flyway sqitch
// Error(kInvalidSpec) names what is allowed; "auto" is none of them.
Layout LayoutFromName(std::string_view name);

// The SQL of one direction. Lines of `text` are lines of the file: what belongs to the other
// direction is blanked out, not cut.
struct Script {
  std::filesystem::path file;
  std::string text;
  bool in_transaction = true;  // false: the file says that it runs outside a transaction
};

// One step of a project's history.
struct Version {
  std::string version;  // "0007", "20260101120000", "1.2", a change's name (sqitch), a file's name
  std::string name;     // "total_cents"; for people
  std::optional<Script> up;  // nothing: only a down is there
  std::optional<Script> down;
  std::optional<Script> verify;   // sqitch
  bool repeatable = false;        // flyway: run again whenever its text changes
  std::vector<std::string> tags;  // sqitch: @v1.0
};

using Variables = std::map<std::string, std::string>;

// By the files' names and marks; kPlain when nothing else fits.
Layout DetectLayout(const std::filesystem::path& folder);
// The same for files named one by one: only marks inside them count.
Layout DetectLayout(const std::vector<std::filesystem::path>& files);

// The versions in the order in which they are applied. Error(kInvalidSpec) names file and line:
// no migration found, two files of one version, a mark that is missing or twice, a dependency that
// comes later, a placeholder without a value.
std::vector<Version> ReadFolder(const std::filesystem::path& folder, Layout layout,
                                const Variables& variables);
// Files in the order given; kPlain, kGoose and kDbmate only.
std::vector<Version> ReadFiles(const std::vector<std::filesystem::path>& files, Layout layout,
                               const Variables& variables);

// The position of the version that a person means by `text`: its version ("0006", also as "6"), its
// name, its file's name, a tag ("@v1.0"). Error(kInvalidSpec) lists those there are.
std::size_t FindVersion(const std::vector<Version>& versions, std::string_view text);

// ${name} replaced. With `strict` a name without a value is an error at its line; else it stays.
std::string Substitute(const std::string& text, const Variables& variables, bool strict,
                       const std::filesystem::path& file);

// Flyway's checksum: CRC-32 over the lines without their ends.
std::int32_t FlywayChecksum(std::string_view text);

namespace layouts {  // one file each
std::vector<Version> ReadPlain(const std::filesystem::path& folder);
std::vector<Version> ReadGolangMigrate(const std::filesystem::path& folder);
std::vector<Version> ReadGoose(const std::vector<std::filesystem::path>& files);
std::vector<Version> ReadDbmate(const std::vector<std::filesystem::path>& files);
std::vector<Version> ReadFlyway(const std::filesystem::path& folder, const Variables& variables);
std::vector<Version> ReadSqitch(const std::filesystem::path& folder);
std::filesystem::path SqitchPlan(const std::filesystem::path& folder);  // "" = none

// The *.sql files of a folder, sorted by path bytes.
std::vector<std::filesystem::path> SqlFiles(const std::filesystem::path& folder, bool recursive);
// "0007" of "0007_total.sql" and "total"; nothing when it does not begin with digits.
struct Numbered {
  std::string digits;
  std::string rest;  // after the digits and one underscore or dash, without ".sql"
};
std::optional<Numbered> ParseNumbered(const std::filesystem::path& file);
// Digits compared as numbers of any size.
bool NumberLess(std::string_view a, std::string_view b);
[[noreturn]] void FailAtLine(const std::filesystem::path& file, int line, const std::string& what);
// Calls `take` with each line's number (from 1) and text (without its end).
template <typename Take>
void ForEachLine(std::string_view text, Take take) {
  int number = 1;
  while (!text.empty()) {
    const auto end = text.find('\n');
    std::string_view line = text.substr(0, end);
    take(number++, line);
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
}
}  // namespace layouts

}  // namespace understudy::sql_files
