#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "harness/schema/column_rules.h"
#include "harness/schema/ordinal.h"
#include "harness/schema/pattern.h"
#include "harness/schema/schema.h"

namespace understudy::harness {

// How the values of one column are made, all decisions taken once: cheap per value. Safe for
// several threads.
class ColumnPlan {
 public:
  // `unique`: every serial gives another value, as far as the type and its rules have as many.
  // REQUIRES: ValueMaker::CanMake(column).
  ColumnPlan(const SchemaColumn& column, const ColumnRules& rules, bool unique);

  // Appends one value's text form (PostgreSQL: as COPY without its escapes; an SQLite blob: its
  // bytes). Never NULL.
  void Append(std::string& out, Random& random, std::int64_t serial) const;
  // The same with the storage class that the column wants.
  db::Value Make(Random& random, std::int64_t serial) const;
  // `text` (a value's text form) as a value of this column.
  db::Value ToValue(std::string text) const;

  bool unique() const { return unique_; }
  void MakeUnique() { unique_ = true; }
  bool not_null() const { return not_null_; }
  bool always_null() const { return always_null_; }
  // How many different values serials give; INT64_MAX when there is no telling limit.
  std::int64_t Capacity() const;
  const Ordinal& ordinal() const { return ordinal_; }
  // What is allowed, in units: of the checks and of the type.
  bool Allows(std::int64_t units) const;

 private:
  enum class Shape {
    kLabels,
    kOrdinal,
    kPattern,
    kText,
    kBytes,
    kUuid,
    kJson,
    kNetwork,
    kMac,
    kBits,
    kRange,
    kVector,
    kGeometric,
    kPlace,  // PostGIS
    kXml,
    kKeyValue,  // hstore
    kArray,
  };

  void AppendElement(std::string& out, Random& random, std::int64_t serial, bool unique) const;
  void AppendOrdinal(std::string& out, Random& random, std::int64_t serial, bool unique) const;
  void AppendText(std::string& out, Random& random, std::int64_t serial, bool unique) const;
  void AppendRange(std::string& out, Random& random, std::int64_t serial) const;
  void AppendGeometric(std::string& out, Random& random, std::int64_t serial) const;
  void AppendPlace(std::string& out, Random& random, std::int64_t serial) const;
  void SetIntervals(const ColumnRules& rules);
  void ChooseShape(const SchemaColumn& column, const ColumnRules& rules);

  std::string base_;  // of the elements when it is an array
  std::string type_;
  bool array_ = false;
  bool unique_;
  bool not_null_;
  bool always_null_;
  bool json_array_;
  bool lower_;
  bool upper_;
  bool email_ = false;
  int min_length_;
  int max_length_;  // of the elements when it is an array
  int min_elements_ = 0;
  int max_elements_ = 4;
  Shape shape_ = Shape::kText;
  Shape element_ = Shape::kText;
  std::vector<std::string> labels_;
  Ordinal ordinal_;
  std::vector<Interval> drawn_;    // where random values come from
  std::vector<Interval> counted_;  // where serial ones do
  std::vector<Interval> allowed_;
  std::vector<std::int64_t> forbidden_;
  std::optional<Pattern> pattern_;
};

}  // namespace understudy::harness
