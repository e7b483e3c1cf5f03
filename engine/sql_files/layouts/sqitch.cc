// sqitch: the order is that of sqitch.plan; deploy/NAME.sql, revert/NAME.sql and verify/NAME.sql
// are psql scripts that open and commit their own transactions. The plan's grammar: sqitchplan(5).
#include <algorithm>
#include <set>
#include <sstream>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/sql_files/layout.h"

namespace understudy::sql_files::layouts {
namespace fs = std::filesystem;
namespace {

// The value of `key` in the section `section` of sqitch.conf, or "".
std::string Setting(const fs::path& folder, std::string_view section, std::string_view key) {
  std::error_code ignored;
  if (!fs::exists(folder / "sqitch.conf", ignored)) return "";
  const std::string text = ReadFile(folder / "sqitch.conf");
  std::string value;
  bool inside = false;
  ForEachLine(text, [&](int, std::string_view line) {
    while (!line.empty() && (line[0] == ' ' || line[0] == '\t')) line.remove_prefix(1);
    while (!line.empty() && (line.back() == ' ' || line.back() == '\r')) line.remove_suffix(1);
    if (line.starts_with("[")) {
      inside = line == "[" + std::string(section) + "]";
    } else if (inside && line.starts_with(key)) {
      line.remove_prefix(key.size());
      const auto begin = line.find_first_not_of(" \t=");
      if (begin != std::string_view::npos && line.find('=') < begin) {
        value = std::string(line.substr(begin));
      }
    }
  });
  return value;
}

std::optional<Script> MaybeScript(const fs::path& file) {
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return std::nullopt;
  return Script{file, ReadFile(file)};
}

struct Line {
  int number = 0;
  std::string name;  // or @tag
  std::vector<std::string> dependencies;
};

std::vector<Line> ReadPlan(const fs::path& plan) {
  std::vector<Line> lines;
  const std::string text = ReadFile(plan);
  ForEachLine(text, [&](int number, std::string_view all) {
    std::string_view line = all.substr(0, all.find('#'));
    std::istringstream words{std::string(line)};
    Line parsed{number, "", {}};
    if (!(words >> parsed.name) || parsed.name[0] == '%') return;
    const auto open = line.find('[');
    if (parsed.name[0] != '@' && open != std::string_view::npos) {
      const auto close = line.find(']', open);
      if (close == std::string_view::npos) FailAtLine(plan, number, "a [ that is never closed");
      std::istringstream inside{std::string(line.substr(open + 1, close - open - 1))};
      for (std::string one; inside >> one;) parsed.dependencies.push_back(one);
    }
    lines.push_back(std::move(parsed));
  });
  return lines;
}

}  // namespace

fs::path SqitchPlan(const fs::path& folder) {
  std::error_code ignored;
  const std::string named = Setting(folder, "core", "plan_file");
  const std::string top = Setting(folder, "core", "top_dir");
  for (const fs::path& candidate :
       {folder / (named.empty() ? "sqitch.plan" : named), folder / top / "sqitch.plan"}) {
    if (fs::exists(candidate, ignored)) return candidate;
  }
  return {};
}

std::vector<Version> ReadSqitch(const fs::path& folder) {
  const fs::path plan = SqitchPlan(folder);
  if (plan.empty()) {
    throw Error(ErrorKind::kInvalidSpec, "no sqitch.plan in " + folder.string());
  }
  const std::string named_top = Setting(folder, "core", "top_dir");
  const fs::path top = named_top.empty() ? plan.parent_path() : folder / named_top;
  const std::vector<Line> lines = ReadPlan(plan);

  std::vector<Version> versions;
  std::set<std::string> seen;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const Line& line = lines[i];
    if (line.name[0] == '@') {
      if (versions.empty()) FailAtLine(plan, line.number, "a tag before the first change");
      versions.back().tags.push_back(line.name);
      seen.insert(line.name);
      continue;
    }
    for (const std::string& dependency : line.dependencies) {
      if (dependency[0] == '!') continue;                       // a conflict
      if (dependency.find(':') != std::string::npos) continue;  // of another project
      const auto at = dependency.find('@', 1);
      const std::string needed = dependency.substr(0, at);
      if (!seen.contains(needed)) {
        FailAtLine(plan, line.number,
                   "'" + line.name + "' needs '" + dependency + "', which does not come before it");
      }
    }
    // A change that is reworked later keeps its old scripts as NAME@TAG.sql, TAG being the next
    // one.
    std::string file = line.name;
    std::string tag;
    for (std::size_t j = i + 1; j < lines.size(); ++j) {
      if (lines[j].name[0] == '@' && tag.empty()) tag = lines[j].name;
      if (lines[j].name == line.name) {
        if (tag.empty()) {
          FailAtLine(plan, lines[j].number,
                     "'" + line.name + "' stands here a second time without a tag in between");
        }
        file = line.name + tag;
        break;
      }
    }
    Version& version = versions.emplace_back();
    version.version = file;
    version.name = line.name;
    version.up = MaybeScript(top / "deploy" / (file + ".sql"));
    if (!version.up) {
      FailAtLine(plan, line.number,
                 "no file " + (top / "deploy" / (file + ".sql")).string() + " for this change");
    }
    version.down = MaybeScript(top / "revert" / (file + ".sql"));
    version.verify = MaybeScript(top / "verify" / (file + ".sql"));
    seen.insert(line.name);
  }
  return versions;
}

}  // namespace understudy::sql_files::layouts
