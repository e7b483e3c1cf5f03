#include "engine/core/source_files.h"

#include <algorithm>
#include <set>

namespace understudy::core {
namespace {

constexpr const char* kEntry = "files";

bool IsWayBack(const std::string& role) { return role.starts_with("down"); }

}  // namespace

void RememberFiles(Journal& journal, const std::vector<SourceFile>& files) {
  if (files.empty()) return;
  Json content = Json::object();
  for (const SourceFile& one : files) {
    content[one.role] = {{"file", one.file}, {"sha256", one.sha256}};
  }
  const auto before = journal.Find(kEntry);
  if (before && before->detail == content) return;
  journal.Put(kEntry, content);
}

std::string FilesChanged(Journal& journal, const std::vector<SourceFile>& files, FilesMust must) {
  const auto entry = journal.Find(kEntry);
  if (!entry) return "";  // no files, or begun by a version that did not write them down
  const auto matters = [&](const std::string& role) {
    if (must == FilesMust::kLeadBackAsBefore) return IsWayBack(role);
    return must == FilesMust::kAllBeTheSame || journal.Find(role).has_value();
  };
  std::set<std::string> there;
  for (const SourceFile& one : files) {
    there.insert(one.role);
    if (!matters(one.role)) continue;
    if (!entry->detail.contains(one.role)) {
      if (!IsWayBack(one.role)) return one.file + " was added";
    } else if (entry->detail[one.role].value("sha256", "") != one.sha256) {
      return one.file + " has changed";
    }
  }
  for (const auto& [role, content] : entry->detail.items()) {
    if (!there.contains(role) && matters(role)) return content.value("file", role) + " is gone";
  }
  return "";
}

}  // namespace understudy::core
