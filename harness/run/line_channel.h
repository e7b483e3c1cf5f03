#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace understudy::harness {

// Lines over a pair of descriptors, which it does not own. Blocking. One reader, one writer.
class LineChannel {
 public:
  LineChannel(int in, int out) : in_(in), out_(out) {}
  std::optional<std::string> Read();  // without the newline; nullopt at the end
  void Write(std::string_view line);  // Error(kUnavailable) when the other side is gone

 private:
  int in_;
  int out_;
  std::string pending_;
};

}  // namespace understudy::harness
