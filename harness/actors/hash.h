#pragma once

#include <cstdint>
#include <string_view>

namespace understudy::harness {

// The same on every machine (FNV-1a, then mixed): which client owns a row follows from it.
inline std::uint64_t Hash(std::string_view text) {
  std::uint64_t hash = 0xCBF29CE484222325ULL;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  hash ^= hash >> 32U;
  hash *= 0x9E3779B97F4A7C15ULL;
  return hash ^ (hash >> 29U);
}

}  // namespace understudy::harness
