#include "harness/actors/writer.h"

#include <algorithm>
#include <thread>

#include "engine/base/error.h"
#include "engine/base/sabotage.h"
#include "harness/actors/reader.h"

namespace understudy::harness {
namespace {

constexpr std::size_t kMostRows = 5000;  // of one table that a client goes on changing
constexpr int kRetries = 6;
constexpr double kRetryMs = 4;
constexpr double kAfterRefusalMs = 2;  // a client that is always refused does not spin
constexpr double kBackendGoneMs = 10000;

constexpr std::string_view kNames[] = {"insert",      "update",   "delete",     "upsert",
                                       "transaction", "rollback", "key_update", "hot"};

// The name that a ledger line has: a hot update is an update.
std::string OperationName(Kind kind) {
  return std::string(KindName(kind == Kind::kHot ? Kind::kUpdate : kind));
}

}  // namespace

std::string_view KindName(Kind kind) { return kNames[static_cast<std::size_t>(kind)]; }

WriterOptions ReadWriterOptions(const Json& options) {
  WriterOptions read;
  if (const auto it = options.find("operations"); it != options.end() && it->is_object()) {
    read.weights.fill(0);
    for (std::size_t k = 0; k < kKinds; ++k) {
      read.weights[k] = it->value(std::string(kNames[k]), 0.0);
    }
  }
  read.hot_share = options.value("hot_share", read.hot_share);
  read.follow = options.value("catalog", "fixed") == "follow";
  return read;
}

KnownRow& KnownRows::Add(db::Row kept, bool inserted, Random& random) {
  if (rows_.size() >= kMostRows) {
    KnownRow& victim = at(
        static_cast<std::size_t>(random.Uniform(0, static_cast<std::int64_t>(rows_.size()) - 1)));
    if (!victim.busy) Remove(victim);
  }
  rows_.push_back(std::make_unique<KnownRow>());
  KnownRow& row = *rows_.back();
  row.kept = std::move(kept);
  row.inserted = inserted;
  row.position = rows_.size() - 1;
  return row;
}

void KnownRows::Remove(KnownRow& row) {
  const std::size_t position = row.position;
  if (position + 1 != rows_.size()) {
    std::swap(rows_[position], rows_.back());
    rows_[position]->position = position;
  }
  rows_.pop_back();
}

Writer::Writer(ClientSetup setup, WriterOptions options, std::shared_ptr<const Stage> stage,
               std::size_t own, Refresh refresh)
    : Client(std::move(setup)),
      options_(std::move(options)),
      stage_(std::move(stage)),
      refresh_(std::move(refresh)),
      own_(stage_->plans.size()) {
  Random unused(1);
  for (std::size_t p = 0; p < own_.size(); ++p) {
    for (const db::Row& row : stage_->owned[p][own]) own_[p].Add(row, false, unused);
  }
}

Kind Writer::Draw(Random& random) const {
  if (!stage_->hot.empty() && random.Chance(options_.hot_share)) return Kind::kHot;
  double sum = 0;
  for (const double weight : options_.weights) sum += weight;
  double at = random.Real() * sum;
  for (std::size_t k = 0; k < kKinds; ++k) {
    at -= options_.weights[k];
    if (at < 0) return static_cast<Kind>(k);
  }
  return Kind::kInsert;
}

void Writer::Operate(Random& random) {
  const Kind kind = Draw(random);
  const bool transaction = kind == Kind::kTransaction || kind == Kind::kRollback;
  for (int attempt = 0; attempt < kRetries && !Stopping(); ++attempt) {
    Random same = random.Fork("attempt");
    Result result = Group(kind, same, transaction, kind == Kind::kRollback);
    if (result == Result::kNothing && options_.weights[0] > 0 && kind != Kind::kInsert) {
      result = Group(Kind::kInsert, same, false, false);  // there is no such row yet
    }
    if (result == Result::kNothing) Sleep(kAfterRefusalMs);
    if (result != Result::kConflict) return;
    Sleep(kRetryMs * (1 << attempt));
  }
}

void Writer::Pend(Step& step, std::int64_t txn) {
  Ledger::Write write;
  write.client = name();
  write.database = stage_->database;
  write.operation = OperationName(step.kind);
  write.table = step.plan->display;
  write.txn = txn;
  write.key = step.key;
  write.row = step.sent;
  write.key_after = step.key_after;
  write.hot = step.hot != nullptr;
  step.ledger_id = ledger().Pending(write);
}

// The row after it in `returned`.
void Writer::Send(Step& step) {
  db::Result result = Query(step.sql, step.params);
  if (step.kind == Kind::kDelete ? result.affected == 0 : result.rows.empty()) {
    throw Error(
        ErrorKind::kConstraint,
        step.kind == Kind::kInsert || step.kind == Kind::kUpsert
            ? "the statement succeeded and no row came back: something suppressed it"
            : "the statement succeeded and changed no row: none has the key " + ToLine(step.key),
        "02000");
  }
  if (step.kind == Kind::kDelete) return;
  if (step.plan->reread) {
    db::Params params;
    const std::string sql = "SELECT " + step.plan->Returning() + " FROM " + step.plan->quoted +
                            Where(*step.plan, step.plan->Keep(result.rows[0]), params);
    db::Result again = Query(sql, params);
    if (!again.rows.empty()) result = std::move(again);
  }
  step.returned = std::move(result.rows[0]);
}

void Writer::Apply(Step& step, Random& random) {
  const TablePlan& plan = *step.plan;
  KnownRows& rows = own_[step.plan_index];
  if (step.row != nullptr) step.row->busy = false;
  ++acknowledged_;
  if (step.kind == Kind::kDelete) {
    ledger().Settle(step.ledger_id, "acknowledged");
    rows.Remove(*step.row);
    return;
  }
  Json counter = nullptr;
  if (step.hot != nullptr) {
    const SchemaColumn& column = plan.table.columns[static_cast<std::size_t>(plan.counter)];
    const auto at = std::find(plan.returned.begin(), plan.returned.end(),
                              static_cast<std::size_t>(plan.counter)) -
                    plan.returned.begin();
    const db::Value& value = (*step.returned)[static_cast<std::size_t>(at)];
    counter = {{"column", column.name}, {"value", value.ToJson()}};
    if (column.base_type == "int2" && value.AsInteger() > INT16_MAX - 1000) {
      full_counters_.push_back(step.hot - stage_->hot.data());
    }
  }
  db::Row kept = plan.Keep(*step.returned);
  ledger().Settle(step.ledger_id, "acknowledged", plan.RowJson(*step.returned), "", "", counter,
                  plan.server_makes_key && step.key.is_null() ? plan.KeyJson(kept) : nullptr);
  if (step.hot != nullptr) return;
  if (step.kind == Kind::kInsert && SabotagedOnce("writer-forgets-acknowledged", 3)) {
    db::Params params;
    const std::string where = Where(plan, kept, params);
    session().Query("DELETE FROM " + plan.quoted + where, params);
    return;
  }
  if (step.row != nullptr) {
    step.row->kept = std::move(kept);
  } else {
    rows.Add(std::move(kept), true, random);
  }
}

Writer::Result Writer::Group(Kind kind, Random& random, bool transaction, bool roll_back) {
  std::vector<Step> steps;
  steps.reserve(8);
  const bool sqlite = stage_->engine == db::Engine::kSqlite;
  std::unique_lock<std::mutex> turn;
  if (sqlite) turn = std::unique_lock(ledger().TurnOf(stage_->database));
  std::size_t statements = 1;
  if (transaction) statements = static_cast<std::size_t>(random.Uniform(2, 4));
  bool begun = false;
  bool committing = false;
  double started = 0;
  try {
    const std::int64_t txn = ledger().NextTransaction();
    for (std::size_t i = 0; i < statements; ++i) {
      Random own = random.Fork("statement" + std::to_string(i));
      Kind what = kind;
      if (transaction) {
        const std::int64_t draw = own.Uniform(0, 9);
        what = draw < 4   ? Kind::kInsert
               : draw < 8 ? Kind::kUpdate
               : draw < 9 ? Kind::kDelete
                          : Kind::kUpsert;
        // A scenario without deletes has none inside its transactions either.
        const bool wanted = options_.weights[static_cast<std::size_t>(what)] > 0;
        if (!wanted && (what == Kind::kDelete || what == Kind::kUpsert)) what = Kind::kUpdate;
      }
      Step step;
      if (!PrepareAny(what, own, step) && !(transaction && PrepareAny(Kind::kInsert, own, step))) {
        continue;
      }
      steps.push_back(std::move(step));
      Step& last = steps.back();
      Pend(last, txn);
      if (!begun) {
        started = NowMs();
        if (transaction || last.plan->reread) {
          begun = true;
          session().Begin(db::Isolation::kDefault, false, sqlite);
        }
      }
      Send(last);
    }
    if (steps.empty()) return Result::kNothing;
    if (roll_back) {
      session().Execute("ROLLBACK");
    } else if (begun) {
      committing = true;
      session().Commit();
    }
  } catch (const Error& error) {
    if (steps.empty()) {
      if (IsLost(error)) {
        Lose();
        return Result::kNothing;
      }
      throw;
    }
    Fail(error, kind, steps, steps.size() - 1, begun, committing, started);
    if (turn) turn.unlock();
    if (!IsLost(error) && options_.follow && CatalogChanged(error)) {
      FollowCatalog();
    } else if (!IsLost(error) && error.kind() != ErrorKind::kConflict) {
      Sleep(kAfterRefusalMs);
    }
    return error.kind() == ErrorKind::kConflict ? Result::kConflict : Result::kDone;
  }
  const std::string sql = steps.front().sql;
  for (Step& step : steps) {
    if (roll_back) {
      if (step.row != nullptr) step.row->busy = false;
      ledger().Settle(step.ledger_id,
                      Sabotaged("ledger-acknowledges-rollback") ? "acknowledged" : "rolled_back",
                      step.returned ? step.plan->RowJson(*step.returned) : nullptr, "", "", nullptr,
                      !sqlite && step.key.is_null() && step.returned
                          ? step.plan->KeyJson(step.plan->Keep(*step.returned))
                          : nullptr);
    } else {
      Apply(step, random);
    }
  }
  Did(std::string(KindName(kind)), sql, started, roll_back ? "rolled_back" : "ok");
  return Result::kDone;
}

// A refusal by a constraint of the start that our values were meant to satisfy is our own doing: a
// key that a sequence makes is not, there the migration may have left the sequence behind.
bool Writer::OwnDoing(const Error& error, const std::vector<Step>& steps) const {
  if (stage_->engine == db::Engine::kSqlite) return OwnDoingOnSqlite(error, steps);
  if (error.code() != "23505" && error.code() != "23514" && error.code() != "23P01") return false;
  if (error.code() == "23505" && steps.back().plan->server_makes_key) {
    const auto& keys = steps.back().plan->table.keys;
    if (!keys.empty() && error.message().find('"' + keys.front().name + '"') != std::string::npos) {
      return false;
    }
  }
  return std::any_of(steps.begin(), steps.end(), [&](const Step& step) {
    const auto& known = step.plan->known_constraints;
    return std::any_of(known.begin(), known.end(), [&](const std::string& its) {
      return error.message().find('"' + its + '"') != std::string::npos;
    });
  });
}

// SQLite names no constraint: "UNIQUE constraint failed: order_items.order_id, order_items.line".
bool Writer::OwnDoingOnSqlite(const Error& error, const std::vector<Step>& steps) {
  return std::any_of(steps.begin(), steps.end(), [&](const Step& step) {
    const SchemaTable& table = step.plan->table;
    return std::any_of(table.keys.begin(), table.keys.end(), [&](const SchemaKey& key) {
      if (key.primary && step.plan->server_makes_key) return false;
      std::string columns;
      for (const std::string& column : key.columns) {
        columns += (columns.empty() ? "" : ", ") + table.name.name + "." + column;
      }
      return error.message().ends_with("UNIQUE constraint failed: " + columns);
    });
  });
}

void Writer::Fail(const Error& error, Kind kind, std::vector<Step>& steps, std::size_t failed,
                  bool transaction, bool committing, double started_ms) {
  const bool lost = IsLost(error);
  // Before its COMMIT was sent, a transaction that lost its connection has not happened.
  const bool in_doubt = error.kind() == ErrorKind::kInternal ||
                        error.kind() == ErrorKind::kAmbiguous || (lost && !transaction) ||
                        (lost && committing);
  if (!lost) session().Rollback();
  for (std::size_t i = 0; i < steps.size(); ++i) {
    Step& step = steps[i];
    if (in_doubt) {
      ledger().Settle(step.ledger_id, "unknown", nullptr, error.code(), error.message());
      doubts_.push_back(std::move(step));
      continue;
    }
    if (step.row != nullptr) step.row->busy = false;
    const bool its = i == failed || committing;
    ledger().Settle(step.ledger_id, its && !lost ? "refused" : "rolled_back", nullptr,
                    its ? error.code() : "", its ? error.message() : "");
    // A row that is gone without our doing is not asked for again and again.
    if (its && error.code() == "02000" && step.row != nullptr) {
      own_[step.plan_index].Remove(*step.row);
    }
  }
  const std::string& sql = committing ? "COMMIT" : doubts_.empty() ? steps[failed].sql : "";
  const bool expected = !lost && (OwnDoing(error, in_doubt ? doubts_ : steps) ||
                                  (Stopping() && error.kind() == ErrorKind::kCancelled));
  Did(std::string(KindName(kind)), sql, started_ms, lost ? "unknown" : "refused", &error, expected);
  if (lost) Lose();
  if (error.kind() == ErrorKind::kInternal) throw error;
}

void Writer::Reconnected() {
  if (doubts_.empty()) return;
  // The lost backend may still be busy with the commit: nothing is known before it has gone.
  bool gone = stage_->engine == db::Engine::kSqlite;
  for (const double until = NowMs() + kBackendGoneMs; !gone && NowMs() < until;) {
    gone = session()
               .Scalar("SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE pid = $1",
                       {db::Value::Integer(lost_pid())})
               .AsInteger() == 0;
    if (!gone) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  while (!doubts_.empty()) {
    Step& step = doubts_.back();
    if (gone) {
      Relearn(step);
    } else if (step.row != nullptr) {
      own_[step.plan_index].Remove(*step.row);
    }
    doubts_.pop_back();
  }
}

// The values that were sent, in the text form that the server gives them.
Json Writer::Canonical(const Step& step) {
  if (stage_->engine == db::Engine::kSqlite || step.values.empty()) return step.sent;
  const auto& columns = step.plan->table.columns;
  db::Params params;
  std::string list;
  for (const auto& [column, value] : step.values) {
    params.push_back(value);
    list += (list.empty() ? "" : ", ") +
            ("CAST(" + stage_->Mark(params.size()) + " AS " + columns[column].type + ")");
  }
  const db::Row row = session().Query("SELECT " + list, params).rows.at(0);
  Json sent = Json::object();
  for (std::size_t i = 0; i < row.size(); ++i) {
    sent[columns[step.values[i].first].name] = row[i].ToJson();
  }
  return sent;
}

// What became of a write in doubt is read, never assumed. Its line stays unknown; its row becomes
// what was sent, or the whole row where all of that is found: triggers and generated columns have
// their part in it.
void Writer::Relearn(Step& step) {
  const TablePlan& plan = *step.plan;
  KnownRows& rows = own_[step.plan_index];
  try {
    const auto find = [&](const db::Row& key) -> std::optional<db::Row> {
      db::Params params;
      const std::string where = Where(plan, key, params);
      db::Result result =
          session().Query("SELECT " + plan.Returning() + " FROM " + plan.quoted + where, params);
      if (result.rows.empty()) return std::nullopt;
      return std::move(result.rows[0]);
    };
    std::optional<db::Row> now;
    if (step.hot != nullptr) return;
    if (step.row != nullptr) now = find(step.row->kept);
    if (!now && step.key_row_after) now = find(*step.key_row_after);
    if (!now && step.row == nullptr && step.key_row) now = find(*step.key_row);
    if (step.kind != Kind::kDelete) {
      Json told = Canonical(step);
      if (now) {
        const Json row = plan.RowJson(*now);
        const bool there = std::all_of(step.values.begin(), step.values.end(), [&](const auto& v) {
          const std::string& name = plan.table.columns[v.first].name;
          return !row.contains(name) || row[name] == told[name];
        });
        const bool moved =
            step.key_after.is_null() || plan.KeyJson(plan.Keep(*now)) == step.key_after;
        if (there && moved) told = row;
      }
      ledger().Settle(step.ledger_id, "unknown", told, "08006", "the connection was lost");
    }
    if (step.row != nullptr && now) {
      step.row->kept = plan.Keep(*now);
      step.row->busy = false;
    } else if (step.row != nullptr) {
      rows.Remove(*step.row);
    } else if (now) {
      Random unused(1);
      rows.Add(plan.Keep(*now), true, unused);
    }
  } catch (const Error& error) {
    if (IsLost(error)) throw;
    if (step.row != nullptr) rows.Remove(*step.row);  // it cannot be read any more
  }
}

void Writer::FollowCatalog() {
  if (!refresh_) return;
  try {
    const std::shared_ptr<const Stage> before = stage_;
    stage_ = refresh_(before);
    std::vector<KnownRows> own(stage_->plans.size());
    for (std::size_t p = 0; p < before->plans.size(); ++p) {
      const TablePlan& old = *before->plans[p];
      const int now = stage_->Find(old.table.name);
      if (now < 0) continue;
      const TablePlan& plan = *stage_->plans[static_cast<std::size_t>(now)];
      bool same = old.kept.size() == plan.kept.size() && old.key.size() == plan.key.size();
      for (std::size_t i = 0; same && i < old.kept.size(); ++i) {
        same = old.table.columns[old.kept[i]].name == plan.table.columns[plan.kept[i]].name;
      }
      if (same) own[static_cast<std::size_t>(now)] = std::move(own_[p]);
    }
    own_ = std::move(own);
    doubts_.clear();
    full_counters_.clear();
    Lose();  // a new session has no old plans
  } catch (const Error& error) {
    if (!IsLost(error)) throw;
    Lose();
  }
}

std::optional<Step> Writer::Try(Kind kind, std::size_t plan, Random& random, int only_column,
                                bool short_insert) {
  only_column_ = only_column;
  short_insert_ = short_insert ? 1 : 0;
  Step step;
  if (!Prepare(kind, plan, random, step)) return std::nullopt;
  if (step.row != nullptr) step.row->busy = false;
  Send(step);
  if (kind == Kind::kInsert) {
    step.row = &own_[plan].Add(step.plan->Keep(*step.returned), true, random);
  }
  return step;
}

}  // namespace understudy::harness
