#include "harness/actors/probe.h"

#include <algorithm>

#include "engine/base/error.h"

namespace understudy::harness {
namespace {

constexpr int kInserts = 4;
constexpr int kUpdates = 2;
constexpr std::size_t kNoOwner = 0;

// A writer that only tries.
class Prober : public Writer {
 public:
  using Client::session;
  using Writer::Writer;
};

// Rows inserted, updated, deleted per table by this session so far: what is counted before the
// statistics collector takes it away, so only differences within one transaction mean something.
using Counts = std::map<std::string, std::array<std::int64_t, 3>>;

Counts CountWrites(db::Session& session) {
  Counts counts;
  const db::Result rows = session.Query(
      "SELECT n.nspname, c.relname, sum(s.n_tup_ins), sum(s.n_tup_upd), sum(s.n_tup_del)"
      " FROM pg_catalog.pg_stat_xact_user_tables s"
      " JOIN pg_catalog.pg_class c ON c.oid = coalesce(pg_catalog.pg_partition_root(s.relid),"
      " s.relid) JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
      " WHERE s.n_tup_ins + s.n_tup_upd + s.n_tup_del > 0 GROUP BY 1, 2");
  for (const db::Row& row : rows.rows) {
    counts[db::TableName{row[0].text, row[1].text}.Display()] = {
        row[2].AsInteger(), row[3].AsInteger(), row[4].AsInteger()};
  }
  return counts;
}

class Trial {
 public:
  Trial(const std::shared_ptr<Stage>& stage, const ClientSetup& setup)
      : stage_(*stage), prober_(setup, {}, stage, kNoOwner, {}), random_(setup.seed) {}

  void Run() {
    prober_.Connect();
    if (stage_.engine == db::Engine::kPostgres) Ask();
    session().Begin(db::Isolation::kDefault, false, stage_.engine == db::Engine::kSqlite);
    for (std::size_t p = 0; p < stage_.plans.size(); ++p) {
      const bool chosen =
          std::find(stage_.chosen.begin(), stage_.chosen.end(), p) != stage_.chosen.end();
      // A table that others refer to is given rows as well: their inserts need parents.
      if (chosen || stage_.plans[p]->has_children) Table(p);
    }
    session().Rollback();
    AvoidSideEffects(stage_, effects_);
  }

 private:
  db::Session& session() { return prober_.session(); }

  void Ask() {
    deferrable_ = session()
                      .Scalar(
                          "SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint"
                          " WHERE condeferrable)")
                      .AsBool();
    for (const db::Row& row :
         session()
             .Query("SELECT DISTINCT n.nspname, c.relname FROM pg_catalog.pg_trigger t"
                    " JOIN pg_catalog.pg_class c"
                    " ON c.oid = coalesce(pg_catalog.pg_partition_root(t.tgrelid), t.tgrelid)"
                    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
                    " WHERE NOT t.tgisinternal"
                    " UNION SELECT n.nspname, c.relname FROM pg_catalog.pg_rewrite r"
                    " JOIN pg_catalog.pg_class c ON c.oid = r.ev_class AND c.relkind IN ('r', 'p')"
                    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace")
             .rows) {
      has_triggers_.insert(db::TableName{row[0].text, row[1].text}.Display());
    }
  }

  // "": done; else what refused it. nullopt: nothing to do it to.
  std::optional<std::string> Attempt(Kind kind, std::size_t p, int column = -1,
                                     bool brief = false) {
    const bool count = has_triggers_.contains(stage_.plans[p]->display);
    if (count && !counted_) counts_ = CountWrites(session());
    counted_ = false;
    session().Execute("SAVEPOINT understudy_try");
    try {
      const bool done = prober_.Try(kind, p, random_, column, brief).has_value();
      // What is checked at the end of a transaction is checked now.
      if (deferrable_) {
        session().Execute("SET CONSTRAINTS ALL IMMEDIATE");
        session().Execute("SET CONSTRAINTS ALL DEFERRED");
      }
      if (count && done) {
        Counts now = CountWrites(session());
        Notice(p, kind, counts_, now);
        counts_ = std::move(now);
        counted_ = true;
      }
      session().Execute("RELEASE SAVEPOINT understudy_try");
      if (!done) return std::nullopt;
      return "";
    } catch (const Error& error) {
      if (IsLost(error) || error.kind() == ErrorKind::kInternal) throw;
      session().Execute("ROLLBACK TO SAVEPOINT understudy_try");
      session().Execute("RELEASE SAVEPOINT understudy_try");
      return error.message();
    }
  }

  void Notice(std::size_t p, Kind kind, const Counts& before, const Counts& after) {
    const TablePlan& plan = *stage_.plans[p];
    const char operation = kind == Kind::kInsert ? 'i' : kind == Kind::kDelete ? 'd' : 'u';
    for (const auto& [table, now] : after) {
      const auto it = before.find(table);
      for (std::size_t w = 0; w < 3; ++w) {
        const std::int64_t rows = now[w] - (it == before.end() ? 0 : it->second[w]);
        const char does = "iud"[w];
        const bool own = table == plan.display;
        if (rows <= (own && does == operation ? 1 : 0)) continue;
        if (kind == Kind::kUpsert && own) continue;
        for (const auto& other : stage_.plans) {
          if (other->display == table) {
            effects_.push_back({p, operation, other->table.name, does});
          }
        }
      }
    }
  }

  void Table(std::size_t p) {
    TablePlan& plan = *stage_.plans[p];
    for (int i = 0; i < kInserts && plan.can_insert; ++i) {
      const auto refused = Attempt(Kind::kInsert, p);
      if (!refused) break;  // no parents yet: the clients may make some
      if (refused->empty()) continue;
      plan.can_insert = plan.can_insert_short = plan.can_upsert = false;
      plan.why_not.push_back("inserts: the server refused one: " + *refused);
    }
    for (int i = 0; i < 2 && plan.can_insert_short; ++i) {
      const auto refused = Attempt(Kind::kInsert, p, -1, true);
      if (!refused) break;
      if (!refused->empty()) plan.can_insert_short = false;
    }
    std::vector<std::size_t> accepted;
    for (const std::size_t column : plan.updatable) {
      bool ok = true;
      for (int i = 0; i < kUpdates && ok; ++i) {
        const auto refused = Attempt(Kind::kUpdate, p, static_cast<int>(column));
        if (!refused) break;
        if (refused->empty()) continue;
        ok = false;
        plan.why_not.push_back("updates of " +
                               db::DisplayIdentifier(plan.table.columns[column].name) +
                               ": the server refused one: " + *refused);
      }
      if (ok) accepted.push_back(column);
    }
    plan.updatable = accepted;
    const auto drop_unless_accepted = [&](int& column) {
      if (std::find(accepted.begin(), accepted.end(), static_cast<std::size_t>(column)) ==
          accepted.end()) {
        column = -1;
      }
    };
    drop_unless_accepted(plan.counter);
    drop_unless_accepted(plan.note);
    if (plan.can_upsert) {
      for (int i = 0; i < 2 && plan.can_upsert; ++i) {
        const auto refused = Attempt(Kind::kUpsert, p);
        if (refused && !refused->empty()) plan.can_upsert = false;
      }
    }
    if (!plan.movable.empty()) {
      const auto refused = AttemptAndUndo(Kind::kKeyUpdate, p);
      if (refused && !refused->empty()) plan.movable.clear();
    }
    if (!plan.can_delete) return;
    const auto refused = AttemptAndUndo(Kind::kDelete, p);
    if (refused && !refused->empty()) {
      plan.can_delete = false;
      plan.why_not.push_back("deletes: the server refused one: " + *refused);
    }
  }

  // For what takes a row away that later attempts need.
  std::optional<std::string> AttemptAndUndo(Kind kind, std::size_t p) {
    session().Execute("SAVEPOINT understudy_undo");
    auto refused = Attempt(kind, p);
    session().Execute("ROLLBACK TO SAVEPOINT understudy_undo");
    session().Execute("RELEASE SAVEPOINT understudy_undo");
    return refused;
  }

  Stage& stage_;
  Prober prober_;
  Random random_;
  std::vector<SideEffect> effects_;
  bool deferrable_ = false;
  std::set<std::string> has_triggers_;  // PostgreSQL; rules as well
  Counts counts_;
  bool counted_ = false;  // counts_ is of now
};

}  // namespace

void Probe(const std::shared_ptr<Stage>& stage, const ClientSetup& setup) {
  Trial(stage, setup).Run();
  std::erase_if(stage->hot, [&](const HotRow& row) {
    return stage->plans[row.plan]->counter < 0 || stage->plans[row.plan]->updatable.empty();
  });
}

}  // namespace understudy::harness
