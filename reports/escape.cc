#include "reports/escape.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

namespace understudy::reports {
namespace {

// One character of UTF-8 text: how many bytes it takes, and its code point; nothing valid: 0 bytes.
struct Character {
  std::size_t bytes = 0;
  std::uint32_t code = 0;
};

Character ReadCharacter(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return {1, first};
  const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < length) return {};
  std::uint32_t code = first & (0xFFU >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {};
    code = (code << 6) | (byte(i) & 0x3FU);
  }
  const bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
  if (overlong || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return {};
  return {length, code};
}

// Direction overrides and isolates make text read other than it is.
bool TurnsText(std::uint32_t code) {
  return (code >= 0x202A && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
}

bool IsControl(std::uint32_t code) {
  return code < 0x20 || (code >= 0x7F && code <= 0x9F) || TurnsText(code);
}

// Walks `text`; `take(code, bytes)` gets what can be shown, and what cannot is put into `out` as
// \x1b, \u202e, \n.
template <typename Take>
std::string Walk(std::string_view text, Take take) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Character character = ReadCharacter(text);
    const std::size_t bytes = std::max<std::size_t>(character.bytes, 1);
    if (character.bytes == 0) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[0]));
    } else if (!take(out, character.code, text.substr(0, bytes))) {
      out += character.code > 0xFF ? fmt::format("\\u{:04x}", character.code)
                                   : fmt::format("\\x{:02x}", character.code);
    }
    text.remove_prefix(bytes);
  }
  return out;
}

}  // namespace

std::string EscapeXml(std::string_view text) {
  return Walk(text, [](std::string& out, std::uint32_t code, std::string_view bytes) {
    switch (code) {
      case '&':
        out += "&amp;";
        return true;
      case '<':
        out += "&lt;";
        return true;
      case '>':
        out += "&gt;";
        return true;
      case '"':
        out += "&quot;";
        return true;
      case '\'':
        out += "&apos;";
        return true;
      case '\n':
        out += "\n";
        return true;
      case '\t':
        out += "\t";
        return true;
      default:
        break;
    }
    if (IsControl(code) || code == 0xFFFE || code == 0xFFFF) return false;
    out += bytes;
    return true;
  });
}

std::string EscapeMarkdown(std::string_view text) {
  constexpr std::string_view kMarkup = "\\`*_{}[]<>#|~!&@$";
  return Walk(text, [&](std::string& out, std::uint32_t code, std::string_view bytes) {
    if (code == '\n' || code == '\t') {
      out += ' ';
      return true;
    }
    if (IsControl(code)) return false;
    if (code == '<') {
      out += "&lt;";
      return true;
    }
    if (code == '&') {
      out += "&amp;";
      return true;
    }
    if (code == '@') {  // hosts turn @name into a notification
      out += "&#64;";
      return true;
    }
    if (code < 0x80 && kMarkup.find(static_cast<char>(code)) != kMarkup.npos) {
      out += '\\';
    }
    out += bytes;
    return true;
  });
}

std::string MarkdownCode(std::string_view text) {
  std::string shown = Walk(text, [](std::string& out, std::uint32_t code, std::string_view bytes) {
    if (code == '\n' || code == '\t') {
      out += ' ';
      return true;
    }
    if (IsControl(code)) return false;
    if (code == '|') {  // ends a table's cell even inside a code span
      out += "\\|";
      return true;
    }
    out += bytes;
    return true;
  });
  std::size_t longest = 0;
  std::size_t run = 0;
  for (const char c : shown) {
    run = c == '`' ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  const std::string fence(longest + 1, '`');
  const bool pad = longest > 0 || shown.empty();
  return fence + (pad ? " " : "") + shown + (pad ? " " : "") + fence;
}

std::string EscapeTerminal(std::string_view text) {
  return Walk(text, [](std::string& out, std::uint32_t code, std::string_view bytes) {
    if (code == '\n') {
      out += "\\n";
      return true;
    }
    if (IsControl(code)) return false;
    out += bytes;
    return true;
  });
}

std::string Shorten(std::string_view text, std::size_t most) {
  if (text.size() <= most) return std::string(text);
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xC0) == 0x80) --most;
  return std::string(text.substr(0, most)) + "…";
}

}  // namespace understudy::reports
