#include "harness/schema/column_plan.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <regex>

#include "engine/base/digest.h"
#include "engine/base/error.h"

namespace understudy::harness {
namespace {

constexpr std::array<std::string_view, 32> kWords = {
    "amber",  "birch",  "cedar",   "delta", "ember", "fjord",  "grove",  "harbor",
    "island", "jade",   "kettle",  "lemon", "maple", "night",  "ocean",  "pebble",
    "quartz", "river",  "stone",   "tulip", "umbra", "valley", "willow", "xenon",
    "yarrow", "zephyr", "o'clock", "A-Z",   "50%",   "x_y",    "ok",     "Ünder"};
constexpr std::size_t kPlainWords = 26;  // the first ones: lower-case letters alone

std::string_view PlainWord(Random& random) { return kWords[random.Next() % kPlainWords]; }

constexpr char kBase36[] = "0123456789abcdefghijklmnopqrstuvwxyz";

void AppendBase36(std::string& out, std::int64_t serial, int width) {
  char digits[16];
  int used = 0;
  auto rest = static_cast<std::uint64_t>(serial);
  do {
    digits[used++] = kBase36[rest % 36];
    rest /= 36;
  } while (rest != 0);
  for (int i = used; i < width; ++i) out += '0';
  while (used > 0) out += digits[--used];
}

void AppendHex(std::string& out, std::uint64_t bits, int digits) {
  static constexpr char kHex[] = "0123456789abcdef";
  for (int i = digits - 1; i >= 0; --i) out += kHex[(bits >> (4 * i)) & 15U];
}

bool StartsWith(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

std::size_t Characters(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
  }));
}

std::string_view RangeElement(std::string_view base) {
  if (base == "int4range" || base == "int4multirange") return "int4";
  if (base == "int8range" || base == "int8multirange") return "int8";
  if (base == "numrange" || base == "nummultirange") return "numeric";
  if (base == "daterange" || base == "datemultirange") return "date";
  if (base == "tsrange" || base == "tsmultirange") return "timestamp";
  if (base == "tstzrange" || base == "tstzmultirange") return "timestamptz";
  return "";
}

bool IsGeometric(std::string_view base) {
  return base == "point" || base == "box" || base == "lseg" || base == "path" ||
         base == "polygon" || base == "circle" || base == "line";
}

// geometry(Point,4326): its kind in lower case and its SRID.
std::pair<std::string, int> PlaceOf(std::string_view type) {
  const auto open = type.find('(');
  if (open == std::string_view::npos) return {"point", 0};
  std::string kind;
  std::size_t i = open + 1;
  for (; i < type.size() && type[i] != ',' && type[i] != ')'; ++i) {
    kind += static_cast<char>(std::tolower(static_cast<unsigned char>(type[i])));
  }
  if (kind == "geometry") kind = "point";
  return {kind, i < type.size() && type[i] == ',' ? std::atoi(type.data() + i + 1) : 0};
}

// Whether the addresses that we make match a check's regular expression.
bool EmailMatches(const std::string& pattern) {
  if (pattern.empty()) return true;
  try {
    const std::regex regex(pattern);
    return std::regex_search("amber.0@example.com", regex) &&
           std::regex_search("quartz.zz9@example.com", regex);
  } catch (const std::regex_error&) {
    return false;
  }
}

bool CanMakeBase(std::string_view base, const SchemaColumn& column) {
  static constexpr std::array<std::string_view, 37> kKnown = {
      "int2",     "int4",   "int8",        "numeric", "float4", "float8", "bool",    "text",
      "varchar",  "bpchar", "bytea",       "uuid",    "date",   "time",   "timetz",  "timestamp",
      "interval", "json",   "timestamptz", "jsonb",   "inet",   "cidr",   "macaddr", "macaddr8",
      "bit",      "varbit", "tsvector",    "tsquery", "xml",    "money",  "oid",     "name",
      "citext",   "hstore", "integer",     "real",    "blob"};
  if (base == "any" || base == "char") return true;
  if (base == "enum") return !column.enum_labels.empty();
  if (base == "geometry" || base == "geography") {
    const std::string kind = PlaceOf(column.type).first;
    return kind == "point" || kind == "linestring" || kind == "polygon" || kind == "multipoint" ||
           kind == "multipolygon" || kind == "multilinestring";
  }
  return std::find(kKnown.begin(), kKnown.end(), base) != kKnown.end() ||
         !RangeElement(base).empty() || IsGeometric(base);
}

}  // namespace

bool ValueMaker::CanMake(const SchemaColumn& column) {
  return CanMakeBase(column.base_type == "array" ? column.element_type : column.base_type, column);
}

ColumnPlan::ColumnPlan(const SchemaColumn& column, const ColumnRules& rules, bool unique)
    : base_(column.base_type == "array" ? column.element_type : column.base_type),
      type_(column.type),
      array_(column.base_type == "array"),
      unique_(unique),
      not_null_(!column.nullable || rules.not_null),
      always_null_(rules.always_null && column.nullable),
      json_array_(rules.json_array),
      lower_(rules.lower_case),
      upper_(rules.upper_case),
      min_length_(rules.min_length),
      max_length_(rules.max_length) {
  if (array_) {
    min_elements_ = std::exchange(min_length_, 0);
    const int most = std::exchange(max_length_, -1);
    max_elements_ = most >= 0 ? most : std::max(4, min_elements_);
  }
  if (column.max_length >= 0) {
    max_length_ = max_length_ < 0 ? column.max_length : std::min(max_length_, column.max_length);
  }
  if (base_ == "name") max_length_ = max_length_ < 0 ? 60 : std::min(max_length_, 60);
  ChooseShape(column, rules);
}

void ColumnPlan::ChooseShape(const SchemaColumn& column, const ColumnRules& rules) {
  const auto keep_allowed = [&](std::vector<std::string> labels) {
    std::erase_if(labels, [&](const std::string& label) {
      return std::find(rules.forbidden.begin(), rules.forbidden.end(), label) !=
             rules.forbidden.end();
    });
    labels_ = std::move(labels);
  };
  ordinal_ = Ordinal::Of(column, array_);
  if (base_ == "enum") {
    keep_allowed(rules.has_labels && !array_ ? rules.labels : column.enum_labels);
    element_ = Shape::kLabels;
  } else if (base_ == "bool") {
    keep_allowed(rules.has_labels && !array_ ? rules.labels
                                             : std::vector<std::string>{"false", "true"});
    element_ = Shape::kLabels;
  } else if (rules.has_labels && !array_ && !rules.labels.empty()) {
    keep_allowed(rules.labels);
    element_ = Shape::kLabels;
  } else if (ordinal_) {
    element_ = Shape::kOrdinal;
    SetIntervals(rules);
  } else if (base_ == "bytea" || base_ == "blob") {
    element_ = Shape::kBytes;
  } else if (base_ == "uuid") {
    element_ = Shape::kUuid;
  } else if (base_ == "json" || base_ == "jsonb") {
    element_ = Shape::kJson;
  } else if (base_ == "inet" || base_ == "cidr") {
    element_ = Shape::kNetwork;
  } else if (base_ == "macaddr" || base_ == "macaddr8") {
    element_ = Shape::kMac;
  } else if (base_ == "bit" || base_ == "varbit") {
    element_ = Shape::kBits;
    if (max_length_ < 0) max_length_ = column.max_length > 0 ? column.max_length : 24;
  } else if (!RangeElement(base_).empty()) {
    element_ = Shape::kRange;
    ordinal_ = Ordinal::OfBase(RangeElement(base_), -1, -1);
    SetIntervals({});
  } else if (base_ == "tsvector" || base_ == "tsquery") {
    element_ = Shape::kVector;
  } else if (IsGeometric(base_)) {
    element_ = Shape::kGeometric;
  } else if (base_ == "geometry" || base_ == "geography") {
    element_ = Shape::kPlace;
  } else if (base_ == "xml") {
    element_ = Shape::kXml;
  } else if (base_ == "hstore") {
    element_ = Shape::kKeyValue;
  } else {
    element_ = Shape::kText;
    if (base_ == "char") max_length_ = 1;
    if (!rules.pattern.empty() && !array_) pattern_ = Pattern::Parse(rules.pattern);
    if (pattern_) element_ = Shape::kPattern;
    std::string type = type_;
    for (char& c : type) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (base_ == "text" && type.find("json") != std::string::npos) element_ = Shape::kJson;
    if (base_ == "text" && type == "uuid") element_ = Shape::kUuid;
    std::string name = column.name;
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    email_ = name.find("email") != std::string::npos && (max_length_ < 0 || max_length_ >= 40) &&
             min_length_ < 16 && EmailMatches(rules.pattern);
    if (email_) element_ = Shape::kText;
  }
  if (element_ == Shape::kLabels && labels_.empty()) labels_ = {"0"};  // no value holds: let it say
  shape_ = array_ ? Shape::kArray : element_;
}

void ColumnPlan::SetIntervals(const ColumnRules& rules) {
  const std::int64_t span = ordinal_.default_high - ordinal_.default_low;
  std::vector<Interval> from = rules.intervals;
  if (from.empty() || array_) from = {{ordinal_.type_low, ordinal_.type_high}};
  for (Interval all : from) {
    all.low = std::max(all.low, ordinal_.type_low);
    all.high = std::min(all.high, ordinal_.type_high);
    if (all.low > all.high) continue;
    const bool open_low = all.low == ordinal_.type_low;
    const bool open_high = all.high == ordinal_.type_high;
    Interval drawn = all;
    Interval counted = all;
    if (open_low && open_high) {
      drawn = {ordinal_.default_low, ordinal_.default_high};
      counted = {ordinal_.default_low, ordinal_.type_high};
    } else if (open_high) {
      if (drawn.low < ordinal_.default_low) drawn.low = counted.low = ordinal_.default_low;
      drawn.high = all.high - drawn.low > span ? drawn.low + span : all.high;
    } else if (open_low) {
      const std::int64_t low = all.high - ordinal_.type_low > span ? all.high - span : all.low;
      drawn.low = counted.low = all.high >= ordinal_.default_low
                                    ? std::max(low, std::min(ordinal_.default_low, all.high))
                                    : low;
    }
    if (rules.segments > 1) {
      const std::int64_t width = (drawn.high - drawn.low + 1) / rules.segments;
      if (width > 0) {
        drawn.low += width * rules.segment;
        drawn.high = drawn.low + width - 1;
      }
      counted = drawn;
    }
    drawn_.push_back(drawn);
    counted_.push_back(counted);
    allowed_.push_back(rules.segments > 1 ? drawn : all);
  }
  if (drawn_.empty()) {
    drawn_ = counted_ = {{ordinal_.default_low, ordinal_.default_high}};
    allowed_ = {{ordinal_.type_low, ordinal_.type_high}};
  }
  for (const std::string& text : rules.forbidden) {
    bool exact = false;
    if (const auto units = ordinal_.Units(text, false, &exact); units && exact) {
      forbidden_.push_back(*units);
    }
  }
}

bool ColumnPlan::Allows(std::int64_t units) const {
  if (std::find(forbidden_.begin(), forbidden_.end(), units) != forbidden_.end()) return false;
  return std::any_of(allowed_.begin(), allowed_.end(),
                     [&](const Interval& part) { return units >= part.low && units <= part.high; });
}

std::int64_t ColumnPlan::Capacity() const {
  const auto power = [](std::int64_t base, int exponent) {
    std::int64_t result = 1;
    for (int i = 0; i < exponent; ++i) {
      if (result > INT64_MAX / base) return INT64_MAX;
      result *= base;
    }
    return result;
  };
  switch (shape_) {
    case Shape::kLabels:
      return static_cast<std::int64_t>(labels_.size());
    case Shape::kOrdinal: {
      std::int64_t count = 0;
      for (const Interval& part : counted_) count += part.high - part.low + 1;
      return count - static_cast<std::int64_t>(forbidden_.size());
    }
    case Shape::kPattern:
      return pattern_->Capacity(min_length_, max_length_);
    case Shape::kText:
      return max_length_ < 0 ? INT64_MAX : power(36, max_length_);
    case Shape::kBytes:
      return max_length_ < 0 ? INT64_MAX : power(256, max_length_);
    case Shape::kBits:
      return power(2, max_length_);
    default:
      return INT64_MAX;
  }
}

void ColumnPlan::AppendOrdinal(std::string& out, Random& random, std::int64_t serial,
                               bool unique) const {
  std::int64_t units = 0;
  if (unique) {
    // Forbidden values lie outside what is counted, so that different serials stay different.
    std::int64_t total = -static_cast<std::int64_t>(forbidden_.size());
    for (const Interval& part : counted_) total += part.high - part.low + 1;
    total = std::max<std::int64_t>(1, total);
    const Interval& only = counted_.front();
    // Keys that begin at 1 are the serials themselves; no two serials meet before all are used.
    const std::int64_t offset = serial - (only.low == 1 ? 1 : 0);
    std::int64_t rest = (offset % total + total) % total;
    {
      if (ordinal_.step > 1) {
        const std::int64_t steps = std::max<std::int64_t>(1, total / ordinal_.step);
        rest = rest % steps * ordinal_.step + rest / steps % ordinal_.step;
      }
      units = counted_.back().high;
      for (const Interval& part : counted_) {
        const std::int64_t count = part.high - part.low + 1;
        if (rest < count) {
          units = part.low + rest;
          break;
        }
        rest -= count;
      }
      std::vector<std::int64_t> sorted = forbidden_;
      std::sort(sorted.begin(), sorted.end());
      for (const std::int64_t no : sorted) {
        if (no >= only.low && no <= units) ++units;
      }
    }
  } else {
    const Interval& part = drawn_.size() == 1 ? drawn_[0] : drawn_[random.Next() % drawn_.size()];
    units = random.Uniform(part.low, part.high);
    if (ordinal_.step > 1) {
      // Whole seconds, now and then with a fraction.
      const std::int64_t fraction = random.Chance(0.25) ? random.Uniform(0, 999) * 1000 : 0;
      const std::int64_t whole = units - units % ordinal_.step;
      if (whole >= part.low) {
        units = whole + fraction + ordinal_.step <= part.high ? whole + fraction : whole;
      }
    }
    for (int tries = 0; tries < 20 && !forbidden_.empty() &&
                        std::find(forbidden_.begin(), forbidden_.end(), units) != forbidden_.end();
         ++tries) {
      units = units < part.high ? units + 1 : part.low;
    }
  }
  ordinal_.Append(out, units);
}

void ColumnPlan::AppendText(std::string& out, Random& random, std::int64_t serial,
                            bool unique) const {
  const std::size_t begin = out.size();
  const int limit = max_length_ < 0 ? std::max(24, min_length_ + 12) : max_length_;
  if (email_) {
    out += PlainWord(random);
    out += '.';
    AppendBase36(out, unique ? serial : static_cast<std::int64_t>(random.Next() >> 40U), 1);
    out += "@example.com";
  } else if (unique) {
    if (limit >= 24) {
      out += PlainWord(random);
      out += '-';
    }
    AppendBase36(out, serial, static_cast<int>(begin) + min_length_ - static_cast<int>(out.size()));
    if (static_cast<int>(out.size() - begin) > limit) {  // the last characters differ most
      out.erase(begin, out.size() - begin - static_cast<std::size_t>(limit));
    }
  } else {
    const int low = std::max(min_length_, std::min(limit, 1));
    const auto length = static_cast<std::size_t>(
        random.Uniform(low, std::max(low, std::min(limit, min_length_ + 40))));
    std::size_t made = 0;
    while (made < length) {
      const std::string_view word =
          lower_ || upper_ ? PlainWord(random) : kWords[random.Next() % kWords.size()];
      const std::size_t count = Characters(word);
      if (made + count > length) {
        out += PlainWord(random).substr(0, std::min<std::size_t>(length - made, 5));
        made += std::min<std::size_t>(length - made, 5);
        continue;
      }
      out += word;
      made += count;
      if (made + 2 <= length) {
        out += ' ';
        ++made;
      }
    }
  }
  if (upper_) {
    for (std::size_t i = begin; i < out.size(); ++i) {
      out[i] = static_cast<char>(std::toupper(static_cast<unsigned char>(out[i])));
    }
  }
}

void ColumnPlan::AppendRange(std::string& out, Random& random, std::int64_t serial) const {
  const bool multi = base_.find("multirange") != std::string::npos;
  if (!unique_ && random.Chance(0.03)) {
    out += multi ? "{}" : "empty";
    return;
  }
  // Ranges of different serials never meet: an exclusion constraint holds.
  const std::int64_t width = ordinal_.step > 1                        ? 3600 * ordinal_.step
                             : ordinal_.kind == OrdinalKind::kDecimal ? 500
                                                                      : 5;
  const std::int64_t room = (ordinal_.default_high - ordinal_.default_low) / width;
  std::int64_t low =
      ordinal_.default_low +
      (unique_ ? serial : random.Uniform(0, std::max<std::int64_t>(1, room))) * width;
  const std::int64_t high = low + (unique_ ? width : random.Uniform(1, width));
  if (multi) out += '{';
  out += '[';
  if (ordinal_.step > 1) out += '"';
  ordinal_.Append(out, low);
  if (ordinal_.step > 1) out += '"';
  out += ',';
  if (ordinal_.step > 1) out += '"';
  ordinal_.Append(out, high);
  if (ordinal_.step > 1) out += '"';
  out += ')';
  if (multi) out += '}';
}

void ColumnPlan::AppendGeometric(std::string& out, Random& random, std::int64_t serial) const {
  const std::int64_t x = unique_ ? serial : random.Uniform(-1000, 1000);
  const std::int64_t y = random.Uniform(-1000, 1000);
  const auto point = [&](std::int64_t dx, std::int64_t dy) {
    out += '(';
    AppendNumber(out, x + dx);
    out += ',';
    AppendNumber(out, y + dy);
    out += ')';
  };
  if (base_ == "point") return point(0, 0);
  if (base_ == "circle") {
    out += '<';
    point(0, 0);
    out += ",2.5>";
    return;
  }
  if (base_ == "line") {
    out += "{1,-1,";
    AppendNumber(out, x);
    out += '}';
    return;
  }
  const bool brackets = base_ == "lseg" || base_ == "path";
  if (brackets) out += '[';
  if (base_ == "polygon") out += '(';
  point(0, 0);
  out += ',';
  point(3, 4);
  if (base_ == "polygon" || base_ == "path") {
    out += ',';
    point(6, 0);
  }
  if (brackets) out += ']';
  if (base_ == "polygon") out += ')';
}

void ColumnPlan::AppendPlace(std::string& out, Random& random, std::int64_t serial) const {
  const auto [kind, srid] = PlaceOf(type_);
  const double x =
      unique_ ? static_cast<double>(serial % 36000000) / 100000 - 180 : random.Real() * 358 - 179;
  const double y = random.Real() * 178 - 89;
  const auto point = [&](double dx, double dy) {
    out += std::to_string(x + dx) + " " + std::to_string(y + dy);
  };
  if (srid > 0) out += "SRID=" + std::to_string(srid) + ";";
  const bool multi = StartsWith(kind, "multi");
  std::string upper = kind;
  for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  out += upper + "(";
  if (multi) out += '(';
  if (kind == "point" || kind == "multipoint") point(0, 0);
  if (kind == "linestring" || kind == "multilinestring") {
    point(0, 0);
    out += ',';
    point(0.5, 0.5);
  }
  if (kind == "polygon" || kind == "multipolygon") {
    out += '(';
    point(0, 0);
    out += ',';
    point(0.5, 0);
    out += ',';
    point(0.5, 0.5);
    out += ',';
    point(0, 0);
    out += ')';
  }
  if (multi) out += ')';
  out += ')';
}

void ColumnPlan::AppendElement(std::string& out, Random& random, std::int64_t serial,
                               bool unique) const {
  switch (element_) {
    case Shape::kLabels:
      out +=
          labels_[(unique ? static_cast<std::uint64_t>(serial) : random.Next()) % labels_.size()];
      return;
    case Shape::kOrdinal:
      return AppendOrdinal(out, random, serial, unique);
    case Shape::kPattern: {
      const std::size_t begin = out.size();
      pattern_->Append(out, random, unique ? std::optional(serial) : std::nullopt, min_length_,
                       max_length_);
      if (!lower_ && !upper_) return;
      for (std::size_t i = begin; i < out.size(); ++i) {
        const auto c = static_cast<unsigned char>(out[i]);
        out[i] = static_cast<char>(lower_ ? std::tolower(c) : std::toupper(c));
      }
      return;
    }
    case Shape::kText:
      return AppendText(out, random, serial, unique);
    case Shape::kBytes: {
      std::string bytes;
      const int limit = max_length_ < 0 ? std::max(24, min_length_) : max_length_;
      const auto length = static_cast<std::size_t>(random.Uniform(min_length_, limit));
      if (unique) {
        for (int i = std::min(limit, 8) - 1; i >= 0; --i) {
          bytes += static_cast<char>((static_cast<std::uint64_t>(serial) >> (8 * i)) & 255U);
        }
      }
      while (bytes.size() < length) {
        const std::uint64_t bits = random.Next();
        for (int i = 0; i < 8 && bytes.size() < length; ++i) {
          bytes += static_cast<char>((bits >> (8 * i)) & 255U);
        }
      }
      if (base_ == "blob") {
        out += bytes;
      } else {
        out += "\\x" + ToHex(bytes);
      }
      return;
    }
    case Shape::kUuid: {
      const std::uint64_t high = random.Next();
      const std::uint64_t low =
          unique ? static_cast<std::uint64_t>(serial) & 0xffffffffffffU : random.Next();
      AppendHex(out, high >> 32U, 8);
      out += '-';
      AppendHex(out, high >> 16U, 4);
      out += "-4";
      AppendHex(out, high, 3);
      out += "-8";
      AppendHex(out, high >> 52U, 3);
      out += '-';
      AppendHex(out, low, 12);
      return;
    }
    case Shape::kJson:
      out += json_array_ ? "[" : "{\"n\": ";
      AppendNumber(out, unique ? serial : random.Uniform(0, 9999));
      out += json_array_ ? ", \"" : ", \"tag\": \"";
      out += PlainWord(random);
      out += json_array_ ? "\"]" : random.Chance(0.5) ? "\", \"ok\": true}" : "\", \"ok\": null}";
      return;
    case Shape::kNetwork: {
      const std::uint64_t bits = unique ? static_cast<std::uint64_t>(serial) : random.Next() >> 40U;
      if (bits >= (1U << 24U)) {
        out += "fd00::";
        AppendHex(out, bits >> 48U, 4);
        for (const int shift : {32, 16, 0}) {
          out += ':';
          AppendHex(out, bits >> shift, 4);
        }
        if (base_ == "cidr") out += "/128";
        return;
      }
      out += "10";
      for (const int shift : {16, 8, 0}) {
        out += '.';
        AppendNumber(out, static_cast<std::int64_t>((bits >> shift) & 255U));
      }
      if (base_ == "cidr") out += "/32";
      return;
    }
    case Shape::kMac: {
      const std::uint64_t bits = unique ? static_cast<std::uint64_t>(serial) : random.Next();
      const int bytes = base_ == "macaddr8" ? 8 : 6;
      for (int i = bytes - 1; i >= 0; --i) {
        AppendHex(out, bits >> (8 * i), 2);
        if (i > 0) out += ':';
      }
      return;
    }
    case Shape::kBits: {
      const std::uint64_t bits = unique ? static_cast<std::uint64_t>(serial) : random.Next();
      for (int i = max_length_ - 1; i >= 0; --i) {
        out += i < 64 && ((bits >> i) & 1U) != 0 ? '1' : '0';
      }
      return;
    }
    case Shape::kRange:
      return AppendRange(out, random, serial);
    case Shape::kVector:
      out += PlainWord(random);
      out += base_ == "tsquery" ? " & " : " ";
      out += unique ? "w" : PlainWord(random);
      if (unique) AppendBase36(out, serial, 1);
      return;
    case Shape::kGeometric:
      return AppendGeometric(out, random, serial);
    case Shape::kPlace:
      return AppendPlace(out, random, serial);
    case Shape::kXml:
      out += "<item n=\"";
      AppendNumber(out, unique ? serial : random.Uniform(0, 9999));
      out += "\">";
      out += PlainWord(random);
      out += "</item>";
      return;
    case Shape::kKeyValue:
      out += "\"n\"=>\"";
      AppendNumber(out, unique ? serial : random.Uniform(0, 9999));
      out += "\"";
      return;
    case Shape::kArray:
      return;
  }
}

void ColumnPlan::Append(std::string& out, Random& random, std::int64_t serial) const {
  if (shape_ != Shape::kArray) return AppendElement(out, random, serial, unique_);
  const int least = std::max(min_elements_, unique_ ? 1 : 0);
  const auto count = random.Uniform(least, std::max(least, max_elements_));
  out += '{';
  std::string element;
  for (std::int64_t i = 0; i < count; ++i) {
    if (i > 0) out += ',';
    element.clear();
    AppendElement(element, random, serial, unique_ && i == 0);
    if (element_ == Shape::kOrdinal && ordinal_.kind <= OrdinalKind::kDate) {
      out += element;
      continue;
    }
    out += '"';
    for (const char c : element) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    out += '"';
  }
  out += '}';
}

db::Value ColumnPlan::ToValue(std::string text) const {
  if (base_ == "integer") {
    if (text == "true") return db::Value::Integer(1);
    if (text == "false") return db::Value::Integer(0);
    return {db::Storage::kInteger, std::move(text)};
  }
  if (base_ == "real") return db::Value::Real(std::strtod(text.c_str(), nullptr));
  if (base_ == "blob") return db::Value::Blob(std::move(text));
  return db::Value::Text(std::move(text));
}

db::Value ColumnPlan::Make(Random& random, std::int64_t serial) const {
  std::string text;
  Append(text, random, serial);
  return ToValue(std::move(text));
}

}  // namespace understudy::harness
