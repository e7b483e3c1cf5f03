#pragma once

#include <filesystem>
#include <string_view>

namespace understudy::log {

// Where messages go: stderr always (warnings; everything when `verbose`), and a file when one is
// set. Secrets known to Redactor are taken out of every line.
void SetVerbose(bool verbose);
void SetFile(const std::filesystem::path& path);  // replaces the file set before; "" = none

void Debug(std::string_view message);
void Info(std::string_view message);
void Warn(std::string_view message);

}  // namespace understudy::log
