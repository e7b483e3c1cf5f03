#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace understudy {

// A folder whose files lie in memory (/dev/shm), for servers that nothing must survive: creating
// and dropping databases there costs what the server itself costs. nullopt when TMPDIR says where
// temporary things go, when there is no such file system here, or when it, the machine or our
// control group has no room to spare for a small database, its copies and its WAL.
std::optional<std::filesystem::path> MemoryFolder();

// Where that folder would be, whether or not there is room: what killed runs left lies there.
std::filesystem::path MemoryFolderPath();

}  // namespace understudy
