#pragma once

#include <filesystem>
#include <functional>

namespace understudy::db {

// Copies a whole SQLite database with SQLite's own backup interface: page by page, in one
// consistent state, whoever else reads or writes it, with what its WAL holds. Rowids stay, which
// VACUUM INTO does not promise. `to` must not exist; nothing is left of it after an error.
// `stop`, if given, is asked between pieces. Errors as a Session's; the source is only read.
void CopySqliteFile(const std::filesystem::path& from, const std::filesystem::path& to,
                    const std::function<bool()>& stop = {});

}  // namespace understudy::db
