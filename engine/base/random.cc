#include "engine/base/random.h"

#include <cmath>

namespace understudy {

std::uint64_t Random::Next() {
  state_ += 0x9E3779B97F4A7C15ULL;
  std::uint64_t z = state_;
  z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27U)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31U);
}

std::int64_t Random::Uniform(std::int64_t low, std::int64_t high) {
  const std::uint64_t span = static_cast<std::uint64_t>(high) - static_cast<std::uint64_t>(low);
  if (span == UINT64_MAX) return static_cast<std::int64_t>(Next());
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(low) + Next() % (span + 1));
}

double Random::Real() { return static_cast<double>(Next() >> 11U) * 0x1.0p-53; }

std::int64_t Random::Zipf(std::int64_t n) {
  // The inverse of the continuous 1/x distribution over [1, n+1).
  const double x = std::exp(Real() * std::log(static_cast<double>(n) + 1.0));
  const auto rank = static_cast<std::int64_t>(x) - 1;
  return rank < n ? rank : n - 1;
}

Random Random::Fork(std::string_view name) const {
  std::uint64_t hash = 0xCBF29CE484222325ULL;  // FNV-1a
  for (const char c : name) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  }
  Random mixed(state_ ^ hash);
  mixed.Next();
  return Random(mixed.Next());
}

}  // namespace understudy
