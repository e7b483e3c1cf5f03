#pragma once

#include <string>
#include <vector>

#include "engine/core/journal.h"

namespace understudy::core {

// A file beside the migration file whose content the migration runs.
struct SourceFile {
  // "up 0007", "down 0007": what it is to the migration. Once the file has been run, at least in
  // part, and not been undone, the journal has an entry of this name.
  std::string role;
  std::string file;  // for people
  std::string sha256;
};

// Writes down what the files hold as the migration begins.
void RememberFiles(Journal& journal, const std::vector<SourceFile>& files);

enum class FilesMust {
  kAllBeTheSame,       // but a way back may be written later
  kBeTheSameWhereRun,  // after a failure: what was not run may be mended, added, taken away
  kLeadBackAsBefore,   // for a rollback: the ways back
};
// What has changed since RememberFiles, naming the file; "" = nothing that must not.
std::string FilesChanged(Journal& journal, const std::vector<SourceFile>& files, FilesMust must);

}  // namespace understudy::core
