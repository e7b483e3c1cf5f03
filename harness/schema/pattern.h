#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/random.h"

namespace understudy::harness {

// Texts that a regular expression matches: literals, classes, groups, alternatives, counts and
// anchors; no references, no look-around, printable ASCII alone.
class Pattern {
 public:
  static std::optional<Pattern> Parse(std::string_view regex);

  // One text. With `serial`, different serials give different texts as far as there are as many.
  void Append(std::string& out, Random& random, std::optional<std::int64_t> serial, int min_length,
              int max_length) const;
  // How many different texts serials give.
  std::int64_t Capacity(int min_length, int max_length) const;

 private:
  struct Node {
    std::string set;  // of one character; empty for a group
    std::vector<std::vector<Node>> alternatives;
    int at_least = 1;
    int at_most = 1;  // -1 = no end
  };
  class Parser;
  using Sequence = std::vector<Node>;

  static void Expand(const Sequence& sequence, Random* random, int extra,
                     std::vector<const std::string*>& sets);
  std::vector<const std::string*> Sets(Random* random, int min_length, int max_length) const;

  Sequence sequence_;
};

}  // namespace understudy::harness
