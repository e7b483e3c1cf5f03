#pragma once

#include <iterator>
#include <string>
#include <string_view>

// Deliberate wrongs inside the engine and the harness, to see that some check notices them:
//
//   if (Sabotaged("sql-skips-statement")) return;
//
// They exist in a program that was built with -DUNDERSTUDY_SABOTAGE=ON (preset `sabotage`), where
// the environment variable UNDERSTUDY_SABOTAGE_ID chooses one. In every other build the question is
// answered with `false` by the compiler: no code, no id, and the variable means nothing.
namespace understudy {

struct SabotageInfo {
  std::string_view id;         // scenarios/sabotage/ID.json is green without it, and red with it
  std::string_view strategy;   // whose code does the wrong; "harness": the harness itself
  std::string_view meant_for;  // the check that must notice it
  std::string_view what;
};

// The one table. A new wrong is a line here, an `if (Sabotaged("its-id"))`, and a scenario.
inline constexpr SabotageInfo kSabotages[] = {
    {"sql-skips-statement", "sql", "catalog",
     "a statement of the user's script is told as done and not sent"},
    {"sql-records-unrun-file", "sql", "steps",
     "a file is recorded as applied and none of it is run"},
    {"sql-journal-skips-commit", "sql", "steps",
     "a file is committed without its line in the journal"},
    {"sql-resume-runs-twice", "sql", "steps",
     "a resumed migration runs the files again that are committed already"},
    {"sql-commits-half", "sql", "steps", "what a failing file did until it failed is committed"},
    {"sql-rollback-skips-last", "sql", "up-down-up",
     "the last statement of the way back is not sent"},
    {"sql-bypasses-triggers", "sql", "orphans",
     "the user's statements run with triggers and foreign keys switched off"},
    {"sql-sleeps-on-its-locks", "sql", "stalls",
     "the engine waits for six seconds between its last statement and the commit"},
    {"capture-misses-updates", "table-swap", "steps",
     "the triggers of preserved tables do not record what is updated"},
    {"capture-loses-key", "table-swap", "acknowledged-writes",
     "the last keys are taken from the log under the locks and their rows are not brought over"},
    {"capture-writes-stale-image", "table-swap", "acknowledged-writes",
     "under the locks, rows that the shadow has already stay as they were"},
    {"capture-compares-nothing", "table-swap", "steps",
     "the comparison of preserved tables with their shadows calls everything equal"},
    {"catalog-ignores-fingerprint", "table-swap", "steps",
     "a preserved table that was rewritten behind the triggers is not copied again"},
    {"hot-copy-skips-tail", "hot-copy", "steps",
     "the drain closes the old file without replaying the end of the log"},
    {"hot-copy-advances-unreplayed", "hot-copy", "acknowledged-writes",
     "the checkpoint goes to the end of the log, and the drain replays nothing"},
    {"hot-copy-keeps-old-reference", "hot-copy", "rows",
     "what is replayed refers to mapped rows by their old keys, and is not compared"},
    {"hot-copy-forgets-high-water", "hot-copy", "sequences",
     "the high-water mark of AUTOINCREMENT is not carried over"},
    {"hot-copy-trusts-the-mark", "hot-copy", "steps",
     "the cutover does not look whether the old file is draining"},
    {"hot-copy-trusts-the-log", "hot-copy", "steps",
     "the cutover does not look whether the log has more than was replayed"},
    {"hot-copy-ignores-references", "hot-copy", "steps",
     "the drain does not look at the references that its rows touch"},
    {"hot-copy-skips-updates", "hot-copy", "steps",
     "with the target's triggers on, rows that are there already are not brought up to date"},
    {"swap-sets-sequence-back", "table-swap", "sequences",
     "the sequences of the new tables do not go on where production's are"},
    {"swap-forgets-grant", "table-swap", "catalog",
     "the new tables do not get the grants of the old ones"},
    {"swap-leaves-view-on-backup", "table-swap", "moved",
     "views outside the exchanged set are not rebuilt on the new tables"},
    {"swap-leaves-trigger-off", "table-swap", "triggers",
     "the users' triggers of the new tables stay switched off"},
    {"swap-skips-drain", "table-swap", "acknowledged-writes",
     "what is captured when the locks are had is not brought over"},
    {"swap-ignores-old-snapshots", "table-swap", "steps",
     "nobody waits for sessions whose snapshot is older than the last replay"},
    {"swap-never-validates", "table-swap", "constraints",
     "foreign keys that are made NOT VALID in the cutover stay so"},
    {"swap-maps-column-wrong", "table-swap", "rows",
     "texts of preserved tables that are NOT NULL are changed on their way, in copy, replay and "
     "comparison alike"},
    {"swap-rollback-leaves-trigger-off", "table-swap", "rollback-restores",
     "triggers that were switched off for the replay back stay off after the rollback"},
    {"swap-trusts-earlier-copies", "table-swap", "steps",
     "what was copied before a crash is not compared with the source's new snapshot"},
    // The harness's own: what it was expected to see is seen no more.
    {"digest-ignores-column", "harness", "rows", "the digest of a row leaves its last column out"},
    {"catalog-misses-triggers", "harness", "triggers", "snapshots of the catalog hold no trigger"},
    {"client-shortens-waits", "harness", "stalls",
     "clients report no operation as longer than 50 ms"},
    {"ledger-acknowledges-rollback", "harness", "acknowledged-writes",
     "writes that were rolled back are in the ledger as acknowledged"},
    {"writer-forgets-acknowledged", "harness", "acknowledged-writes",
     "a row is deleted behind the writer's back after its write was acknowledged"},
};

// An id of the table; anything else does not compile.
class SabotageId {
 public:
  // NOLINTNEXTLINE(google-explicit-constructor): a literal is meant to become one
  consteval SabotageId(const char* id) : index_(0) {
    while (index_ < std::size(kSabotages) && kSabotages[index_].id != id) ++index_;
    if (index_ == std::size(kSabotages)) throw "no such id: add it to kSabotages";
  }
  constexpr std::size_t index() const { return index_; }

 private:
  std::size_t index_;
};

#ifdef UNDERSTUDY_SABOTAGE
// Whether this wrong was chosen.
bool Sabotaged(SabotageId id);
// The same, and true only the `nth` time in this process that this is asked of the id.
bool SabotagedOnce(SabotageId id, int nth = 1);
// The one chosen, or null. Error(kInvalidSpec) when the variable names none of the table.
const SabotageInfo* ChosenSabotage();
#else
consteval bool Sabotaged(SabotageId) { return false; }
consteval bool SabotagedOnce(SabotageId, int = 1) { return false; }
consteval const SabotageInfo* ChosenSabotage() { return nullptr; }
#endif

}  // namespace understudy
