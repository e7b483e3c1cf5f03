#include "tests/property/table_swap_writers.h"

#include <algorithm>
#include <chrono>
#include <set>

#include "engine/base/error.h"

namespace understudy::property {
namespace {

// A table that was truncated is copied again before its cutover, which never comes to an end where
// somebody truncates it all the time: every pause is twice as long as the one before.
constexpr std::chrono::milliseconds kFirstBetweenTruncates{100};

std::string Setting(std::size_t table) { return "property.hits_" + std::to_string(table); }

Counts ReadCounts(db::Session& session, const SwapCase& swap) {
  Counts counts;
  for (std::size_t t = 0; t < swap.tables.size(); ++t) {
    if (!Preserved(swap, t)) continue;
    for (const db::Row& row :
         session.Query("SELECT tag, n, hits FROM " + QuotedName(swap, t) + " WHERE owner = -1")
             .rows) {
      counts.n[{t, static_cast<int>(row[0].AsInteger())}] = row[1].AsInteger();
      counts.hits[t] += row[2].AsInteger();
    }
  }
  return counts;
}

// What a database may answer to writers that get in each other's way.
bool Expected(const Error& error) {
  static const std::set<std::string> codes = {"40P01", "55P03", "23505", "23503",
                                              "23001", "40001", "55006"};
  return codes.contains(error.code());
}

}  // namespace

void Counts::Add(const Counts& other) {
  for (const auto& [key, count] : other.n) n[key] += count;
  for (const auto& [key, count] : other.hits) hits[key] += count;
}

Rows ReadRows(db::Session& session, const SwapCase& swap, int owner) {
  std::string sql;
  for (std::size_t t = 0; t < swap.tables.size(); ++t) {
    if (!Preserved(swap, t)) continue;
    sql += (sql.empty() ? "SELECT " : " UNION ALL SELECT ") + std::to_string(t) + ", " +
           StateOf(swap, t) + " FROM " + QuotedName(swap, t) +
           " WHERE owner = " + std::to_string(owner);
  }
  Rows rows;
  if (sql.empty()) return rows;
  for (const db::Row& row : session.Query(sql).rows) {
    rows[static_cast<std::size_t>(row[0].AsInteger())].push_back(row[1].text);
  }
  for (auto& [table, states] : rows) std::ranges::sort(states);
  return rows;
}

std::string Difference(const SwapCase& swap, const Rows& expected, const Rows& found) {
  std::string text;
  for (std::size_t t = 0; t < swap.tables.size(); ++t) {
    const auto left = expected.contains(t) ? expected.at(t) : std::vector<std::string>{};
    const auto right = found.contains(t) ? found.at(t) : std::vector<std::string>{};
    std::vector<std::string> missing;
    std::vector<std::string> extra;
    std::ranges::set_difference(left, right, std::back_inserter(missing));
    std::ranges::set_difference(right, left, std::back_inserter(extra));
    for (const std::string& row : missing) text += QuotedName(swap, t) + ": missing " + row + "\n";
    for (const std::string& row : extra) text += QuotedName(swap, t) + ": unexpected " + row + "\n";
  }
  return text;
}

Writers::Writers(db::Endpoint endpoint, const SwapCase& swap)
    : endpoint_(std::move(endpoint)), swap_(swap) {
  const auto connect = [&] {
    return db::Connect(endpoint_,
                       {.settings = db::Settings::kUsers, .application_name = "property writer"});
  };
  const auto reader = connect();
  fixed_ = ReadRows(*reader, swap_, -2);
  before_ = ReadCounts(*reader, swap_);
  for (std::size_t i = 0; i < swap_.histories.size() && i < kOwners; ++i) {
    auto writer = std::make_unique<Writer>();
    writer->owner = static_cast<int>(i);
    writer->between_truncates = kFirstBetweenTruncates;
    writer->session = connect();
    writer->session->Execute("SET deadlock_timeout = '20ms'; SET lock_timeout = '10s'");
    writers_.push_back(std::move(writer));
  }
  // Those that nobody writes for stay as they are.
  for (int owner = 0; owner < kOwners; ++owner) {
    const Rows rows = ReadRows(*reader, swap_, owner);
    if (static_cast<std::size_t>(owner) < writers_.size()) {
      writers_[static_cast<std::size_t>(owner)]->rows = rows;
    } else {
      for (const auto& [table, states] : rows) {
        fixed_[table].insert(fixed_[table].end(), states.begin(), states.end());
      }
    }
  }
  for (const auto& writer : writers_) {
    if (swap_.histories[static_cast<std::size_t>(writer->owner)].empty()) continue;
    writer->thread = std::thread([this, &writer = *writer] { Run(writer); });
  }
}

void Writers::Stop() {
  stop_ = true;
  for (const auto& writer : writers_) {
    if (writer->thread.joinable()) writer->thread.join();
  }
}

void Writers::WaitForARound() {
  std::vector<std::int64_t> rounds;
  for (const auto& writer : writers_) rounds.push_back(writer->rounds);
  for (int i = 0; i < 1000 && Wrong().empty(); ++i) {
    bool all = true;
    for (std::size_t w = 0; w < writers_.size(); ++w) {
      all = all && (!writers_[w]->thread.joinable() || writers_[w]->rounds >= rounds[w] + 2);
    }
    if (all) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

std::string Writers::Wrong() {
  const std::lock_guard lock(mutex_);
  return wrong_;
}

void Writers::Fail(const std::string& what) {
  const std::lock_guard lock(mutex_);
  if (wrong_.empty()) wrong_ = what;
  stop_ = true;
}

void Writers::Run(Writer& writer) {
  std::size_t next = 0;
  try {
    while (!stop_) {
      Transact(writer, next);
      ++writer.rounds;
      std::this_thread::sleep_for(std::chrono::microseconds(300));
    }
  } catch (const std::exception& error) {
    Fail("writer " + std::to_string(writer.owner) + ": " + error.what());
  }
}

void Writers::Transact(Writer& writer, std::size_t& next) {
  const std::vector<Op>& history = swap_.histories[static_cast<std::size_t>(writer.owner)];
  db::Session& session = *writer.session;
  Counts counted;
  std::int64_t writes = 0;
  std::string sql;
  try {
    session.Begin(db::Isolation::kReadCommitted);
    const Rows found = ReadRows(session, swap_, writer.owner);
    if (const std::string wrong = Difference(swap_, writer.rows, found); !wrong.empty()) {
      Fail("writer " + std::to_string(writer.owner) +
           " does not find what was acknowledged to it:\n" + wrong);
      session.Rollback();
      return;
    }
    int end = 0;
    while (end == 0) {
      const Op& op = history[next];
      next = (next + 1) % history.size();
      end = next == 0 && op.end == 0 ? 1 : op.end;
      const int counted_tag = CountedTag(swap_, op);
      for (const std::string& statement : SqlOf(swap_, op, writer.owner)) {
        if (statement.starts_with("TRUNCATE")) {
          const auto now = std::chrono::steady_clock::now();
          if (now < writer.may_truncate) continue;
          writer.may_truncate = now + writer.between_truncates;
          writer.between_truncates *= 2;
          ++writes;
        }
        sql = statement;
        const std::int64_t affected = session.Query(statement).affected;
        if (affected > 0) ++writes;
        if (counted_tag >= 0) {
          counted.n[{static_cast<std::size_t>(op.table) % swap_.tables.size(), counted_tag}] +=
              affected;
        }
      }
    }
    if (end == 2) {
      session.Rollback();
      ++rolled_back_;
      return;
    }
    sql = "what was written is read";
    const Rows written = ReadRows(session, swap_, writer.owner);
    for (std::size_t t = 0; t < swap_.tables.size(); ++t) {
      const std::string hits =
          session.Scalar("SELECT current_setting('" + Setting(t) + "', true)").TextOr("");
      if (!hits.empty()) counted.hits[t] += std::stoll(hits);
    }
    sql = "COMMIT";
    session.Commit();
    writer.rows = written;
    acknowledged_ += writes;
    const std::lock_guard lock(mutex_);
    counted_.Add(counted);
  } catch (const Error& error) {
    session.Rollback();
    ++rolled_back_;
    // A drawn key that is there already: a sequence has been set back.
    const bool drawn_twice = error.code() == "23505" && sql.starts_with("INSERT") &&
                             error.message().find("_pkey") != std::string::npos &&
                             sql.find("ON CONFLICT (owner, tag)") != std::string::npos &&
                             sql.find("(owner, tag, v") != std::string::npos;
    if (!Expected(error) || drawn_twice) {
      Fail("writer " + std::to_string(writer.owner) + " was refused: " + error.what() + " [" +
           error.code() + "]\n" + sql);
    }
  }
}

std::string Writers::WrongRows() {
  const auto session =
      db::Connect(endpoint_, {.settings = db::Settings::kUsers, .application_name = "property"});
  std::string wrong;
  Rows expected = fixed_;
  for (const auto& writer : writers_) {
    for (const auto& [table, states] : writer->rows) {
      expected[table].insert(expected[table].end(), states.begin(), states.end());
    }
  }
  Rows found;
  for (int owner = -3; owner < 20; ++owner) {
    if (owner == -1) continue;
    for (const auto& [table, states] : ReadRows(*session, swap_, owner)) {
      found[table].insert(found[table].end(), states.begin(), states.end());
    }
  }
  for (Rows* rows : {&expected, &found}) {
    for (auto& [table, states] : *rows) std::ranges::sort(states);
  }
  wrong += Difference(swap_, expected, found);
  Counts counts = before_;
  counts.Add(counted_);
  const Counts now = ReadCounts(*session, swap_);
  for (const auto& [key, count] : counts.n) {
    const auto it = now.n.find(key);
    const std::int64_t there = it == now.n.end() ? -1 : it->second;
    if (there == count) continue;
    wrong += QuotedName(swap_, key.first) + " tag " + std::to_string(key.second) +
             ": the counter says " + std::to_string(there) + ", " + std::to_string(count) +
             " were acknowledged\n";
  }
  for (const auto& [table, count] : counts.hits) {
    const std::int64_t there = now.hits.contains(table) ? now.hits.at(table) : -1;
    if (there == count) continue;
    wrong += QuotedName(swap_, table) + ": a trigger has counted " + std::to_string(there) +
             ", acknowledged were " + std::to_string(count) + "\n";
  }
  return wrong;
}

}  // namespace understudy::property
