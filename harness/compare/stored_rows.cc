#include "harness/compare/stored_rows.h"

#include <algorithm>

#include "engine/base/digest.h"
#include "engine/base/error.h"
#include "harness/compare/digest.h"
#include "harness/compare/pairing.h"
#include "harness/compare/side.h"
#include "harness/compare/table_sql.h"

namespace understudy::harness {
namespace {

constexpr std::size_t kHashBytes = 8;

// hashes: kHashBytes for each column, in the order of the table's JSON. key: of a table with a key,
// a JSON list of its values; else a number.
constexpr const char* kSchema = R"sql(
PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
CREATE TABLE about(engine TEXT);
CREATE TABLE tables(number INTEGER PRIMARY KEY, name TEXT, content TEXT, rows INTEGER,
                    digest TEXT, why TEXT);
CREATE TABLE rows(number INTEGER, key TEXT, hashes BLOB, PRIMARY KEY(number, key)) WITHOUT ROWID;
)sql";

// Thrown out of a stream of rows that turned out to be too long.
struct TooMany {};

Json ToJson(const CompareTable& table) {
  Json columns = Json::array();
  for (const CompareColumn& column : table.columns) {
    columns.push_back({{"name", column.name},
                       {"type", column.type},
                       {"base", column.base},
                       {"category", column.category}});
  }
  return {{"schema", table.name.schema},
          {"name", table.name.name},
          {"columns", columns},
          {"keys", table.keys}};
}

CompareTable TableFromJson(const Json& json) {
  CompareTable table;
  table.name = {json.at("schema"), json.at("name")};
  for (const Json& one : json.at("columns")) {
    CompareColumn& column = table.columns.emplace_back();
    column.name = one.at("name");
    column.type = one.at("type");
    column.base = one.at("base");
    column.category = one.at("category");
  }
  table.keys = json.at("keys").get<std::vector<std::vector<std::string>>>();
  return table;
}

// Values of two categories are never the same, as in CompareRows.
std::int64_t SeedOf(const std::string& category) {
  return std::stoll(Sha256Hex("value " + category).substr(0, 15), nullptr, 16);
}

// NULL is eight zeros, whatever the column's type.
void AppendHash(const db::Value& hash, std::string& bytes) {
  const auto number =
      hash.is_null() ? std::uint64_t{0} : static_cast<std::uint64_t>(hash.AsInteger());
  for (std::size_t i = kHashBytes; i-- > 0;) bytes += static_cast<char>(number >> (8 * i));
}

// SQLite's 1 and '1' are two keys.
void AppendStorage(const db::Value& value, std::string& storages) {
  storages += static_cast<char>('0' + static_cast<int>(value.storage));
}

class Storer {
 public:
  Storer(const db::Endpoint& endpoint, const Snapshot& digested, const std::filesystem::path& file,
         const std::function<bool()>& stop, std::int64_t most_rows)
      : side_(endpoint, 1), digested_(digested), stop_(stop), most_rows_(most_rows) {
    file_ = db::Connect(db::Endpoint::Sqlite(file), {.create = true});
  }

  void Store() {
    side_.ReadTables();
    file_->Execute(kSchema);
    db::Transaction transaction(*file_);
    file_->Query("INSERT INTO about VALUES ($1)",
                 {db::Value::Text(std::string(db::EngineName(side_.engine())))});
    std::int64_t number = 0;
    for (const CompareTable& table : side_.tables().tables) Store(table, ++number);
    transaction.Commit();
  }

 private:
  void Store(const CompareTable& table, std::int64_t number) {
    std::string digest;
    std::int64_t rows = 0;
    bool stream = true;
    for (const TableDigest& one : digested_.tables) {
      if (one.table != table.name.Display()) continue;
      Snapshot alone;
      alone.engine = digested_.engine;
      alone.tables = {one};
      digest = ToLine(alone.ToJson());
      rows = one.rows;
      stream = one.rows <= most_rows_;
    }
    std::string why = "more than " + std::to_string(most_rows_) + " rows";
    db::Session& session = side_.session(0);
    if (stream) {
      session.Execute("SAVEPOINT understudy_table");
      try {
        rows = Stream(table, number);
        why.clear();
        session.Execute("RELEASE SAVEPOINT understudy_table");
      } catch (const Error& error) {
        if (error.code() == "stop" || error.kind() == ErrorKind::kEnvironment) throw;
        why = error.what();
        digest.clear();  // of another moment, perhaps
      } catch (const TooMany&) {
      }
      if (!why.empty()) {
        session.Execute("ROLLBACK TO SAVEPOINT understudy_table");
        file_->Query("DELETE FROM rows WHERE number = $1", {db::Value::Integer(number)});
      }
    }
    file_->Query("INSERT INTO tables VALUES ($1, $2, $3, $4, $5, $6)",
                 {db::Value::Integer(number), db::Value::Text(table.name.Display()),
                  db::Value::Text(ToLine(ToJson(table))), db::Value::Integer(rows),
                  digest.empty() ? db::Value::Null() : db::Value::Text(digest),
                  why.empty() ? db::Value::Null() : db::Value::Text(why)});
  }

  std::int64_t Stream(const CompareTable& table, std::int64_t number) {
    TablePair pair;
    pair.left = pair.right = &table;
    for (const CompareColumn& column : table.columns) pair.columns.push_back({&column, &column});
    HashForm form;
    form.engine = side_.engine();
    const TableSql sql(pair, true, form, side_);
    const std::vector<std::string> key =
        table.keys.empty() ? std::vector<std::string>() : table.keys[0];
    std::string query;
    for (const std::string& column : key) {
      query += (query.empty() ? "" : ", ") + ("t." + db::QuoteIdentifier(column));
    }
    for (std::size_t i = 0; i < pair.columns.size(); ++i) {
      query += (query.empty() ? "" : ", ") + sql.ValueHash(i, SeedOf(table.columns[i].category));
    }
    std::int64_t rows = 0;
    side_.session(0).ForEachRow(
        "SELECT " + (query.empty() ? "1" : query) + sql.From(), {}, [&](const db::Row& row) {
          if (++rows > most_rows_) throw TooMany();
          if (rows % 1024 == 0 && stop_ && stop_()) {
            throw Error(ErrorKind::kCancelled, "the snapshot was stopped", "stop");
          }
          std::string name = std::to_string(rows);
          if (!key.empty()) {
            Json values = Json::array();
            std::string storages;
            for (std::size_t i = 0; i < key.size(); ++i) {
              values.push_back(row[i].ToJson());
              AppendStorage(row[i], storages);
            }
            name = ToLine(values) + storages;
          }
          std::string hashes;
          for (std::size_t i = 0; i < pair.columns.size(); ++i) {
            AppendHash(row[key.size() + i], hashes);
          }
          file_->Query("INSERT INTO rows VALUES ($1, $2, $3)",
                       {db::Value::Integer(number), db::Value::Text(std::move(name)),
                        db::Value::Blob(std::move(hashes))});
        });
    return rows;
  }

  Side side_;
  const Snapshot& digested_;
  const std::function<bool()>& stop_;
  std::int64_t most_rows_;
  std::unique_ptr<db::Session> file_;
};

// What one file holds of one table.
struct StoredTable {
  std::int64_t number = 0;
  std::int64_t rows = 0;
  std::optional<Snapshot> digest;
  std::string why;  // the rows are not kept; empty: they are
};

struct StoredSide {
  db::Engine engine = db::Engine::kPostgres;
  CompareTables tables;
  std::map<std::string, StoredTable> stored;  // by name
};

StoredSide ReadSide(db::Session& session, const std::string& schema) {
  StoredSide side;
  side.engine = session.Scalar("SELECT engine FROM " + schema + ".about").text == "sqlite"
                    ? db::Engine::kSqlite
                    : db::Engine::kPostgres;
  for (const db::Row& row : session
                                .Query("SELECT number, name, content, rows, digest, why FROM " +
                                       schema + ".tables ORDER BY number")
                                .rows) {
    side.tables.tables.push_back(TableFromJson(ParseJson(row[2].text, "stored rows")));
    StoredTable& table = side.stored[row[1].text];
    table.number = row[0].AsInteger();
    table.rows = row[3].AsInteger();
    if (!row[4].is_null()) table.digest = Snapshot::FromJson(ParseJson(row[4].text, "digest"));
    table.why = row[5].TextOr("");
  }
  return side;
}

std::size_t IndexOf(const CompareTable& table, const CompareColumn* column) {
  return static_cast<std::size_t>(column - table.columns.data());
}

Json HashOf(const std::string& hashes, std::size_t column) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  bool null = true;
  for (const char c : hashes.substr(column * kHashBytes, kHashBytes)) {
    const auto byte = static_cast<unsigned char>(c);
    hex += kDigits[byte >> 4U];
    hex += kDigits[byte & 15U];
    null = null && byte == 0;
  }
  return null ? Json(nullptr) : Json{{"type", "digest"}, {"text", hex}};
}

class StoredComparer {
 public:
  StoredComparer(const std::filesystem::path& left, const std::filesystem::path& right,
                 const CompareOptions& options,
                 const std::function<bool(const std::string&)>& written)
      : options_(options), written_(written), session_(db::Connect(db::Endpoint::Sqlite(left))) {
    session_->Query("ATTACH $1 AS other", {db::Value::Text(right.string())});
    left_ = ReadSide(*session_, "main");
    right_ = ReadSide(*session_, "other");
  }

  Comparison Run() {
    const Pairing pairing =
        PairTables(left_.tables, right_.tables, left_.engine, right_.engine, options_);
    comparison_.not_checked = pairing.not_checked;
    bool different = false;
    bool unknown = false;
    for (const TablePair& pair : pairing.pairs) {
      if (options_.stop && options_.stop()) {
        throw Error(ErrorKind::kCancelled, "the comparison was stopped", "stop");
      }
      TableComparison table;
      table.table = pair.name().Display();
      if (!Compare(pair, table)) continue;
      if (table.result == CompareResult::kUnknown) {
        unknown = true;
      } else {
        comparison_.rows_compared += std::max(table.left_rows, table.right_rows);
        different = different || table.result != CompareResult::kEqual;
      }
      comparison_.tables.push_back(std::move(table));
    }
    comparison_.result = different                               ? CompareResult::kDifferent
                         : unknown || comparison_.tables.empty() ? CompareResult::kUnknown
                                                                 : CompareResult::kEqual;
    return std::move(comparison_);
  }

 private:
  bool Written(const std::string& table) const { return written_ && written_(table); }

  // False: not compared, as not_checked says.
  bool Compare(const TablePair& pair, TableComparison& table) {
    const StoredTable* left =
        pair.left != nullptr ? &left_.stored.at(pair.left->name.Display()) : nullptr;
    const StoredTable* right =
        pair.right != nullptr ? &right_.stored.at(pair.right->name.Display()) : nullptr;
    if (left != nullptr) table.left_rows = left->rows;
    if (right != nullptr) table.right_rows = right->rows;
    if (left == nullptr || right == nullptr) {
      table.result = left != nullptr ? CompareResult::kOnlyLeft : CompareResult::kOnlyRight;
      return true;
    }
    for (const ColumnPair& column : pair.columns) table.compared.push_back(column.left->name);
    if (left_.engine != right_.engine) {
      table.why = "the hashes of two engines cannot be compared: compare the databases themselves";
      return true;
    }
    if (!left->why.empty() || !right->why.empty()) return CompareByDigest(*left, *right, table);
    if (KeysAreStored(pair)) {
      CompareByKey(pair, *left, *right, table);
    } else if (Written(table.table)) {
      table.why = "its rows have no key on both sides to tell those that clients wrote by";
    } else {
      CompareAsMultiset(pair, *left, *right, table);
    }
    return true;
  }

  bool CompareByDigest(const StoredTable& left, const StoredTable& right, TableComparison& table) {
    if (!left.digest || !right.digest) {
      table.why = "its rows could not be kept: " + (left.why.empty() ? right.why : left.why);
      return true;
    }
    const Comparison by_digest = CompareDigests(*left.digest, *right.digest, options_);
    if (by_digest.tables.size() != 1) {
      table.why = "its digests could not be compared";
      return true;
    }
    const std::string name = table.table;
    table = by_digest.tables[0];
    table.table = name;
    if (table.result != CompareResult::kDifferent || !Written(name)) return true;
    comparison_.not_checked.push_back(
        {{"what", "rows:" + name},
         {"why", "no copy could be held, and it has " + (left.why.empty() ? right.why : left.why) +
                     ": only its digests are known, and clients wrote to it"}});
    return false;
  }

  // Whether the pair's key is what the rows of both sides are kept by.
  static bool KeysAreStored(const TablePair& pair) {
    if (pair.key.empty() || pair.left->keys.empty() || pair.right->keys.empty()) return false;
    std::vector<std::string> left;
    std::vector<std::string> right;
    for (const ColumnPair& column : pair.key) {
      left.push_back(column.left->name);
      right.push_back(column.right->name);
    }
    return left == pair.left->keys[0] && right == pair.right->keys[0];
  }

  // The hashes of the columns that are compared, as one text; `hashes` is an SQL expression.
  static std::string Picked(const TablePair& pair, bool left, const std::string& hashes) {
    std::string sql = "''";
    for (const ColumnPair& column : pair.columns) {
      const std::size_t at =
          left ? IndexOf(*pair.left, column.left) : IndexOf(*pair.right, column.right);
      sql += " || hex(substr(" + hashes + ", " + std::to_string(at * kHashBytes + 1) + ", " +
             std::to_string(kHashBytes) + "))";
    }
    return sql;
  }

  bool WantsExample(const TableComparison& table) const {
    return static_cast<std::int64_t>(table.differences.size()) < options_.examples;
  }

  static Json KeyOf(const TablePair& pair, const std::string& stored) {
    const Json values = ParseJson(stored.substr(0, stored.rfind(']') + 1), "key");
    Json key = Json::object();
    for (std::size_t i = 0; i < pair.key.size(); ++i) key[pair.key[i].left->name] = values.at(i);
    return key;
  }

  void CompareByKey(const TablePair& pair, const StoredTable& left, const StoredTable& right,
                    TableComparison& table) {
    const std::string a = std::to_string(left.number);
    const std::string b = std::to_string(right.number);
    const auto explained = [&](const Json& key, const char* kind) {
      return options_.explained && options_.explained(table.table, key, kind);
    };
    session_->ForEachRow(
        "SELECT l.key, l.hashes, r.hashes FROM main.rows AS l JOIN other.rows AS r ON r.number = " +
            b + " AND r.key = l.key WHERE l.number = " + a + " AND " +
            Picked(pair, true, "l.hashes") + " <> " + Picked(pair, false, "r.hashes"),
        {}, [&](const db::Row& row) {
          const Json key = KeyOf(pair, row[0].text);
          if (explained(key, "changed")) return;
          ++table.changed;
          RowDifference one{"changed", key, Json::object(), Json::object(), 1, 1};
          for (const ColumnPair& column : pair.columns) {
            const Json before = HashOf(row[1].text, IndexOf(*pair.left, column.left));
            const Json after = HashOf(row[2].text, IndexOf(*pair.right, column.right));
            if (before == after) continue;
            ++table.columns[column.left->name];
            one.left[column.left->name] = before;
            one.right[column.right->name] = after;
          }
          if (WantsExample(table)) table.differences.push_back(std::move(one));
        });
    const auto alone = [&](bool on_left) {
      const std::string here = on_left ? "main" : "other";
      const std::string there = on_left ? "other" : "main";
      session_->ForEachRow(
          "SELECT key FROM " + here + ".rows AS h WHERE number = " + (on_left ? a : b) +
              " AND NOT EXISTS (SELECT 1 FROM " + there +
              ".rows AS t WHERE t.number = " + (on_left ? b : a) + " AND t.key = h.key)",
          {}, [&](const db::Row& row) {
            const Json key = KeyOf(pair, row[0].text);
            const char* kind = on_left ? "missing" : "extra";
            if (explained(key, kind)) return;
            ++(on_left ? table.missing : table.extra);
            if (!WantsExample(table)) return;
            table.differences.push_back(
                {kind, key, nullptr, nullptr, on_left ? 1 : 0, on_left ? 0 : 1});
          });
    };
    alone(true);
    alone(false);
    table.result = table.missing + table.extra + table.changed > 0 ? CompareResult::kDifferent
                                                                   : CompareResult::kEqual;
  }

  void CompareAsMultiset(const TablePair& pair, const StoredTable& left, const StoredTable& right,
                         TableComparison& table) {
    session_->ForEachRow(
        "SELECT sum(l), sum(r) FROM (SELECT " + Picked(pair, true, "hashes") +
            " AS h, 1 AS l, 0 AS r FROM main.rows WHERE number = " + std::to_string(left.number) +
            " UNION ALL SELECT " + Picked(pair, false, "hashes") +
            ", 0, 1 FROM other.rows WHERE number = " + std::to_string(right.number) +
            ") GROUP BY h HAVING sum(l) <> sum(r)",
        {}, [&](const db::Row& row) {
          const std::int64_t l = row[0].AsInteger();
          const std::int64_t r = row[1].AsInteger();
          (l > r ? table.missing : table.extra) += std::abs(l - r);
          if (!WantsExample(table)) return;
          table.differences.push_back(
              {l > r ? "missing" : "extra", nullptr, nullptr, nullptr, l, r});
        });
    table.result =
        table.missing + table.extra > 0 ? CompareResult::kDifferent : CompareResult::kEqual;
  }

  const CompareOptions& options_;
  const std::function<bool(const std::string&)>& written_;
  std::unique_ptr<db::Session> session_;
  StoredSide left_;
  StoredSide right_;
  Comparison comparison_;
};

}  // namespace

void StoreRows(const db::Endpoint& endpoint, const Snapshot& digested,
               const std::filesystem::path& file, const std::function<bool()>& stop,
               std::int64_t most_rows) {
  Storer(endpoint, digested, file, stop, most_rows).Store();
}

Comparison CompareStoredRows(const std::filesystem::path& left, const std::filesystem::path& right,
                             const CompareOptions& options,
                             const std::function<bool(const std::string&)>& written) {
  return StoredComparer(left, right, options, written).Run();
}

}  // namespace understudy::harness
