#pragma once

#include <string>
#include <string_view>

// Text from a database may hold anything. Each form of the report takes it in through one of these.
namespace understudy::reports {

// For XML 1.0 text and attributes: markup escaped, what XML cannot hold (control characters, broken
// UTF-8) shown as \x1b. A line feed stays.
std::string EscapeXml(std::string_view text);
// For one line of Markdown outside a code span; line feeds become spaces.
std::string EscapeMarkdown(std::string_view text);
// A Markdown code span that holds `text` whatever it contains.
std::string MarkdownCode(std::string_view text);
// For a terminal: control characters (also the 8-bit ones) as \x1b, a line feed as \n.
std::string EscapeTerminal(std::string_view text);
// `text` shortened to `most` bytes at a character's border, with "…" in place of the rest.
std::string Shorten(std::string_view text, std::size_t most);

}  // namespace understudy::reports
