#include "engine/base/redact.h"

#include <cctype>
#include <mutex>
#include <set>

namespace understudy {
namespace {
struct Secrets {
  std::mutex mutex;
  std::set<std::string, std::less<>> all;
};
Secrets& Known() {
  static Secrets secrets;
  return secrets;
}

void ReplaceAll(std::string& text, std::string_view what) {
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 3)) {
    text.replace(at, what.size(), "***");
  }
}

// postgres://user:secret@host → postgres://user:***@host
void RedactUris(std::string& text) {
  std::size_t at = 0;
  while ((at = text.find("://", at)) != std::string::npos) {
    const std::size_t start = at + 3;
    const std::size_t end = text.find_first_of("/?# \t\n\"'", start);
    const std::size_t stop = end == std::string::npos ? text.size() : end;
    const std::size_t host = text.rfind('@', stop == 0 ? 0 : stop - 1);
    const std::size_t colon = text.find(':', start);
    if (host != std::string::npos && host >= start && colon != std::string::npos && colon < host) {
      text.replace(colon + 1, host - colon - 1, "***");
    }
    at = start;
  }
}

// password=secret, password='se\'cret'; also in a URI's query
void RedactConninfo(std::string& text) {
  static constexpr std::string_view kKey = "password";
  std::size_t at = 0;
  while ((at = text.find(kKey, at)) != std::string::npos) {
    std::size_t value = at + kKey.size();
    at = value;
    while (value < text.size() && text[value] == ' ') ++value;
    if (value >= text.size() || text[value] != '=') continue;
    ++value;
    while (value < text.size() && text[value] == ' ') ++value;
    std::size_t end = value;
    if (end < text.size() && text[end] == '\'') {
      for (++end; end < text.size() && text[end] != '\''; ++end) {
        if (text[end] == '\\') ++end;
      }
      end = std::min(end + 1, text.size());
    } else {
      while (end < text.size() && std::isspace(static_cast<unsigned char>(text[end])) == 0 &&
             text[end] != '&') {
        ++end;
      }
    }
    text.replace(value, end - value, "***");
  }
}
}  // namespace

void RememberSecret(std::string_view secret) {
  if (secret.size() < 4) return;
  Secrets& known = Known();
  const std::lock_guard lock(known.mutex);
  known.all.emplace(secret);
}

std::string Redact(std::string_view text) {
  std::string safe(text);
  {
    Secrets& known = Known();
    const std::lock_guard lock(known.mutex);
    for (const std::string& secret : known.all) ReplaceAll(safe, secret);
  }
  RedactUris(safe);
  RedactConninfo(safe);
  return safe;
}

}  // namespace understudy
