#include "tests/property/table_swap_run.h"

#include <cstdlib>
#include <iostream>

#include "engine/base/clock.h"
#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/db/identifier.h"
#include "engine/table_swap/table_swap.h"

namespace understudy::property {
namespace {

using Kind = core::PhaseOutcome::Kind;

std::string Told(const std::string& verb, const core::PhaseOutcome& outcome) {
  return verb + " was " + std::string(core::OutcomeName(outcome.kind)) + " (" +
         std::string(core::StateName(outcome.state)) + "): " + outcome.message;
}

}  // namespace

SwapRunner::SwapRunner() : folder_("us-swap-property") { registry_.Add(table_swap::Strategy()); }

void SwapRunner::OnEvent(const core::Event& event) {
  if (event.kind != "point" || interrupted_) return;
  if (event.data.value("point", "") != interrupt_at_ || --interrupt_nth_ > 0) return;
  interrupted_ = true;
  if (cut_) {
    target_.Connect()->Query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE "
        "'understudy-engine%' AND datname = current_database()");
    return;
  }
  throw Error(ErrorKind::kInternal, "interrupted by the property");
}

void SwapRunner::Empty(const testing::Database& database) {
  database.Run(R"(DO $$ DECLARE s name; BEGIN
  FOR s IN SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
  LOOP EXECUTE pg_catalog.format('DROP SCHEMA %I CASCADE', s); END LOOP; END $$;
CREATE SCHEMA public;)");
}

void SwapRunner::Begin(const SwapCase& swap) {
  const auto server = db::Connect(testing::Server());
  for (const db::Row& row : server
                                ->Query("SELECT datname FROM pg_database WHERE datname LIKE "
                                        "'understudy\\_scratch\\_%'")
                                .rows) {
    server->Execute("DROP DATABASE " + db::QuoteIdentifier(row[0].text));
  }
  for (const auto* database : {&target_, &source_, &reference_}) Empty(*database);
  id_ = "case-" + std::to_string(++number_);
  const auto sql_file = folder_.path() / (id_ + ".sql");
  WriteFileWhole(sql_file, ChangeSql(swap) + "SELECT 1;\n");
  document_ = MigrationOf(swap, sql_file.string());
  target_.Run(SchemaSql(swap, false) + ProductionRowsSql(swap));
  if (!swap.by_sql) source_.Run(SchemaSql(swap, true) + SourceRowsSql(swap));
  reference_.Run(SchemaSql(swap, true));
  target_before_ = harness::TakeCatalog(*target_.Connect());
  source_before_ = harness::TakeCatalog(*source_.Connect());
  reference_catalog_ = harness::TakeCatalog(*reference_.Connect());
  source_rows_before_.clear();
  if (!swap.by_sql) {
    for (const auto& [table, digest] : AllRows(swap, source_, false)) source_rows_before_ += digest;
  }
  replaced_before_ = AllRows(swap, target_, true);
  interrupt_at_ = InterruptPoints()[static_cast<std::size_t>(swap.interrupt)];
  interrupt_nth_ = swap.nth;
  cut_ = swap.cut;
  interrupted_ = swap.interrupt == 0;
}

core::PhaseOutcome SwapRunner::With(
    const std::function<core::PhaseOutcome(core::Lifecycle&)>& work) {
  const std::map<std::string, db::Endpoint> databases = {{"main", target_.endpoint()},
                                                         {"data", source_.endpoint()}};
  const core::Spec spec =
      core::Spec::Parse(document_, id_, folder_.path(), "property.json", registry_, databases);
  core::Lifecycle lifecycle(spec, registry_, {.probe = this, .rehearsal = true});
  return work(lifecycle);
}

core::PhaseOutcome SwapRunner::Through(core::Phase phase) {
  return With([&](core::Lifecycle& lifecycle) { return lifecycle.RunThrough(phase); });
}

std::string SwapRunner::Ours() {
  return target_.Connect()
      ->Scalar(
          "SELECT coalesce(string_agg(x, ', ' ORDER BY x), '') FROM ("
          "SELECT 'schema ' || nspname AS x FROM pg_namespace WHERE nspname LIKE 'understudy%' "
          "UNION ALL SELECT 'trigger ' || tgname || ' on ' || tgrelid::regclass FROM pg_trigger "
          "WHERE tgname LIKE 'understudy%' "
          "UNION ALL SELECT 'function ' || oid::regprocedure FROM pg_proc WHERE proname LIKE "
          "'understudy%' OR proname LIKE 'capture\\_%' "
          "UNION ALL SELECT 'database ' || datname FROM pg_database WHERE datname LIKE "
          "'understudy%') y")
      .text;
}

std::string SwapRunner::CheckCatalog(const std::string& when, const harness::Snapshot& expected,
                                     const testing::Database& database) {
  const harness::Snapshot now = harness::TakeCatalog(*database.Connect());
  std::string wrong;
  for (const harness::CatalogChange& change : harness::DiffCatalogs(expected, now)) {
    if (harness::IsOurs(change.path)) continue;
    // Users draw numbers all the time.
    if (change.property == "last_value" || change.property == "is_called") continue;
    wrong += ToLine(harness::ToJson(change)) + "\n";
  }
  return wrong.empty() ? "" : when + ", the catalog is another:\n" + wrong;
}

std::string SwapRunner::CheckSource() {
  if (document_.contains("source")) {
    std::string wrong = CheckCatalog("in the source", source_before_, source_);
    return wrong;
  }
  return "";
}

std::map<std::size_t, std::string> SwapRunner::AllRows(const SwapCase& swap,
                                                       const testing::Database& database,
                                                       bool only_replaced) {
  const auto session = database.Connect();
  std::map<std::size_t, std::string> all;
  for (std::size_t t = 0; t < swap.tables.size(); ++t) {
    if (only_replaced && Preserved(swap, t)) continue;
    all[t] = session
                 ->Scalar(
                     "SELECT count(*) || ' ' || coalesce(md5(string_agg(t::text, '~' ORDER BY "
                     "t::text)), '') FROM " +
                     QuotedName(swap, t) + " t")
                 .text;
  }
  return all;
}

std::string SwapRunner::CheckReset() {
  ++totals_.resets;
  const core::PhaseOutcome outcome =
      With([](core::Lifecycle& lifecycle) { return lifecycle.Reset(false); });
  if (outcome.kind != Kind::kDone) return Told("reset", outcome);
  if (const std::string ours = Ours(); !ours.empty()) return "reset has left: " + ours;
  return CheckCatalog("after reset", target_before_, target_);
}

std::string SwapRunner::Reach(const SwapCase& swap, core::Phase phase) {
  const std::string verb(core::PhaseName(phase));
  const bool may_be_interrupted = !interrupted_;
  core::PhaseOutcome outcome = Through(phase);
  if (may_be_interrupted && interrupted_ && cut_) {
    // What has lost its sessions tries again by itself, or says that it does not know.
    ++totals_.interrupted;
    for (int i = 0; i < 3 && !outcome.ok(); ++i) {
      if (swap.then_reset && phase == core::Phase::kPrepare && i == 0) {
        if (const std::string wrong = CheckReset(); !wrong.empty()) return wrong;
      }
      if (outcome.kind == Kind::kRefused) break;
      outcome = Through(phase);
    }
  } else if (may_be_interrupted && interrupted_) {
    ++totals_.interrupted;
    const bool committed = interrupt_at_ == "cutover.after_commit";
    if (outcome.ok() && !committed) return "interrupted, and yet " + Told(verb, outcome);
    if (swap.then_reset && !committed) {
      if (const std::string wrong = CheckReset(); !wrong.empty()) return wrong;
      if (AllRows(swap, target_, true) != replaced_before_) {
        return "reset has changed rows of a replaced table";
      }
    }
    outcome = Through(phase);
  }
  return outcome.ok() ? "" : Told(verb, outcome);
}

core::PhaseOutcome SwapRunner::Insist(
    const std::function<core::PhaseOutcome(core::Lifecycle&)>& work) {
  const bool may_be_interrupted = !interrupted_;
  core::PhaseOutcome outcome = With(work);
  if (!may_be_interrupted || !interrupted_) return outcome;
  ++totals_.interrupted;
  for (int i = 0; i < 3 && !outcome.ok() && outcome.kind != Kind::kRefused; ++i) {
    outcome = With(work);
  }
  if (outcome.kind == Kind::kNothing) outcome.kind = Kind::kDone;  // it was done before
  return outcome;
}

std::map<std::size_t, std::string> SwapRunner::OldShapes(const SwapCase& swap, bool become) {
  const auto session = target_.Connect();
  std::map<std::size_t, std::string> all;
  for (std::size_t t = 0; t < swap.tables.size(); ++t) {
    if (!Preserved(swap, t)) continue;
    const std::string row = OldShapeOf(swap, t, become);
    all[t] = session
                 ->Scalar("SELECT coalesce(string_agg(" + row + ", E'\\n' ORDER BY " + row +
                          "), '') FROM " + QuotedName(swap, t))
                 .text;
  }
  return all;
}

std::string SwapRunner::GoBack(const SwapCase& swap, bool lose) {
  ++totals_.rollbacks;
  const auto before = OldShapes(swap, /*become=*/true);
  const core::PhaseOutcome outcome = Insist([&](core::Lifecycle& lifecycle) {
    return lifecycle.Rollback({.to = "", .lose_writes = lose});
  });
  if (outcome.kind != Kind::kDone) return Told("rollback", outcome);
  if (const std::string wrong = CheckCatalog("after the rollback", target_before_, target_);
      !wrong.empty()) {
    return wrong;
  }
  if (AllRows(swap, target_, true) != replaced_before_) {
    return "a replaced table has other rows after the rollback than at first";
  }
  if (!lose) {
    if (const std::string wrong = writers_->WrongRows(); !wrong.empty()) {
      return "after the rollback:\n" + wrong;
    }
    const auto after = OldShapes(swap, /*become=*/false);
    for (const auto& [table, rows] : before) {
      if (after.at(table) == rows) continue;
      return "the rollback has not brought back the rows of " + QuotedName(swap, table) + ":\n" +
             rows + "\nbut\n" + after.at(table);
    }
  }
  if (swap.reverse) ++totals_.carried_back;
  // What is in service now takes writes as it did at first.
  Writers again(target_.endpoint(), swap);
  again.WaitForARound();
  again.Stop();
  const std::string wrong = again.Wrong().empty() ? again.WrongRows() : again.Wrong();
  return wrong.empty() ? "" : "writing after the rollback:\n" + wrong;
}

std::string SwapRunner::AfterCutover(const SwapCase& swap, bool written_since) {
  core::PhaseOutcome outcome =
      Insist([](core::Lifecycle& lifecycle) { return lifecycle.Verify(); });
  if (outcome.kind != Kind::kDone) return Told("verify", outcome);
  if (const std::string wrong = CheckCatalog("after the cutover", reference_catalog_, target_);
      !wrong.empty()) {
    return wrong;
  }
  if (!swap.by_sql && AllRows(swap, target_, true) != AllRows(swap, source_, true)) {
    return "a replaced table has other rows than the source";
  }
  if (swap.after == 1) {
    if (const std::string wrong = GoBack(swap, written_since && !swap.reverse); !wrong.empty()) {
      return wrong;
    }
  }
  outcome = Insist([](core::Lifecycle& lifecycle) { return lifecycle.Cleanup(); });
  if (outcome.kind != Kind::kDone) return Told("cleanup", outcome);
  if (const std::string ours = Ours(); !ours.empty()) return "cleanup has left: " + ours;
  return CheckCatalog("after the cleanup", swap.after == 1 ? target_before_ : reference_catalog_,
                      target_);
}

std::string SwapRunner::Run(const SwapCase& swap) {
  ++totals_.cases;
  const auto started = SteadyClock::now();
  Begin(swap);
  writers_ = std::make_unique<Writers>(target_.endpoint(), swap);
  const auto wrong = [&]() -> std::string {
    std::string what = Reach(swap, core::Phase::kPrepare);
    if (what.empty()) {
      if (swap.quiet_cutover) writers_->Stop();
      what = writers_->Wrong();
    }
    if (what.empty()) what = Reach(swap, core::Phase::kCutover);
    const std::int64_t before = writers_->acknowledged();
    if (what.empty()) writers_->WaitForARound();
    writers_->Stop();
    totals_.acknowledged += writers_->acknowledged();
    totals_.after_cutover += writers_->acknowledged() - before;
    if (swap.reverse && swap.after == 1) {
      totals_.acknowledged_carried += writers_->acknowledged() - before;
    }
    // What a writer found is the cause, where there is one.
    if (const std::string found = writers_->Wrong(); !found.empty()) what = found + "\n" + what;
    if (what.empty()) what = writers_->WrongRows();
    if (what.empty())
      what = AfterCutover(swap, writers_->acknowledged() > 0 && !swap.quiet_cutover);
    if (what.empty()) what = CheckSource();
    if (what.empty() && !swap.by_sql) {
      std::string rows;
      for (const auto& [table, digest] : AllRows(swap, source_, false)) rows += digest;
      if (rows != source_rows_before_) what = "the source has other rows than before";
    }
    return what;
  }();
  if (std::getenv("UNDERSTUDY_PROPERTY_VERBOSE") != nullptr) {
    std::cerr << totals_.cases << ": " << MillisecondsSince(started) << " ms, "
              << writers_->acknowledged() << " acknowledged, " << writers_->rolled_back()
              << " rolled back; " << wrong << "\n"
              << swap;
  }
  writers_.reset();
  return wrong;
}

}  // namespace understudy::property
