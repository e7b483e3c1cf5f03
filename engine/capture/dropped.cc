#include "engine/capture/dropped.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/capture/sql.h"

namespace understudy::capture {
namespace {

using db::QuoteIdentifier;
using db::Row;

constexpr const char* kSettings = "SET LOCAL row_security = off";

// One after the other, each once.
void AddColumns(const std::vector<std::string>& columns, std::vector<std::string>& all) {
  for (const std::string& column : columns) {
    if (std::ranges::find(all, column) == all.end()) all.push_back(column);
  }
}

std::string Listed(const std::vector<std::string>& columns, const std::string& alias) {
  std::string list;
  for (const std::string& column : columns) {
    list += (list.empty() ? "" : ", ") + alias + QuoteIdentifier(column);
  }
  return list;
}

}  // namespace

struct DroppedRows::Link {
  Reference reference;
  ReferenceSql sql;
  std::int64_t followed = 0;  // rows of `to` that had been taken out when it was last gone along
};

struct DroppedRows::Side {
  const CapturedTable* table = nullptr;
  TableSql sql;
  std::vector<std::string> columns;  // of the mirror, that are kept of what was taken out
  std::string taken;                 // what was taken out; "" = nothing ever is
  std::string left;                  // what the mapping leaves out, by key; "" = nothing
  std::int64_t rows = 0;             // ever in `taken`
};

std::vector<bool> DroppedRows::Reaches(const std::vector<CapturedTable>& tables,
                                       const std::vector<Reference>& references,
                                       const std::vector<bool>& enforced) {
  std::set<Oid> mirrors;
  std::set<Oid> incomplete;
  for (const CapturedTable& table : tables) {
    mirrors.insert(table.mirror);
    if (!table.mapping.only.empty()) incomplete.insert(table.mirror);
  }
  std::vector<bool> reached(references.size(), false);
  for (bool more = true; more;) {
    more = false;
    for (std::size_t i = 0; i < references.size(); ++i) {
      const Reference& one = references[i];
      if (reached[i] || !mirrors.contains(one.from) || !mirrors.contains(one.to)) continue;
      if (enforced.at(i) && !incomplete.contains(one.to)) continue;
      reached[i] = more = true;
      incomplete.insert(one.from);
    }
  }
  return reached;
}

DroppedRows::DroppedRows(db::Session& session, std::vector<CapturedTable> tables,
                         const std::vector<Reference>& references)
    : session_(session), tables_(std::move(tables)) {
  for (const Reference& reference : references) {
    links_.push_back({reference, Describe(session_, reference), 0});
  }
  session_.Execute(kSettings);
  for (const CapturedTable& table : tables_) {
    Side side;
    side.table = &table;
    bool taken = false;
    AddColumns(table.mapping.mirror_key, side.columns);
    for (const Reference& reference : references) {
      if (reference.from == table.mirror) {
        AddColumns(reference.from_columns, side.columns);
        taken = true;
      }
      if (reference.to == table.mirror) AddColumns(reference.to_columns, side.columns);
    }
    if (!taken && table.mapping.only.empty()) continue;
    side.sql = TableSql::Read(session_, table);
    const auto make = [&](const char* what, const std::string& select) {
      const std::string name = QuoteIdentifier(what + std::to_string(table.mirror));
      session_.Execute("CREATE TEMPORARY TABLE " + name + " ON COMMIT DROP AS SELECT " + select +
                       " WITH NO DATA");
      return "pg_temp." + name;
    };
    if (taken) {
      side.taken =
          make("understudy_taken_", Listed(side.columns, "m.") + ", 0 AS understudy_by FROM " +
                                        side.sql.the_mirror + " AS m");
    }
    if (!table.mapping.only.empty()) {
      std::string keys;
      for (const KeyColumn& column : side.sql.key) {
        keys += (keys.empty() ? "" : ", ") + column.watched + " AS " + column.log;
      }
      side.left = make("understudy_left_", keys + " FROM " + side.sql.from_watched);
    }
    sides_.push_back(std::move(side));
  }
}

DroppedRows::~DroppedRows() = default;

DroppedRows::Side* DroppedRows::WithMirror(Oid mirror) {
  const auto it =
      std::ranges::find_if(sides_, [&](const Side& side) { return side.table->mirror == mirror; });
  return it == sides_.end() ? nullptr : &*it;
}

// Rows of the reference's table whose parent is not in the other mirror.
std::int64_t DroppedRows::Delete(std::size_t at, const std::string& also) {
  const Link& link = links_[at];
  Side& side = *WithMirror(link.reference.from);
  const std::int64_t rows =
      session_
          .Query("WITH gone AS (DELETE FROM " + link.sql.from_text + " AS f WHERE " +
                 link.sql.refers + " AND NOT EXISTS (SELECT 1 FROM " + link.sql.to_text +
                 " AS t WHERE " + link.sql.matches + ")" + also + " RETURNING " +
                 Listed(side.columns, "f.") + ") INSERT INTO " + side.taken + " SELECT *, " +
                 std::to_string(at) + " FROM gone")
          .affected;
  side.rows += rows;
  taken_[link.reference.from] += rows;
  return rows;
}

// What refers to what was taken out, until nothing does. It ends: a row is taken out once.
void DroppedRows::Follow() {
  for (bool more = true; more;) {
    more = false;
    for (std::size_t at = 0; at < links_.size(); ++at) {
      Link& link = links_[at];
      const Side* to = WithMirror(link.reference.to);
      if (to == nullptr || to->taken.empty() || to->rows == link.followed) continue;
      link.followed = to->rows;
      Delete(at,
             " AND EXISTS (SELECT 1 FROM " + to->taken + " AS t WHERE " + link.sql.matches + ")");
      more = true;
    }
  }
}

void DroppedRows::TakeOut() {
  for (const Side& side : sides_) {
    if (side.left.empty()) continue;
    std::string keys;
    for (const KeyColumn& column : side.sql.key) {
      keys += (keys.empty() ? "" : ", ") + column.watched;
    }
    session_.Execute("INSERT INTO " + side.left + " SELECT " + keys + " FROM " +
                     side.sql.from_watched + " WHERE (" + side.table->mapping.only +
                     ") IS NOT TRUE");
  }
  for (std::size_t at = 0; at < links_.size(); ++at) {
    // What hangs on keys that are pending is told by their replay.
    if (const auto left_out = LeftOut(session_, links_[at].reference, tables_)) {
      Delete(at, *left_out);
    }
  }
  Follow();
}

void DroppedRows::TakeOutDrained(const std::set<Oid>& drained, const std::vector<Hit>& hits) {
  const auto again = [] {
    throw Error(ErrorKind::kConflict,
                "rows that were left out may have found their parents a moment ago", "changed");
  };
  for (const Side& side : sides_) {
    if (!drained.contains(side.table->watched)) continue;
    const std::string& batch = side.sql.batch;
    // After a TRUNCATE nobody knows which keys: the next attempt does.
    if (session_.Scalar("SELECT count(*) > count(k1) FROM " + batch).AsBool()) again();
    // Each of them has been replayed, and is looked at as it is now.
    if (!side.taken.empty()) {
      session_.Execute("DELETE FROM " + side.taken + " AS m USING " + batch + " AS b WHERE " +
                       side.sql.MirrorIsKey("m", "b"));
    }
    if (side.left.empty()) continue;
    std::string same;
    for (std::size_t i = 0; i < side.sql.key.size(); ++i) {
      const std::string& column = side.sql.key[i].log;
      same += (i == 0 ? "l." : " AND l.") + column + " " + side.table->mapping.key_equals[i] +
              " b." + column;
    }
    session_.Execute("DELETE FROM " + side.left + " AS l USING " + batch + " AS b WHERE " + same +
                     "; INSERT INTO " + side.left + " SELECT " +
                     side.sql.KeyList("understudy_keys") + " FROM " + side.sql.from_watched +
                     " JOIN " + batch + " AS understudy_keys ON " +
                     side.sql.WatchedIsKey("understudy_keys") + " WHERE (" +
                     side.table->mapping.only + ") IS NOT TRUE");
  }
  for (const Hit& hit : hits) {
    const Reference& reference = links_.at(hit.reference).reference;
    const auto table = std::ranges::find(tables_, hit.watched, &CapturedTable::watched);
    const TableSql keys = TableSql::Read(session_, *table);
    const std::string batch = " AND EXISTS (SELECT 1 FROM " + keys.batch + " AS b WHERE ";
    if (reference.from == table->mirror) {
      Delete(hit.reference, batch + keys.MirrorIsKey("f", "b") + ")");
    }
    if (reference.to == table->mirror) {
      const std::string same = RefersToKey(reference, *table, keys, "b");
      Delete(hit.reference, same.empty() ? "" : batch + same + ")");
    }
  }
  Follow();
  for (std::size_t at = 0; at < links_.size(); ++at) {
    const Link& link = links_[at];
    const auto to = std::ranges::find(tables_, link.reference.to, &CapturedTable::mirror);
    const Side& from = *WithMirror(link.reference.from);
    if (!drained.contains(to->watched) || from.rows == 0) continue;
    const TableSql keys = TableSql::Read(session_, *to);
    if (session_
            .Scalar("SELECT EXISTS (SELECT 1 FROM " + keys.batch + " AS b JOIN " +
                    link.sql.to_text + " AS t ON " + keys.MirrorIsKey("t", "b") + " JOIN " +
                    from.taken + " AS f ON " + link.sql.matches +
                    " WHERE f.understudy_by = " + std::to_string(at) + ")")
            .AsBool()) {
      again();
    }
  }
}

Json DroppedRows::List(std::int64_t keys_at_most) const {
  Json all = Json::object();
  for (const Side& side : sides_) {
    std::string keys;
    const auto add = [&](const std::string& from, const std::vector<std::string>& columns) {
      if (from.empty()) return;
      std::string list;
      for (std::size_t i = 0; i < columns.size(); ++i) {
        list += (i == 0 ? "" : ", ") + columns[i] + "::text AS k" + std::to_string(i + 1);
      }
      keys += (keys.empty() ? "SELECT " : " UNION ALL SELECT ") + list + " FROM " + from;
    };
    std::vector<std::string> of_left;
    std::vector<std::string> of_taken;
    for (const KeyColumn& column : side.sql.key) {
      of_left.push_back(column.log);
      of_taken.push_back(column.mirror);
    }
    add(side.left, of_left);
    add(side.taken, of_taken);
    const std::int64_t rows =
        session_.Scalar("SELECT count(*) FROM (" + keys + ") AS k").AsInteger();
    if (rows == 0) continue;
    Json list = Json::array();
    for (const Row& row : session_
                              .Query("SELECT * FROM (" + keys + ") AS k ORDER BY length(k1), " +
                                     side.sql.KeyList() + " LIMIT " + std::to_string(keys_at_most))
                              .rows) {
      list.push_back(KeyJson(side.table->mapping, row, 0));
    }
    all[side.sql.watched.Display()] = {{"rows", rows}, {"keys", list}};
  }
  return all;
}

}  // namespace understudy::capture
