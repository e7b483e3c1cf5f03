#pragma once

#include <string>
#include <string_view>

namespace understudy {

// Remembers a secret (a password) for the life of the process: Redact() takes it out of any text.
// Secrets shorter than four characters are not searched for, only redacted where a URI or
// conninfo shows them.
void RememberSecret(std::string_view secret);

// `text` with every remembered secret, every password of a database URI (`//user:PASSWORD@`) and
// every `password=` of a conninfo replaced by "***".
std::string Redact(std::string_view text);

}  // namespace understudy
