#include "harness/schema/ordinal.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace understudy::harness {
namespace {

constexpr std::int64_t kMax = INT64_MAX / 4;  // room for sums
constexpr std::int64_t kSecond = 1000000;
constexpr std::int64_t kDay = 86400 * kSecond;

// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
constexpr std::int64_t DaysFromCivil(std::int64_t year, unsigned month, unsigned day) {
  year -= month <= 2;
  const std::int64_t era = (year >= 0 ? year : year - 399) / 400;
  const auto year_of_era = static_cast<unsigned>(year - era * 400);
  const unsigned day_of_year = (153 * (month + (month > 2 ? -3U : 9U)) + 2) / 5 + day - 1;
  const unsigned day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146097 + static_cast<std::int64_t>(day_of_era) - 719468;
}

// What is made by default lies in the past: a check "<= now()" holds.
constexpr std::int64_t kFirstDay = DaysFromCivil(2020, 1, 1);
constexpr std::int64_t kLastDay = DaysFromCivil(2024, 12, 31);

std::int64_t Pow10(int exponent) {
  std::int64_t power = 1;
  for (int i = 0; i < exponent; ++i) power *= 10;
  return power;
}

void AppendPadded(std::string& out, std::int64_t number, int digits) {
  char text[20];
  for (int i = digits - 1; i >= 0; --i) {
    text[i] = static_cast<char>('0' + number % 10);
    number /= 10;
  }
  out.append(text, static_cast<std::size_t>(digits));
}

void AppendDate(std::string& out, std::int64_t days) {
  days += 719468;
  const std::int64_t era = (days >= 0 ? days : days - 146096) / 146097;
  const auto day_of_era = static_cast<unsigned>(days - era * 146097);
  const unsigned year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  const unsigned day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const unsigned shifted = (5 * day_of_year + 2) / 153;
  const unsigned day = day_of_year - (153 * shifted + 2) / 5 + 1;
  const unsigned month = shifted < 10 ? shifted + 3 : shifted - 9;
  const std::int64_t year = static_cast<std::int64_t>(year_of_era) + era * 400 + (month <= 2);
  AppendPadded(out, year, 4);
  out += '-';
  AppendPadded(out, month, 2);
  out += '-';
  AppendPadded(out, day, 2);
}

void AppendTime(std::string& out, std::int64_t micros) {
  const std::int64_t seconds = micros / kSecond;
  AppendPadded(out, seconds / 3600, 2);
  out += ':';
  AppendPadded(out, seconds / 60 % 60, 2);
  out += ':';
  AppendPadded(out, seconds % 60, 2);
  if (micros % kSecond != 0) {
    out += '.';
    AppendPadded(out, micros % kSecond, 6);
    while (out.back() == '0') out.pop_back();
  }
}

std::int64_t FloorDiv(std::int64_t a, std::int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

// Reads `digits` digits at `text`, which loses them.
std::optional<std::int64_t> TakeDigits(std::string_view& text, std::size_t at_most) {
  std::int64_t number = 0;
  std::size_t used = 0;
  while (used < text.size() && used < at_most && text[used] >= '0' && text[used] <= '9') {
    number = number * 10 + (text[used++] - '0');
  }
  if (used == 0) return std::nullopt;
  text.remove_prefix(used);
  return number;
}

bool TakeChar(std::string_view& text, char c) {
  if (text.empty() || text.front() != c) return false;
  text.remove_prefix(1);
  return true;
}

std::optional<std::int64_t> TakeClock(std::string_view& text) {
  const auto hours = TakeDigits(text, 2);
  if (!hours || !TakeChar(text, ':')) return std::nullopt;
  const auto minutes = TakeDigits(text, 2);
  if (!minutes) return std::nullopt;
  std::int64_t micros = (*hours * 3600 + *minutes * 60) * kSecond;
  if (TakeChar(text, ':')) {
    const auto seconds = TakeDigits(text, 2);
    if (!seconds) return std::nullopt;
    micros += *seconds * kSecond;
    if (TakeChar(text, '.')) {
      const std::size_t before = text.size();
      const auto part = TakeDigits(text, 6);
      if (!part) return std::nullopt;
      micros += *part * Pow10(6 - static_cast<int>(before - text.size()));
    }
  }
  return micros;
}

std::optional<std::int64_t> ParseTimestamp(std::string_view text) {
  const auto year = TakeDigits(text, 6);
  if (!year || !TakeChar(text, '-')) return std::nullopt;
  const auto month = TakeDigits(text, 2);
  if (!month || !TakeChar(text, '-')) return std::nullopt;
  const auto day = TakeDigits(text, 2);
  if (!day || *month < 1 || *month > 12 || *day < 1 || *day > 31) return std::nullopt;
  std::int64_t micros =
      DaysFromCivil(*year, static_cast<unsigned>(*month), static_cast<unsigned>(*day)) * kDay;
  if (TakeChar(text, ' ') || TakeChar(text, 'T')) {
    const auto clock = TakeClock(text);
    if (!clock) return std::nullopt;
    micros += *clock;
  }
  if (!text.empty() && (text.front() == '+' || text.front() == '-')) {
    const std::int64_t sign = text.front() == '+' ? 1 : -1;
    text.remove_prefix(1);
    const auto hours = TakeDigits(text, 2);
    if (!hours) return std::nullopt;
    std::int64_t offset = *hours * 3600;
    if (TakeChar(text, ':')) offset += TakeDigits(text, 2).value_or(0) * 60;
    micros -= sign * offset * kSecond;
  } else {
    TakeChar(text, 'Z');
  }
  if (!text.empty()) return std::nullopt;
  return micros;
}

}  // namespace

void AppendNumber(std::string& out, std::int64_t number) {
  char text[24];
  const auto end = std::to_chars(text, text + sizeof text, number).ptr;
  out.append(text, end);
}

Ordinal Ordinal::OfBase(std::string_view base, int precision, int scale) {
  using Kind = OrdinalKind;
  const auto integer = [](std::int64_t low, std::int64_t high) {
    return Ordinal{Kind::kInteger, 0, low, high, 0, std::min<std::int64_t>(high, 1000000), 1};
  };
  if (base == "int2") return integer(-32768, 32767);
  if (base == "int4") return integer(INT32_MIN, INT32_MAX);
  if (base == "int8" || base == "integer") return integer(-kMax, kMax);
  if (base == "oid") return integer(0, UINT32_MAX);
  if (base == "numeric" || base == "money" || base == "float4" || base == "float8" ||
      base == "real") {
    const bool exact = base == "numeric" || (base == "real" && precision > 0);
    int digits = exact && precision > 0 ? precision : base == "float4" ? 7 : 15;
    int places = exact && precision > 0 ? std::max(0, scale) : base == "float8" ? 3 : 2;
    // Digits beyond what 63 bits count are left at zero: the top ones, then the smallest.
    if (places > 9) {
      digits -= places - 9;
      places = 9;
    }
    digits = std::clamp(digits, 1, 17);
    const std::int64_t whole = Pow10(digits) - 1;
    const std::int64_t usual = std::min<std::int64_t>(whole, 10000 * Pow10(places));
    return {Kind::kDecimal, places, -whole, whole, 0, usual, 1};
  }
  if (base == "date") {
    return {Kind::kDate, 0, DaysFromCivil(1, 1, 1), DaysFromCivil(9999, 12, 31), kFirstDay,
            kLastDay,    1};
  }
  if (base == "timestamp" || base == "timestamptz") {
    return {base == "timestamp" ? Kind::kTimestamp : Kind::kTimestampTz,
            0,
            DaysFromCivil(1, 1, 1) * kDay,
            DaysFromCivil(9999, 12, 31) * kDay,
            kFirstDay * kDay,
            kLastDay * kDay,
            kSecond};
  }
  if (base == "time" || base == "timetz") {
    return {base == "time" ? Kind::kTime : Kind::kTimeTz, 0, 0, kDay - 1, 0, kDay - 1, kSecond};
  }
  if (base == "interval") {
    return {Kind::kInterval, 0, -kMax / 100, kMax / 100, 0, 30 * 86400, 1};
  }
  return {};
}

Ordinal Ordinal::Of(const SchemaColumn& column, bool of_element) {
  const std::string& base = of_element ? column.element_type : column.base_type;
  // SQLite's applications keep dates as text and booleans as 0 and 1.
  if (base == "text") {
    std::string type = column.type;
    for (char& c : type) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (type == "datetime" || type.starts_with("timestamp")) return OfBase("timestamp", -1, -1);
    if (type == "date" || type == "time") return OfBase(type, -1, -1);
    return {};
  }
  Ordinal ordinal = OfBase(base, column.precision, column.scale);
  if (base == "integer") {
    std::string type = column.type;
    for (char& c : type) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (type.starts_with("bool")) {
      ordinal.type_low = ordinal.default_low = 0;
      ordinal.type_high = ordinal.default_high = 1;
    }
  }
  return ordinal;
}

std::optional<std::int64_t> Ordinal::Units(std::string_view text, bool round_up,
                                           bool* exact) const {
  bool unused = false;
  bool& hit = exact != nullptr ? *exact : unused;
  hit = true;
  switch (kind) {
    case OrdinalKind::kNone:
      return std::nullopt;
    case OrdinalKind::kInteger:
    case OrdinalKind::kDecimal: {
      if (text == "true") return 1;
      if (text == "false") return 0;
      std::int64_t whole = 0;
      const auto parsed = std::from_chars(text.data(), text.data() + text.size(), whole);
      if (parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() &&
          std::llabs(whole) <= kMax / Pow10(scale)) {
        return whole * Pow10(scale);
      }
      double number = 0;
      const auto real = std::from_chars(text.data(), text.data() + text.size(), number);
      if (real.ptr != text.data() + text.size() || std::isnan(number)) return std::nullopt;
      number *= static_cast<double>(Pow10(scale));
      const double near = std::round(number);
      if (std::abs(near) >= static_cast<double>(kMax)) return near > 0 ? kMax : -kMax;
      hit = std::abs(number - near) < 1e-6 * std::max(1.0, std::abs(number) * 1e-6);
      if (hit) return static_cast<std::int64_t>(near);
      return static_cast<std::int64_t>(round_up ? std::ceil(number) : std::floor(number));
    }
    case OrdinalKind::kDate: {
      const auto micros = ParseTimestamp(text);
      if (!micros) return std::nullopt;
      const std::int64_t days = FloorDiv(*micros, kDay);
      hit = days * kDay == *micros;
      return days + (!hit && round_up ? 1 : 0);
    }
    case OrdinalKind::kTimestamp:
    case OrdinalKind::kTimestampTz:
      return ParseTimestamp(text);
    case OrdinalKind::kTime:
    case OrdinalKind::kTimeTz:
      return TakeClock(text);
    case OrdinalKind::kInterval: {
      std::int64_t seconds = 0;
      std::string_view rest = text;
      while (!rest.empty()) {
        if (TakeChar(rest, ' ')) continue;
        std::string_view clock = rest;
        if (const auto micros = TakeClock(clock)) {
          seconds += *micros / kSecond;
          rest = clock;
          continue;
        }
        const auto number = TakeDigits(rest, 9);
        if (!number) return std::nullopt;
        TakeChar(rest, ' ');
        std::int64_t unit = 0;
        for (const auto& [word, length] : {std::pair<std::string_view, std::int64_t>{"day", 86400},
                                           {"hour", 3600},
                                           {"min", 60},
                                           {"sec", 1},
                                           {"week", 604800}}) {
          if (rest.starts_with(word)) unit = length;
        }
        if (unit == 0) return std::nullopt;
        seconds += *number * unit;
        while (!rest.empty() && rest.front() >= 'a' && rest.front() <= 'z') rest.remove_prefix(1);
      }
      return seconds;
    }
  }
  return std::nullopt;
}

void Ordinal::Append(std::string& out, std::int64_t units) const {
  switch (kind) {
    case OrdinalKind::kNone:
      return;
    case OrdinalKind::kInteger:
      AppendNumber(out, units);
      return;
    case OrdinalKind::kDecimal: {
      if (units < 0) out += '-';
      const std::int64_t power = Pow10(scale);
      const std::int64_t positive = units < 0 ? -units : units;
      AppendNumber(out, positive / power);
      if (scale > 0) {
        out += '.';
        AppendPadded(out, positive % power, scale);
      }
      return;
    }
    case OrdinalKind::kDate:
      AppendDate(out, units);
      return;
    case OrdinalKind::kTimestamp:
    case OrdinalKind::kTimestampTz: {
      const std::int64_t days = FloorDiv(units, kDay);
      AppendDate(out, days);
      out += ' ';
      AppendTime(out, units - days * kDay);
      if (kind == OrdinalKind::kTimestampTz) out += "+00";
      return;
    }
    case OrdinalKind::kTime:
    case OrdinalKind::kTimeTz:
      AppendTime(out, units);
      if (kind == OrdinalKind::kTimeTz) out += "+00";
      return;
    case OrdinalKind::kInterval: {
      if (units < 0) {
        AppendNumber(out, units);
        out += " seconds";
        return;
      }
      if (units >= 86400) {
        AppendNumber(out, units / 86400);
        out += units >= 2 * 86400 ? " days " : " day ";
      }
      AppendTime(out, units % 86400 * kSecond);
      return;
    }
  }
}

}  // namespace understudy::harness
