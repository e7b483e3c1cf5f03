#include <sstream>

#include "engine/base/file.h"
#include "reports/report.h"

namespace understudy::reports {

void WriteReportFiles(const Report& report, const std::filesystem::path& folder) {
  // All forms are made before the first file is touched: a report that breaks its schema writes
  // nothing.
  std::vector<std::pair<std::string, std::string>> files;
  const auto make = [&](const char* name, const std::unique_ptr<Writer>& writer) {
    std::ostringstream out;
    writer->Write(report, out);
    files.emplace_back(name, std::move(out).str());
  };
  make("report.json", JsonWriter());
  make("report.md", MarkdownWriter());
  make("junit.xml", JunitWriter());
  for (const auto& [name, content] : files) WriteFileWhole(folder / name, content);
}

}  // namespace understudy::reports
