#include "harness/cli/program.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <string_view>
#include <thread>

#include "harness/cli/version.h"

namespace understudy::cli {

int WorseExit(int a, int b) {
  static constexpr std::array<int, 8> kOrder = {kInterrupted, kBug,  kUsage,   kInput,
                                                kMissing,     kFail, kUnknown, kPass};
  const auto rank = [](int code) { return std::ranges::find(kOrder, code) - kOrder.begin(); };
  return rank(a) <= rank(b) ? a : b;
}

void AddJsonFlag(CLI::App& verb, Program& program) {
  verb.add_flag("--json", program.json, "One JSON document on stdout and nothing else");
}

void AddMayBeChangedFlag(CLI::App& verb, Program& program) {
  verb.add_flag("--yes-this-database-may-be-changed", program.may_be_changed,
                "Allow an external database that is not marked for rehearsals");
}

bool Colour(int fd) {
  const char* no_color = std::getenv("NO_COLOR");
  return ::isatty(fd) == 1 && (no_color == nullptr || *no_color == '\0');
}

std::vector<std::string> Required() {
  const char* all = std::getenv("UNDERSTUDY_REQUIRE");
  std::vector<std::string> names(1);
  for (const char* c = all == nullptr ? "" : all; *c != '\0'; ++c) {
    if (*c == ',') {
      names.emplace_back();
    } else if (*c != ' ') {
      names.back() += *c;
    }
  }
  std::erase(names, "");
  return names;
}

bool Required(const std::string& what) {
  const std::vector<std::string> names = Required();
  return std::ranges::find(names, what) != names.end();
}

Json ToolFacts() { return {{"name", "understudy"}, {"version", kVersion}, {"commit", kCommit}}; }

Json HostFacts() {
  utsname names{};
  ::uname(&names);
  const auto memory =
      static_cast<std::int64_t>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGE_SIZE);
  return {{"os", std::string(names.sysname) + " " + names.release + " " + names.machine},
          {"cpus", std::thread::hardware_concurrency()},
          {"memory_bytes", memory}};
}

std::string ShellWord(const std::string& text) {
  const bool plain = !text.empty() && std::ranges::all_of(text, [](unsigned char c) {
    return std::isalnum(c) != 0 ||
           std::string_view("%+,-./:=@_").find(static_cast<char>(c)) != std::string_view::npos;
  });
  if (plain) return text;
  std::string word = "'";
  for (const char c : text) word += c == '\'' ? "'\\''" : std::string(1, c);
  return word + "'";
}

}  // namespace understudy::cli
