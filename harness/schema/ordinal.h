#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "harness/schema/schema.h"

// Types whose values are numbers in disguise: integers, decimals, dates, times. All of them are
// counted in units (1, 10^-scale, days, microseconds), so that ranges are one idea.
namespace understudy::harness {

enum class OrdinalKind {
  kNone,
  kInteger,
  kDecimal,      // 10^-scale
  kDate,         // days since 1970-01-01
  kTimestamp,    // microseconds since 1970-01-01
  kTimestampTz,  // the same, UTC
  kTime,         // microseconds since midnight
  kTimeTz,
  kInterval,  // seconds
};

struct Ordinal {
  OrdinalKind kind = OrdinalKind::kNone;
  int scale = 0;              // of a decimal
  std::int64_t type_low = 0;  // what the type can hold
  std::int64_t type_high = 0;
  std::int64_t default_low = 0;  // what is made when nothing says otherwise
  std::int64_t default_high = 0;
  std::int64_t step = 1;  // between neighbouring made values

  // The ordinal of a column's own type; `of_element`: of its array elements.
  static Ordinal Of(const SchemaColumn& column, bool of_element = false);
  static Ordinal OfBase(std::string_view base_type, int precision, int scale);
  explicit operator bool() const { return kind != OrdinalKind::kNone; }

  // The units of a literal: the nearest value not below it (`round_up`) or not above it;
  // `exact` tells whether it was hit. nullopt when the text is none.
  std::optional<std::int64_t> Units(std::string_view text, bool round_up,
                                    bool* exact = nullptr) const;
  void Append(std::string& out, std::int64_t units) const;
};

void AppendNumber(std::string& out, std::int64_t number);

}  // namespace understudy::harness
