// Flyway: V1_2__name.sql in the order of the version, U1_2__name.sql leads back, R__name.sql runs
// after all versions, in the order of the name, whenever its text has changed. Placeholders
// ${name}; NAME.sql.conf may say executeInTransaction=false.
#include <algorithm>
#include <array>
#include <map>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/sql_files/layout.h"

namespace understudy::sql_files {
namespace fs = std::filesystem;

std::int32_t FlywayChecksum(std::string_view text) {
  static const auto table = [] {
    std::array<std::uint32_t, 256> made{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t c = i;
      for (int bit = 0; bit < 8; ++bit) c = (c & 1U) != 0 ? 0xEDB88320U ^ (c >> 1U) : c >> 1U;
      made[i] = c;
    }
    return made;
  }();
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  std::uint32_t crc = 0xFFFFFFFFU;
  layouts::ForEachLine(text, [&](int, std::string_view line) {
    if (line.ends_with('\r')) line.remove_suffix(1);
    for (const char c : line) {
      crc = table[(crc ^ static_cast<unsigned char>(c)) & 0xFFU] ^ (crc >> 8U);
    }
  });
  return static_cast<std::int32_t>(crc ^ 0xFFFFFFFFU);
}

namespace layouts {
namespace {

std::vector<std::string> Parts(std::string_view version) {
  std::vector<std::string> parts(1);
  for (const char c : version) {
    if (c == '.') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  while (parts.size() > 1 && parts.back().find_first_not_of('0') == std::string::npos) {
    parts.pop_back();  // 1.0 is 1
  }
  return parts;
}

bool VersionLess(const std::string& a, const std::string& b) {
  const auto left = Parts(a);
  const auto right = Parts(b);
  return std::ranges::lexicographical_compare(left, right, NumberLess);
}

Script ReadScript(const fs::path& file, const Variables& variables) {
  Script script{file, Substitute(ReadFile(file), variables, true, file)};
  const fs::path conf = file.string() + ".conf";
  std::error_code ignored;
  if (fs::exists(conf, ignored)) {
    std::string text = ReadFile(conf);
    std::erase_if(text, [](char c) { return c == ' ' || c == '\t'; });
    script.in_transaction = text.find("executeInTransaction=false") == std::string::npos;
  }
  return script;
}

}  // namespace

std::vector<Version> ReadFlyway(const fs::path& folder, const Variables& variables) {
  std::vector<Version> versions;
  std::vector<Version> repeatables;
  std::map<std::string, fs::path> undos;
  for (const fs::path& file : SqlFiles(folder, true)) {
    const std::string name = file.filename().string();
    const auto middle = name.find("__");
    if (middle == std::string::npos) continue;
    std::string description = name.substr(middle + 2, name.size() - middle - 6);
    std::ranges::replace(description, '_', ' ');
    std::string version = name.substr(1, middle - 1);
    std::ranges::replace(version, '_', '.');
    const bool numbered =
        !version.empty() && version.find_first_not_of("0123456789.") == std::string::npos;
    if (name[0] == 'V' && numbered) {
      versions.push_back(
          {.version = version, .name = description, .up = ReadScript(file, variables)});
    } else if (name[0] == 'U' && numbered) {
      undos[version] = file;
    } else if (name[0] == 'R' && version.empty()) {
      repeatables.push_back({.version = "R:" + description,
                             .name = description,
                             .up = ReadScript(file, variables),
                             .repeatable = true});
    } else if (name[0] == 'B' && numbered) {
      throw Error(ErrorKind::kUnsupported,
                  file.string() +
                      ": a Flyway baseline migration (B…) is not taken in; give what it "
                      "makes as the fixture, and its version as 'baseline'");
    }
  }
  std::ranges::stable_sort(versions, VersionLess, &Version::version);
  for (std::size_t i = 1; i < versions.size(); ++i) {
    if (!VersionLess(versions[i - 1].version, versions[i].version)) {
      throw Error(ErrorKind::kInvalidSpec, "two files of the version " + versions[i].version +
                                               ": " + versions[i - 1].up->file.string() + " and " +
                                               versions[i].up->file.string());
    }
  }
  for (Version& version : versions) {
    if (const auto undo = undos.find(version.version); undo != undos.end()) {
      version.down = ReadScript(undo->second, variables);
    }
  }
  std::ranges::stable_sort(repeatables, {}, &Version::name);
  versions.insert(versions.end(), repeatables.begin(), repeatables.end());
  if (versions.empty()) {
    throw Error(ErrorKind::kInvalidSpec, "no migration in " + folder.string() + " (layout flyway)");
  }
  return versions;
}

}  // namespace layouts
}  // namespace understudy::sql_files
