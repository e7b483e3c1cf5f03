#include "engine/core/points.h"

#include <array>

#include "engine/base/error.h"

namespace understudy::core {
namespace {
constexpr std::array<std::string_view, 9> kPhaseNames = {
    "plan", "prepare", "sync", "drain", "cutover", "verify", "cleanup", "rollback", "reset"};

constexpr std::string_view kEvery = "every strategy";
constexpr std::string_view kCopying = "copying strategies";

constexpr std::array<Point, 24> kPoints{{
    {"prepare.begin", Phase::kPrepare, kEvery, "before anything is made in the databases"},
    {"prepare.schema_built", Phase::kPrepare, kCopying,
     "the new tables are made, empty, and not committed"},
    {"prepare.capture_installed", Phase::kPrepare, kCopying,
     "the capture triggers are set and not committed"},
    {"prepare.post_data_built", Phase::kPrepare, "table-swap",
     "the shadow has its rows, indexes and constraints"},
    {"prepare.end", Phase::kPrepare, kEvery, "everything that prepare makes is there"},
    {"sync.before_commit", Phase::kSync, kEvery, "one unit of work is done and not committed"},
    {"sync.after_commit", Phase::kSync, kEvery,
     "one unit of work and its checkpoint are committed"},
    {"copy.before_commit", Phase::kSync, kCopying, "a chunk is copied and not committed"},
    {"copy.after_commit", Phase::kSync, kCopying, "a chunk and its checkpoint are committed"},
    {"replay.before_commit", Phase::kSync, kCopying, "captured writes are applied, not committed"},
    {"replay.after_commit", Phase::kSync, kCopying,
     "captured writes and their checkpoint are committed"},
    {"drain.locked", Phase::kDrain, "hot-copy", "the old file's write lock is held"},
    {"drain.before_commit", Phase::kDrain, "hot-copy",
     "the rest is replayed; before the commit that refuses writes"},
    {"drain.after_commit", Phase::kDrain, "hot-copy", "that commit is done, nothing is left over"},
    {"cutover.begin", Phase::kCutover, kEvery, "before the first lock of the cutover"},
    {"cutover.locked", Phase::kCutover, kEvery,
     "the cutover holds its locks (sql: the transaction of a file is open, its statements are "
     "done)"},
    {"statement.before", Phase::kCutover, "sql", "before a statement of the user's is sent"},
    {"statement.after", Phase::kCutover, "sql",
     "a statement of the user's is done, its locks held"},
    {"cutover.before_commit", Phase::kCutover, kEvery,
     "before the commit that puts the new side in service"},
    {"cutover.after_commit", Phase::kCutover, kEvery, "that commit is done"},
    {"verify.end", Phase::kVerify, kEvery, "the strategy's own verification is done"},
    {"rollback.before_commit", Phase::kRollback, kEvery,
     "before the commit that puts the old side back"},
    {"rollback.after_commit", Phase::kRollback, kEvery, "that commit is done"},
    {"cleanup.end", Phase::kCleanup, kEvery, "nothing of the engine's own is left"},
}};
}  // namespace

std::string_view PhaseName(Phase phase) { return kPhaseNames[static_cast<std::size_t>(phase)]; }

Phase PhaseFromName(std::string_view name) {
  for (std::size_t i = 0; i < kPhaseNames.size(); ++i) {
    if (kPhaseNames[i] == name) return static_cast<Phase>(i);
  }
  throw Error(ErrorKind::kInvalidSpec, "no such phase: '" + std::string(name) +
                                           "'; allowed: plan, prepare, sync, drain, cutover, "
                                           "verify, cleanup, rollback, reset");
}

std::span<const Point> Points() { return kPoints; }

const Point* FindPoint(std::string_view name) {
  for (const Point& point : kPoints) {
    if (point.name == name) return &point;
  }
  return nullptr;
}

}  // namespace understudy::core
