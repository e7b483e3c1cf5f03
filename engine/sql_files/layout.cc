#include "engine/sql_files/layout.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "engine/base/error.h"
#include "engine/base/file.h"

namespace understudy::sql_files {
namespace fs = std::filesystem;
namespace {
constexpr std::array<std::string_view, 6> kNames = {"plain",  "golang-migrate", "goose",
                                                    "dbmate", "flyway",         "sqitch"};

bool HasMark(const fs::path& file, std::string_view tool) {
  const std::string text = ReadFile(file);
  bool found = false;
  layouts::ForEachLine(text, [&](int, std::string_view line) {
    if (!line.starts_with("--")) return;
    line.remove_prefix(2);
    while (!line.empty() && (line[0] == ' ' || line[0] == '\t')) line.remove_prefix(1);
    if (line.starts_with(tool)) found = true;
  });
  return found;
}

std::string WithoutZeros(std::string_view digits) {
  while (digits.size() > 1 && digits[0] == '0') digits.remove_prefix(1);
  return std::string(digits);
}

bool IsFlywayName(const std::string& name) {
  if (name.starts_with("R__")) return true;
  return (name[0] == 'V' || name[0] == 'U' || name[0] == 'B') && name.size() > 1 &&
         std::isdigit(static_cast<unsigned char>(name[1])) != 0 &&
         name.find("__") != std::string::npos;
}
}  // namespace

std::string_view LayoutName(Layout layout) { return kNames[static_cast<std::size_t>(layout)]; }

Layout LayoutFromName(std::string_view name) {
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return static_cast<Layout>(i);
  }
  throw Error(ErrorKind::kInvalidSpec, "unknown layout '" + std::string(name) +
                                           "'; allowed: auto, plain, golang-migrate, goose, "
                                           "dbmate, flyway, sqitch");
}

Layout DetectLayout(const fs::path& folder) {
  if (!layouts::SqitchPlan(folder).empty()) return Layout::kSqitch;
  const std::vector<fs::path> files = layouts::SqlFiles(folder, false);
  if (const Layout marked = DetectLayout(files); marked != Layout::kPlain) return marked;
  for (const fs::path& file : files) {
    if (layouts::ParseNumbered(file) && file.filename().string().ends_with(".up.sql")) {
      return Layout::kGolangMigrate;
    }
  }
  for (const fs::path& file : layouts::SqlFiles(folder, true)) {
    if (IsFlywayName(file.filename().string())) return Layout::kFlyway;
  }
  return Layout::kPlain;
}

Layout DetectLayout(const std::vector<fs::path>& files) {
  for (const fs::path& file : files) {
    if (HasMark(file, "+goose")) return Layout::kGoose;
    if (HasMark(file, "migrate:up")) return Layout::kDbmate;
  }
  return Layout::kPlain;
}

std::vector<Version> ReadFolder(const fs::path& folder, Layout layout, const Variables& variables) {
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored)) {
    throw Error(ErrorKind::kInvalidSpec, "no such folder: " + folder.string());
  }
  std::vector<Version> versions;
  switch (layout) {
    case Layout::kPlain:
      versions = layouts::ReadPlain(folder);
      break;
    case Layout::kGolangMigrate:
      versions = layouts::ReadGolangMigrate(folder);
      break;
    case Layout::kGoose:
    case Layout::kDbmate:
      return ReadFiles(layouts::SqlFiles(folder, false), layout, variables);
    case Layout::kFlyway:
      return layouts::ReadFlyway(folder, variables);
    case Layout::kSqitch:
      versions = layouts::ReadSqitch(folder);
      break;
  }
  if (versions.empty()) {
    throw Error(ErrorKind::kInvalidSpec, "no migration in " + folder.string() + " (layout " +
                                             std::string(LayoutName(layout)) + ")");
  }
  for (Version& version : versions) {
    for (auto* script : {&version.up, &version.down, &version.verify}) {
      if (*script) (*script)->text = Substitute((*script)->text, variables, false, (*script)->file);
    }
  }
  return versions;
}

std::vector<Version> ReadFiles(const std::vector<fs::path>& files, Layout layout,
                               const Variables& variables) {
  std::vector<Version> versions;
  if (layout == Layout::kGoose) {
    versions = layouts::ReadGoose(files);
  } else if (layout == Layout::kDbmate) {
    versions = layouts::ReadDbmate(files);
  } else if (layout == Layout::kPlain) {
    for (const fs::path& file : files) {
      versions.push_back({.version = file.filename().string(),
                          .name = file.stem().string(),
                          .up = Script{file, ReadFile(file)}});
    }
  } else {
    throw Error(ErrorKind::kInvalidSpec,
                "the layout " + std::string(LayoutName(layout)) +
                    " is that of a folder: give the folder, and choose with 'baseline' and "
                    "'through'");
  }
  if (versions.empty()) throw Error(ErrorKind::kInvalidSpec, "no migration file");
  for (Version& version : versions) {
    for (auto* script : {&version.up, &version.down}) {
      if (*script) (*script)->text = Substitute((*script)->text, variables, false, (*script)->file);
    }
  }
  return versions;
}

std::size_t FindVersion(const std::vector<Version>& versions, std::string_view text) {
  const auto matches = [&](const Version& v) {
    if (v.version == text || v.name == text) return true;
    if (v.up && v.up->file.filename().string() == text) return true;
    if (std::ranges::find(v.tags, text) != v.tags.end()) return true;
    const auto digits = [](std::string_view s) {
      return !s.empty() && std::ranges::all_of(s, [](char c) { return c >= '0' && c <= '9'; });
    };
    std::string_view number = v.version;  // of a plain file: the digits that it begins with
    const auto end = number.find_first_not_of("0123456789");
    if (end != std::string_view::npos && number.ends_with(".sql")) number = number.substr(0, end);
    return digits(text) && digits(number) && WithoutZeros(text) == WithoutZeros(number);
  };
  // The last one, so that "through @v1" takes in everything up to the tag.
  for (std::size_t i = versions.size(); i-- > 0;) {
    if (matches(versions[i])) return i;
  }
  std::string known;
  for (const Version& v : versions) known += (known.empty() ? "" : ", ") + v.version;
  throw Error(ErrorKind::kInvalidSpec,
              "no version '" + std::string(text) + "'; there are: " + known);
}

std::string Substitute(const std::string& text, const Variables& variables, bool strict,
                       const fs::path& file) {
  if (!strict && variables.empty()) return text;
  std::string result;
  std::size_t at = 0;
  for (;;) {
    const auto begin = text.find("${", at);
    const auto end = begin == std::string::npos ? begin : text.find('}', begin);
    if (end == std::string::npos) return result + text.substr(at);
    const std::string name = text.substr(begin + 2, end - begin - 2);
    const auto value = variables.find(name);
    if (value == variables.end() && strict) {
      const auto line =
          std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(begin), '\n') + 1;
      layouts::FailAtLine(file, static_cast<int>(line),
                          "no value for the placeholder ${" + name + "}: give it in 'variables'");
    }
    result += text.substr(at, begin - at);
    result += value == variables.end() ? text.substr(begin, end + 1 - begin) : value->second;
    at = end + 1;
  }
}

namespace layouts {

std::vector<fs::path> SqlFiles(const fs::path& folder, bool recursive) {
  std::vector<fs::path> files;
  const auto take = [&](const fs::directory_entry& entry) {
    if (entry.is_regular_file() && entry.path().extension() == ".sql")
      files.push_back(entry.path());
  };
  std::error_code failure;
  if (recursive) {
    for (const auto& entry : fs::recursive_directory_iterator(folder, failure)) take(entry);
  } else {
    for (const auto& entry : fs::directory_iterator(folder, failure)) take(entry);
  }
  if (failure) {
    throw Error(ErrorKind::kInvalidSpec,
                "cannot read the folder " + folder.string() + ": " + failure.message());
  }
  std::ranges::sort(files, {}, [](const fs::path& p) { return p.string(); });
  return files;
}

std::optional<Numbered> ParseNumbered(const fs::path& file) {
  std::string name = file.filename().string();
  if (name.ends_with(".sql")) name.resize(name.size() - 4);
  const auto end = std::min(name.find_first_not_of("0123456789"), name.size());
  if (end == 0) return std::nullopt;
  Numbered result{name.substr(0, end), name.substr(end)};
  if (!result.rest.empty() && (result.rest[0] == '_' || result.rest[0] == '-')) {
    result.rest.erase(0, 1);
  }
  return result;
}

bool NumberLess(std::string_view a, std::string_view b) {
  const std::string left = WithoutZeros(a);
  const std::string right = WithoutZeros(b);
  return left.size() != right.size() ? left.size() < right.size() : left < right;
}

void FailAtLine(const fs::path& file, int line, const std::string& what) {
  throw Error(ErrorKind::kInvalidSpec, file.string() + ":" + std::to_string(line) + ": " + what);
}

}  // namespace layouts
}  // namespace understudy::sql_files
