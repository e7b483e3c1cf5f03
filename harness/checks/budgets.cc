// The checks that judge milliseconds: `stalls`, `locks`, `duration`.
#include <fmt/format.h>

#include <algorithm>

#include "engine/db/identifier.h"
#include "harness/checks/client_times.h"
#include "harness/checks/facts.h"
#include "harness/checks/findings.h"
#include "harness/checks/observed_locks.h"
#include "harness/checks/standard.h"

namespace understudy::harness {
namespace {

constexpr double kDefaultMaxMs = 1000;
constexpr std::size_t kStallsToShow = 20;

class Stalls final : public Check {
 public:
  std::string_view id() const override { return "stalls"; }

  std::optional<std::string> DoesNotApply(const Evidence& evidence) const override {
    if (HasClients(evidence)) return std::nullopt;
    return "no clients";
  }

  reports::Verdict Judge(const Evidence& evidence) const override {
    Findings findings;
    const double most = NumberAt(OptionsOf(evidence, id()), "max_ms", kDefaultMaxMs);
    const ClientTimes times = LongestOperations(evidence, kStallsToShow);
    findings.Judged(times.operations);
    double longest = 0;
    for (const Stall& stall : times.longest) {
      longest = std::max(longest, stall.span.length_ms());
      if (stall.span.length_ms() <= most) continue;
      findings.Fail(fmt::format(
          "{} of {} {} {} (from {}, in {}), {:.0f} ms are allowed; {}", stall.operation,
          stall.client, stall.open ? "never ended, after" : "took", Ms(stall.span.length_ms()),
          Ms(stall.span.begin_ms), stall.phase, most,
          stall.blamed.empty() ? "nothing was seen to blame it on" : "blamed on: " + stall.blamed));
    }
    return findings.Done(id(),
                         fmt::format("the longest of {} operations took {}, {:.0f} ms are allowed",
                                     times.operations, Ms(longest), most),
                         "no client did anything");
  }
};

class Locks final : public Check {
 public:
  std::string_view id() const override { return "locks"; }

  std::optional<std::string> DoesNotApply(const Evidence& evidence) const override {
    if (HasEngine(evidence, "postgres")) return std::nullopt;
    return "SQLite shows no locks; their victims' stalls do";
  }

  // Statements whose transaction was asked for its locks before it ended: that none is held on a
  // table of the user's is an answer too. One outside a transaction had let go before.
  static std::int64_t StatementsAsked(const Evidence& evidence) {
    std::int64_t asked = 0;
    for (const Event* event : evidence.OfKind("statement")) {
      const bool in_time = TextAt(event->data, "transaction") != "own";
      if (in_time && event->data.contains("locks") && TextAt(event->data, "error").empty()) ++asked;
    }
    return asked;
  }

  reports::Verdict Judge(const Evidence& evidence) const override {
    Findings findings;
    const Json options = OptionsOf(evidence, id());
    const double most = NumberAt(options, "max_ms", kDefaultMaxMs);
    double longest = 0;
    findings.Judged(StatementsAsked(evidence));
    std::int64_t seen = 0;
    for (const LockSeen& lock : LocksSeen(evidence)) {
      findings.Judged();
      ++seen;
      if (lock.is_new) continue;
      const std::string by = lock.statement.empty() ? "" : "; by: " + OneLine(lock.statement);
      for (const Json& rule : options.value("forbid", Json::array())) {
        const std::string mode = TextAt(rule, "mode");
        const std::string table = TextAt(rule, "table");
        if (!mode.empty() && !db::MatchesGlob(lock.mode, mode)) continue;
        if (!table.empty() && !NamesTable(table, lock.object)) continue;
        findings.Fail(fmt::format("{} on {} is forbidden here, and was taken (held {}){}",
                                  lock.mode, lock.object, Ms(lock.held_ms), by),
                      ExampleOf(lock));
      }
      if (!BlocksWriters(lock.mode)) continue;
      longest = std::max(longest, lock.held_ms);
      if (lock.held_ms <= most) continue;
      findings.Fail(fmt::format("{} on {} was held {}, {:.0f} ms are allowed{}", lock.mode,
                                lock.object, Ms(lock.held_ms), most, by),
                    ExampleOf(lock));
    }
    if (longest > 0) {
      findings.Note("the longest lock that keeps writers out was held " + Ms(longest));
    }
    return findings.Done(
        id(), fmt::format("{} locks seen; none kept writers out longer than {:.0f} ms", seen, most),
        "no lock of the migration was seen");
  }

 private:
  static std::string OneLine(std::string text) {
    std::replace(text.begin(), text.end(), '\n', ' ');
    return text;
  }
  static Json ExampleOf(const LockSeen& lock) {
    return {{"object", lock.object},
            {"mode", lock.mode},
            {"held_ms", lock.held_ms},
            {"statement", lock.statement}};
  }
};

class Duration final : public Check {
 public:
  std::string_view id() const override { return "duration"; }

  std::optional<std::string> DoesNotApply(const Evidence& evidence) const override {
    const Json options = OptionsOf(evidence, id());
    if (HasNumber(options, "max_ms") || HasNumber(options, "cutover_max_ms")) return std::nullopt;
    return "no budget";
  }

  reports::Verdict Judge(const Evidence& evidence) const override {
    Findings findings;
    const Json options = OptionsOf(evidence, id());
    std::map<std::string, Span> whole;  // by migration: from its first phase to the end of its last
    std::string told;
    for (const PhaseRun& run : PhasesOf(evidence)) {
      if (run.phase == "rollback" || run.phase == "reset" || run.phase == "cleanup") continue;
      const auto [it, first] = whole.emplace(run.migration, run.span);
      it->second.end_ms = std::max(it->second.end_ms, run.span.end_ms);
      if (run.phase == "cutover") {
        Against("cutover", run.migration, run.span.length_ms(), options, "cutover_max_ms", findings,
                told);
      }
    }
    for (const auto& [migration, span] : whole) {
      Against("the whole migration", migration, span.length_ms(), options, "max_ms", findings,
              told);
    }
    return findings.Done(id(), told, "no phase that has a budget was run");
  }

 private:
  static void Against(const std::string& what, const std::string& migration, double ms,
                      const Json& options, const char* key, Findings& findings, std::string& told) {
    if (!HasNumber(options, key)) return;
    const double most = NumberAt(options, key);
    findings.Judged();
    const std::string line =
        fmt::format("{}{} took {}, {:.0f} ms are allowed", what,
                    migration.empty() ? "" : " (" + migration + ")", Ms(ms), most);
    if (ms > most) findings.Fail(line);
    told += (told.empty() ? "" : "; ") + line;
  }
};

}  // namespace

CheckPtr StallsCheck() { return std::make_unique<Stalls>(); }
CheckPtr LocksCheck() { return std::make_unique<Locks>(); }
CheckPtr DurationCheck() { return std::make_unique<Duration>(); }

}  // namespace understudy::harness
