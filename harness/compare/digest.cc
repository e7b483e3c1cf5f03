#include "harness/compare/digest.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <set>
#include <thread>

#include "engine/base/digest.h"
#include "engine/base/error.h"
#include "harness/compare/side.h"
#include "harness/compare/table_sql.h"

namespace understudy::harness {
namespace {

// A number that stands for a list of columns: 1 and '1' have one text, but no one digest.
std::int64_t SeedOf(const std::string& text) {
  return std::stoll(Sha256Hex(text).substr(0, 15), nullptr, 16);
}

// The number modulo 2^64 in hex; PostgreSQL's sums of bigint are as long as they need to be.
std::string Wrapped(const db::Value& sum) {
  std::uint64_t number = 0;
  const std::string text = sum.TextOr("0");
  for (const char c : text) {
    if (c != '-') number = number * 10 + static_cast<std::uint64_t>(c - '0');
  }
  if (text[0] == '-') number = ~number + 1;
  return fmt::format("{:016x}", number);
}

// The table beside itself, its columns by name: their order in the table must not matter.
TablePair WithItself(const CompareTable& table) {
  TablePair pair;
  pair.left = pair.right = &table;
  for (const CompareColumn& column : table.columns) pair.columns.push_back({&column, &column});
  std::sort(pair.columns.begin(), pair.columns.end(),
            [](const ColumnPair& a, const ColumnPair& b) { return a.left->name < b.left->name; });
  if (!table.keys.empty()) {
    for (const std::string& name : table.keys[0]) {
      const CompareColumn* column = table.Find(name);
      pair.key.push_back({column, column});
    }
  }
  return pair;
}

TableDigest DigestOne(Side& side, db::Session& session, const CompareTable& table) {
  const TablePair pair = WithItself(table);
  HashForm form;
  form.engine = side.engine();
  const TableSql sql(pair, true, form, side);
  const std::string sum = form.engine == db::Engine::kSqlite ? "understudy_sum(" : "sum(";
  std::string signature;
  for (const ColumnPair& column : pair.columns) {
    signature += column.left->name + '\0' + column.left->category + '\n';
  }
  const std::int64_t seed = SeedOf(signature);
  std::string query =
      "SELECT count(*), " + sum + sql.RowHash(seed) + "), " + sum + sql.RowHash(seed + 1) + ")";
  for (std::size_t i = 0; i < pair.columns.size(); ++i) {
    query += ", " + sum + sql.ColumnHash(i, SeedOf(pair.columns[i].left->category)) + ")";
  }
  const db::Row row = session.Query(query + sql.From()).rows.at(0);
  TableDigest digest;
  digest.table = table.name.Display();
  digest.rows = row[0].AsInteger();
  digest.digest = Wrapped(row[1]) + Wrapped(row[2]);
  for (std::size_t i = 0; i < pair.columns.size(); ++i) {
    digest.columns[pair.columns[i].left->name] = Wrapped(row[3 + i]);
  }
  return digest;
}

bool Matches(const std::vector<std::string>& globs, const std::string& name) {
  return std::any_of(globs.begin(), globs.end(),
                     [&](const std::string& glob) { return db::MatchesGlob(name, glob); });
}

void CompareTablesByDigest(const TableDigest& left, const TableDigest& right,
                           const CompareOptions& options, TableComparison& table,
                           Json& not_checked) {
  bool same_columns = true;
  std::string alone;
  std::string differing;
  const auto ignored = [&](const std::string& column) {
    const std::string name = table.table + "." + db::DisplayIdentifier(column);
    if (!Matches(options.ignore, name)) return false;
    not_checked.push_back({{"what", "column:" + name}, {"why", "ignored, as asked"}});
    return true;
  };
  const auto one_sided = [&](const std::string& column, const char* side) {
    same_columns = false;
    if (ignored(column)) return;
    if (options.common_columns) {
      not_checked.push_back(
          {{"what", "column:" + table.table + "." + db::DisplayIdentifier(column)},
           {"why", std::string("only on the ") + side}});
      return;
    }
    alone += (alone.empty() ? "column " : "; column ") + db::DisplayIdentifier(column) +
             " is only on the " + side;
  };
  std::set<std::string> taken;
  for (const auto& [column, digest] : left.columns) {
    std::string to = column;
    const std::string prefix = table.table + ".";
    const auto mapped = options.map.find(prefix + db::DisplayIdentifier(column));
    if (mapped != options.map.end()) to = db::ParseDottedName(mapped->second).back();
    const auto other = right.columns.find(to);
    if (other == right.columns.end()) {
      one_sided(column, "left");
      continue;
    }
    taken.insert(to);
    same_columns = same_columns && to == column;
    if (ignored(column)) {
      same_columns = false;
      continue;
    }
    table.compared.push_back(column);
    if (digest != other->second) {
      differing += (differing.empty() ? "" : ", ") + db::DisplayIdentifier(column);
      table.columns[column] = -1;  // how many rows is not known
    }
  }
  for (const auto& [column, digest] : right.columns) {
    if (!taken.contains(column)) one_sided(column, "right");
  }
  const bool same = left.rows == right.rows && differing.empty() && alone.empty() &&
                    (!same_columns || left.digest == right.digest);
  table.result = same ? CompareResult::kEqual : CompareResult::kDifferent;
  if (same) return;
  table.missing = table.extra = table.changed = -1;
  table.why = alone;
  if (!differing.empty()) {
    table.why += (alone.empty() ? "" : "; ") + ("the digests of " + differing + " differ");
  } else if (same_columns && left.digest != right.digest) {
    table.why = "the digests of whole rows differ";
  }
  table.why += "; stored digests cannot name rows";
}

}  // namespace

void DigestTables(const db::Endpoint& endpoint, int jobs, Snapshot& snapshot) {
  Side side(endpoint, std::clamp(jobs, 1, 16));
  side.ReadTables();
  const std::vector<CompareTable>& tables = side.tables().tables;
  std::vector<std::optional<TableDigest>> digests(tables.size());
  std::vector<std::string> failures(tables.size());
  std::atomic<std::size_t> next = 0;
  const auto work = [&](int lane) {
    db::Session& session = side.session(lane);
    for (std::size_t i = next++; i < tables.size(); i = next++) {
      try {
        session.Execute("SAVEPOINT understudy_table");
        digests[i] = DigestOne(side, session, tables[i]);
        session.Execute("RELEASE SAVEPOINT understudy_table");
      } catch (const std::exception& error) {
        failures[i] = error.what();
        try {
          session.Execute("ROLLBACK TO SAVEPOINT understudy_table");
        } catch (const std::exception&) {  // the next table will say that the connection is gone
        }
      }
    }
  };
  {
    std::vector<std::jthread> workers;
    for (int lane = 1; lane < side.sessions(); ++lane) workers.emplace_back(work, lane);
    work(0);
  }
  for (const NotChecked& note : side.tables().not_checked) snapshot.not_checked.push_back(note);
  for (std::size_t i = 0; i < tables.size(); ++i) {
    if (digests[i]) {
      snapshot.tables.push_back(std::move(*digests[i]));
    } else {
      snapshot.not_checked.push_back({"rows:" + tables[i].name.Display(), failures[i]});
    }
  }
}

Comparison CompareDigests(const Snapshot& left, const Snapshot& right,
                          const CompareOptions& options) {
  Comparison comparison;
  const auto note = [&](const std::string& what, const std::string& why) {
    comparison.not_checked.push_back({{"what", what}, {"why", why}});
  };
  std::map<std::string, std::string> failed;
  for (const Snapshot* side : {&left, &right}) {
    for (const NotChecked& one : side->not_checked) {
      note(one.what, one.why);
      if (one.what.starts_with("rows:")) failed[one.what.substr(5)] = one.why;
    }
  }
  std::map<std::string, std::pair<const TableDigest*, const TableDigest*>> pairs;
  for (const TableDigest& table : left.tables) pairs[table.table].first = &table;
  for (const TableDigest& table : right.tables) {
    std::string name = table.table;
    for (const auto& [from, to] : options.map) {
      if (to == name) name = from;
    }
    pairs[name].second = &table;
  }
  bool unknown = false;
  bool different = false;
  for (const auto& [name, pair] : pairs) {
    if ((!options.tables.empty() && !Matches(options.tables, name)) ||
        Matches(options.exclude, name)) {
      continue;
    }
    if (Matches(options.ignore, name)) {
      note("rows:" + name, "ignored, as asked");
      continue;
    }
    TableComparison& table = comparison.tables.emplace_back();
    table.table = name;
    const auto [a, b] = pair;
    if (a != nullptr) table.left_rows = a->rows;
    if (b != nullptr) table.right_rows = b->rows;
    if (const auto it = failed.find(name); it != failed.end()) {
      table.why = it->second;
    } else if (a == nullptr || b == nullptr) {
      table.result = a != nullptr ? CompareResult::kOnlyLeft : CompareResult::kOnlyRight;
    } else if (left.engine != right.engine) {
      table.why = "the digests of two engines cannot be compared: compare the databases themselves";
    } else {
      CompareTablesByDigest(*a, *b, options, table, comparison.not_checked);
    }
    if (table.result == CompareResult::kUnknown) {
      unknown = true;
    } else {
      comparison.rows_compared += std::max(table.left_rows, table.right_rows);
      different = different || table.result != CompareResult::kEqual;
    }
  }
  comparison.result = different                              ? CompareResult::kDifferent
                      : unknown || comparison.tables.empty() ? CompareResult::kUnknown
                                                             : CompareResult::kEqual;
  return comparison;
}

}  // namespace understudy::harness
