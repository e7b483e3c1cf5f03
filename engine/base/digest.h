#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace understudy {

// Lower-case hex of SHA-256.
std::string Sha256Hex(std::string_view bytes);
std::string Sha256HexOfFile(const std::filesystem::path& path);

std::string ToHex(std::string_view bytes);
// Throws Error(kInvalidSpec) on an odd length or a character that is no hex digit.
std::string FromHex(std::string_view hex);

}  // namespace understudy
