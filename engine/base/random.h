#pragma once

#include <cstdint>
#include <string_view>

namespace understudy {

// A small deterministic generator (SplitMix64): the same seed gives the same numbers on every
// machine, which <random>'s distributions do not promise. Not for secrets.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t Next();
  // In [low, high], both included. REQUIRES: low <= high.
  std::int64_t Uniform(std::int64_t low, std::int64_t high);
  // In [0, 1).
  double Real();
  bool Chance(double probability) { return Real() < probability; }
  // In [0, n), skewed: rank k about as likely as 1/(k+1). REQUIRES: n > 0.
  std::int64_t Zipf(std::int64_t n);
  // A generator of its own for `name`: the same for the same seed and name, whatever was drawn
  // here before.
  Random Fork(std::string_view name) const;

 private:
  std::uint64_t state_;
};

}  // namespace understudy
