#include "harness/run/row_probes.h"

#include <algorithm>

#include "harness/schema/schema.h"
#include "harness/schema/violations.h"

namespace understudy::harness {
namespace {

// For a lock, in a database that others use.
constexpr std::chrono::milliseconds kShortWait{500};
constexpr int kTries = 12;  // rows made by chance before an insert counts as impossible to try

class RowProber {
 public:
  RowProber(Rehearsal& rehearsal, std::string database, db::Session& session, bool in_place)
      : rehearsal_(rehearsal),
        database_(std::move(database)),
        session_(session),
        in_place_(in_place),
        postgres_(session.Server().engine == db::Engine::kPostgres),
        schema_(ReadSchema(session)),
        random_(Random(rehearsal.scenario.seed).Fork("probes")) {}

  // Whether an insert was tried at all.
  bool All() {
    // One transaction, parents first: a child may refer to the row that was just tried.
    Attempt("write-after of " + database_, [&] {
      if (IsOff("write-after")) return;
      Begin();
      for (const SchemaTable* table : schema_.InForeignKeyOrder()) {
        rehearsal_.ThrowIfStopped();
        if (IsOurs("table:" + table->name.Display())) continue;  // a hot copy's marks
        WriteAfter(*table);
      }
    });
    session_.Rollback();
    for (const SchemaTable& table : schema_.tables) {
      rehearsal_.ThrowIfStopped();
      if (IsOurs("table:" + table.name.Display())) continue;
      Attempt("constraints of " + table.name.Display() + " violated on purpose", [&] {
        if (!IsOff("constraints")) Violate(table);
      });
      for (const SchemaForeignKey& key : table.foreign_keys) {
        const std::string object = table.name.Display() + " " + key.name;
        Attempt("orphans of " + object,
                [&] { Orphans(table.name, key.columns, key.to, key.to_columns, object); });
      }
    }
    const Json& checks = rehearsal_.scenario.checks;
    if (checks.contains("orphans")) {
      for (const Json& reference : checks["orphans"].value("references", Json::array())) {
        NamedReference(reference.at("from"), reference.at("to"));
      }
    }
    if (postgres_) Sequences();
    return write_after_told_;
  }

 private:
  // A transaction that ends with ROLLBACK. In a database that is in use it neither waits long for
  // others nor makes them wait: see ProbeRows.
  void Begin() {
    session_.Begin(db::Isolation::kDefault, /*read_only=*/false, /*immediate=*/in_place_);
    if (in_place_ && postgres_) session_.Execute("SET LOCAL statement_timeout = '5s'");
  }

  bool IsOff(const char* check) const {
    const Json& checks = rehearsal_.scenario.checks;
    return checks.contains(check) && checks[check].contains("off");
  }

  // What stands in the way of a probe in a database that is in use is no finding.
  static bool IsInTheWay(const Error& error) {
    return error.kind() == ErrorKind::kConflict ||
           (error.kind() == ErrorKind::kCancelled && error.code() != "stop") ||
           error.code() == "42501";  // insufficient privilege
  }

  template <typename Work>
  void Attempt(const std::string& what, Work work) {
    try {
      work();
    } catch (const Error& error) {
      session_.Rollback();
      if (!in_place_ || !IsInTheWay(error)) throw;
      rehearsal_.evidence.NotChecked(what, error.what());
    }
  }

  void Tell(const std::string& check, const std::string& object, const std::string& result,
            const std::string& detail, const std::string& sqlstate = "",
            const Json& examples = Json::array()) {
    // There is no other place to try it in.
    if (in_place_ && result == "unknown") {
      rehearsal_.evidence.NotChecked(check + " of " + object, detail);
      return;
    }
    if (check == "write-after") write_after_told_ = true;
    rehearsal_.evidence.Add("probe", {{"check", check},
                                      {"database", database_},
                                      {"object", object},
                                      {"result", result},
                                      {"detail", detail},
                                      {"sqlstate", sqlstate},
                                      {"examples", examples}});
  }

  std::string Parameter(const SchemaColumn& column, std::size_t number) const {
    const std::string mark = "$" + std::to_string(number);
    // The text form is cast by the server to the column's own type.
    return postgres_ ? "CAST(" + mark + " AS " + column.type + ")" : mark;
  }

  // The value of a column: a present parent's key, or a new one; nullopt = left to its default.
  std::optional<db::Value> ValueFor(const SchemaTable& table, const SchemaColumn& column,
                                    std::int64_t serial) {
    for (const SchemaForeignKey& key : table.foreign_keys) {
      const auto at = std::ranges::find(key.columns, column.name);
      if (at == key.columns.end()) continue;
      const auto index = static_cast<std::size_t>(at - key.columns.begin());
      if (column.nullable && key.to == table.name) return db::Value::Null();
      // One row for all columns of the key: the first in the order of the key.
      std::string order;
      for (const std::string& to : key.to_columns) {
        order += (order.empty() ? "" : ", ") + db::QuoteIdentifier(to);
      }
      const auto parent =
          session_.MaybeScalar("SELECT " + db::QuoteIdentifier(key.to_columns[index]) + " FROM " +
                               key.to.Quoted() + " ORDER BY " + order + " DESC LIMIT 1");
      if (parent) return *parent;
      return column.nullable ? std::optional(db::Value::Null()) : std::nullopt;
    }
    if (column.has_default) return std::nullopt;
    return maker_->Make(column, random_, serial, /*allow_null=*/false);
  }

  struct Insert {
    std::string sql;
    db::Params params;
    std::vector<std::string> columns;
    std::string returning;  // the forced columns
    db::Row forced;         // and what they must be, as RETURNING writes it
  };

  // An INSERT through every default. `forced`: a column that gets this value.
  Insert MakeInsert(const SchemaTable& table, std::int64_t serial,
                    const std::map<std::string, db::Value>& forced = {}) {
    const ValueMaker maker(table);
    maker_ = &maker;
    Insert insert;
    std::string names;
    std::string values;
    for (const SchemaColumn& column : table.columns) {
      if (column.generated) continue;
      std::optional<db::Value> value;
      if (const auto it = forced.find(column.name); it != forced.end()) {
        value = it->second;
        insert.returning +=
            (insert.returning.empty() ? " RETURNING " : ", ") + db::QuoteIdentifier(column.name);
        insert.forced.push_back(*value);
      } else {
        value = ValueFor(table, column, serial);
      }
      if (!value) continue;
      insert.params.push_back(*value);
      insert.columns.push_back(column.name);
      names += (names.empty() ? "" : ", ") + db::QuoteIdentifier(column.name);
      values += (values.empty() ? "" : ", ") + Parameter(column, insert.params.size());
    }
    const bool overriding = postgres_ && std::ranges::any_of(table.columns, [&](const auto& c) {
                              return c.identity_always && forced.contains(c.name);
                            });
    insert.sql =
        "INSERT INTO " + table.name.Quoted() +
        (names.empty() ? " DEFAULT VALUES"
                       : " (" + names + ")" + (overriding ? " OVERRIDING SYSTEM VALUE" : "") +
                             " VALUES (" + values + ")");
    maker_ = nullptr;
    return insert;
  }

  // Runs it in a transaction that is rolled back; deferred constraints are asked at once.
  std::optional<Error> Try(const Insert& insert) {
    std::optional<Error> failure;
    try {
      Begin();
      const db::Result result = session_.Query(insert.sql + insert.returning, insert.params);
      if (postgres_) session_.Execute("SET CONSTRAINTS ALL IMMEDIATE");
      // A trigger may give the row other values, or take it away altogether.
      changed_by_trigger_ = result.rows.empty() || result.rows[0] != insert.forced;
    } catch (const Error& error) {
      failure = error;
    }
    session_.Rollback();
    if (failure && failure->kind() == ErrorKind::kUnavailable) throw *failure;
    return failure;
  }

  // Runs it in a savepoint of the open transaction; what is taken stays until that ends.
  std::optional<Error> TryAndKeep(const Insert& insert) {
    session_.Execute("SAVEPOINT understudy_probe");
    try {
      session_.Query(insert.sql, insert.params);
      if (postgres_) session_.Execute("SET CONSTRAINTS ALL IMMEDIATE");
      session_.Execute("RELEASE SAVEPOINT understudy_probe");
      return std::nullopt;
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::kUnavailable) throw;
      if (!session_.InTransaction()) throw;  // SQLite gave it up
      session_.Execute("ROLLBACK TO SAVEPOINT understudy_probe");
      return error;
    }
  }

  void WriteAfter(const SchemaTable& table) {
    const std::string name = table.name.Display();
    for (const SchemaColumn& column : table.columns) {
      if (!column.nullable && !column.has_default && !column.generated &&
          !ValueMaker::CanMake(column)) {
        Tell("write-after", name, "unknown",
             "no values can be made for " + column.name + " " + column.type);
        return;
      }
    }
    for (const SchemaForeignKey& key : table.foreign_keys) {
      if (key.to == table.name || AllNullable(table, key) || HasRows(key.to)) continue;
      Tell("write-after", name, "unknown",
           "no row of " + key.to.Display() + " is there to refer to (" + key.name + ")");
      return;
    }
    std::optional<Error> last;
    for (int i = 0; i < kTries; ++i) {
      const Insert insert = MakeInsert(table, NextSerial());
      last = TryAndKeep(insert);
      if (!last) {
        Tell("write-after", name, "ok", "an insert through its defaults is taken");
        return;
      }
      // Our made values may break a check or a unique column by chance; the defaults may not.
      if (IsOurDoing(*last, table, insert)) continue;
      if (in_place_ && IsInTheWay(*last)) {
        Tell("write-after", name, "unknown", last->message(), last->code());
        return;
      }
      Tell("write-after", name, "failed", last->message(), last->code());
      return;
    }
    Tell("write-after", name, "unknown",
         "no row could be made that its checks take: " + last->message(), last->code());
  }

  bool HasRows(const db::TableName& table) {
    return !session_.Query("SELECT 1 FROM " + table.Quoted() + " LIMIT 1").rows.empty();
  }

  static bool AllNullable(const SchemaTable& table, const SchemaForeignKey& key) {
    return std::ranges::all_of(key.columns, [&](const std::string& name) {
      const SchemaColumn* column = table.Column(name);
      return column != nullptr && column->nullable;
    });
  }

  bool IsOurDoing(const Error& error, const SchemaTable& table, const Insert& insert) const {
    if (error.code() == "23514" || error.code() == "23P01" || error.code() == "22P02") return true;
    if (!postgres_ && error.message().find("CHECK constraint") != std::string::npos) return true;
    const bool duplicate =
        error.code() == "23505" || error.message().find("UNIQUE constraint") != std::string::npos;
    if (!duplicate) return false;
    // A duplicate is the defaults' doing when every column of some key came from a default.
    for (const SchemaKey& key : table.keys) {
      const bool speaks_of_it = error.message().find(key.name) != std::string::npos || !postgres_;
      const bool all_default = std::ranges::all_of(key.columns, [&](const std::string& column) {
        return std::ranges::find(insert.columns, column) == insert.columns.end();
      });
      if (speaks_of_it && all_default) return false;
    }
    return true;
  }

  // Each constraint must refuse what it is there to refuse.
  void Violate(const SchemaTable& table) {
    const std::string name = table.name.Display();
    for (const SchemaColumn& column : table.columns) {
      if (column.nullable || column.generated || column.identity_always) continue;
      if (!postgres_ && column.sequence_default) continue;  // NULL asks for a rowid
      const auto refused = Try(MakeInsert(table, NextSerial(), {{column.name, db::Value::Null()}}));
      Expect(name + "." + db::DisplayIdentifier(column.name) + " NOT NULL", refused,
             {"23502", "1299"}, "a row with NULL");
    }
    for (const SchemaKey& key : table.keys) Duplicate(table, key);
    for (const SchemaForeignKey& key : table.foreign_keys) Dangle(table, key);
    for (const SchemaCheck& check : table.checks) BreakCheck(table, check);
  }

  // Whether a check is violated is for the server to say: candidates are tried until it refuses one
  // in the check's own name. One that is taken proves nothing.
  void BreakCheck(const SchemaTable& table, const SchemaCheck& check) {
    const std::string object =
        table.name.Display() + " " +
        (check.name.empty() ? "CHECK (" + check.expression + ")" : check.name);
    for (const auto& [column, value] : ViolationCandidates(table, check)) {
      const auto refused = Try(MakeInsert(table, NextSerial(), {{column, value}}));
      if (!refused || !IsRefusalOf(*refused, check)) continue;
      std::string shown = value.is_null() ? "NULL" : db::QuoteLiteral(value.text.substr(0, 40));
      if (value.text.size() > 40) shown += "…";
      Tell("constraints", object, "ok",
           "a row with " + db::DisplayIdentifier(column) + " = " + shown + " is refused",
           refused->code());
      return;
    }
    rehearsal_.evidence.NotChecked("constraint " + object + " violated on purpose",
                                   "no value was found that violates it");
  }

  bool IsRefusalOf(const Error& error, const SchemaCheck& check) const {
    if (postgres_) {
      return error.code() == "23514" &&
             error.message().find('"' + check.name + '"') != std::string::npos;
    }
    // SQLite names the constraint, or the expression where it has no name.
    const std::string& said = check.name.empty() ? check.expression : check.name;
    return error.message().find("CHECK constraint failed: " + said) != std::string::npos;
  }

  void Duplicate(const SchemaTable& table, const SchemaKey& key) {
    std::string columns;
    std::string not_null;
    for (const std::string& column : key.columns) {
      const SchemaColumn* found = table.Column(column);
      if (found == nullptr || found->generated) return;
      columns += (columns.empty() ? "" : ", ") + db::QuoteIdentifier(column);
      not_null += (not_null.empty() ? "" : " AND ") + db::QuoteIdentifier(column) + " IS NOT NULL";
    }
    const db::Result present = session_.Query("SELECT " + columns + " FROM " + table.name.Quoted() +
                                              " WHERE " + not_null + " LIMIT 1");
    const std::string object = table.name.Display() + " " + key.name;
    if (present.rows.empty()) {
      rehearsal_.evidence.NotChecked("constraint " + object + " violated on purpose",
                                     "the table has no row to duplicate");
      return;
    }
    std::map<std::string, db::Value> forced;
    for (std::size_t i = 0; i < key.columns.size(); ++i) {
      forced.emplace(key.columns[i], present.rows[0][i]);
    }
    Expect(object, Try(MakeInsert(table, NextSerial(), forced)), {"23505", "1555", "2067", "2579"},
           "a second row with the same key");
  }

  void Dangle(const SchemaTable& table, const SchemaForeignKey& key) {
    const std::string object = table.name.Display() + " " + key.name;
    // A parent key that is not there: made anew until it is absent.
    std::map<std::string, db::Value> forced;
    for (int i = 0; i < kTries; ++i) {
      forced.clear();
      std::string where;
      db::Params params;
      const SchemaTable* parent = schema_.Find(key.to);
      if (parent == nullptr) return;
      const ValueMaker maker(*parent);
      for (std::size_t c = 0; c < key.columns.size(); ++c) {
        const SchemaColumn* to = parent->Column(key.to_columns[c]);
        if (to == nullptr || !ValueMaker::CanMake(*to)) {
          rehearsal_.evidence.NotChecked("constraint " + object + " violated on purpose",
                                         "no values can be made of its type");
          return;
        }
        const db::Value value = maker.Make(*to, random_, NextSerial(), false);
        forced.emplace(key.columns[c], value);
        params.push_back(value);
        where += (where.empty() ? "" : " AND ") + db::QuoteIdentifier(to->name) + " = " +
                 Parameter(*to, params.size());
      }
      if (session_.Query("SELECT 1 FROM " + key.to.Quoted() + " WHERE " + where, params)
              .rows.empty()) {
        break;
      }
      forced.clear();
    }
    if (forced.empty()) {
      rehearsal_.evidence.NotChecked("constraint " + object + " violated on purpose",
                                     "no absent parent key could be made");
      return;
    }
    Expect(object, Try(MakeInsert(table, NextSerial(), forced)), {"23503", "787"},
           "a row whose parent is absent");
  }

  void Expect(const std::string& object, const std::optional<Error>& refused,
              const std::vector<std::string>& states, const std::string& what) {
    if (!refused && changed_by_trigger_) {
      rehearsal_.evidence.NotChecked("constraint " + object + " violated on purpose",
                                     "a trigger gave the row other values or kept it out");
    } else if (!refused) {
      Tell("constraints", object, "failed", what + " was taken");
    } else if (std::ranges::find(states, refused->code()) != states.end()) {
      Tell("constraints", object, "ok", what + " is refused", refused->code());
    } else if (refused->code() == "23514" || refused->code() == "23502" ||
               refused->code() == "23505" || refused->code() == "23503" ||
               refused->code() == "P0001") {
      // Another constraint was faster: this one was not really asked.
      rehearsal_.evidence.NotChecked("constraint " + object + " violated on purpose",
                                     "another rule refused the row first: " + refused->message());
    } else {
      rehearsal_.evidence.NotChecked(
          "constraint " + object + " violated on purpose",
          "the row was refused for another reason: " + refused->message());
    }
  }

  // Rows of `from` whose reference is set and has no row in `to`.
  void Orphans(const db::TableName& from, const std::vector<std::string>& columns,
               const db::TableName& to, const std::vector<std::string>& to_columns,
               const std::string& object) {
    std::string on;
    std::string set;
    std::string shown;
    for (std::size_t i = 0; i < columns.size(); ++i) {
      on += (on.empty() ? "" : " AND ") +
            ("p." + db::QuoteIdentifier(to_columns[i]) + " = c." + db::QuoteIdentifier(columns[i]));
      set +=
          (set.empty() ? "" : " AND ") + ("c." + db::QuoteIdentifier(columns[i]) + " IS NOT NULL");
      shown += (shown.empty() ? "" : ", ") + ("c." + db::QuoteIdentifier(columns[i]));
    }
    const std::string tail = " FROM " + from.Quoted() + " c WHERE " + set +
                             " AND NOT EXISTS (SELECT 1 FROM " + to.Quoted() + " p WHERE " + on +
                             ")";
    const std::int64_t orphans = session_.Scalar("SELECT count(*)" + tail).AsInteger();
    Json examples = Json::array();
    if (orphans > 0) {
      for (const db::Row& row : session_.Query("SELECT " + shown + tail + " LIMIT 5").rows) {
        Json key = Json::object();
        for (std::size_t i = 0; i < columns.size(); ++i) key[columns[i]] = row[i].ToJson();
        examples.push_back(key);
      }
    }
    Tell("orphans", object, orphans == 0 ? "ok" : "failed",
         orphans == 0 ? "every reference has its row"
                      : std::to_string(orphans) + " rows of " + from.Display() +
                            " refer to nothing in " + to.Display(),
         "", examples);
  }

  // "public.a.b_id" → "public.b.id"
  void NamedReference(const std::string& from, const std::string& to) {
    const std::vector<std::string> f = db::ParseDottedName(from);
    const std::vector<std::string> t = db::ParseDottedName(to);
    if (f.size() != 3 || t.size() != 3) {
      Tell("orphans", from + " → " + to, "unknown", "not schema.table.column");
      return;
    }
    try {
      Orphans({f[0], f[1]}, {f[2]}, {t[0], t[1]}, {t[2]}, from + " → " + to);
    } catch (const Error& error) {
      Tell("orphans", from + " → " + to, "unknown", error.what());
    }
  }

  // The next value that a sequence gives must lie beyond its column's data.
  void Sequences() {
    static constexpr const char* kOwned = R"sql(
SELECT sn.nspname, s.relname, tn.nspname, t.relname, a.attname, q.seqincrement
FROM pg_class s
JOIN pg_namespace sn ON sn.oid = s.relnamespace
JOIN pg_sequence q ON q.seqrelid = s.oid
JOIN pg_depend d ON d.objid = s.oid AND d.classid = 'pg_class'::regclass
                AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
JOIN pg_class t ON t.oid = d.refobjid
JOIN pg_namespace tn ON tn.oid = t.relnamespace
JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
WHERE s.relkind = 'S' AND sn.nspname NOT LIKE 'understudy%'
ORDER BY 1, 2)sql";
    for (const db::Row& row : session_.Query(kOwned).rows) {
      const db::TableName sequence{row[0].text, row[1].text};
      const db::TableName table{row[2].text, row[3].text};
      const bool up = row[5].AsInteger() > 0;
      try {
        const db::Row state =
            session_.Query("SELECT last_value, is_called FROM " + sequence.Quoted()).rows.at(0);
        const auto furthest = session_.Scalar(std::string("SELECT ") + (up ? "max(" : "min(") +
                                              db::QuoteIdentifier(row[4].text) +
                                              ")::numeric::text FROM " + table.Quoted());
        if (furthest.is_null()) {
          Tell("sequences", sequence.Display(), "ok", "its column has no rows");
          continue;
        }
        const std::int64_t next =
            state[0].AsInteger() + (state[1].AsBool() ? row[5].AsInteger() : 0);
        const std::int64_t last = furthest.AsInteger();
        const bool beyond = up ? next > last : next < last;
        Tell("sequences", sequence.Display(), beyond ? "ok" : "failed",
             "gives " + std::to_string(next) + " next, " + table.Display() + "." +
                 db::DisplayIdentifier(row[4].text) + " goes to " + std::to_string(last));
      } catch (const Error& error) {
        Tell("sequences", sequence.Display(), "unknown", error.what());
      }
    }
  }

  std::int64_t NextSerial() { return 900000000 + ++serial_; }

  Rehearsal& rehearsal_;
  std::string database_;
  db::Session& session_;
  bool in_place_;
  bool postgres_;
  bool write_after_told_ = false;
  Schema schema_;
  Random random_;
  const ValueMaker* maker_ = nullptr;
  bool changed_by_trigger_ = false;  // of the last Try
  std::int64_t serial_ = 0;
};

}  // namespace

bool ProbeRows(Rehearsal& rehearsal, const std::string& database, const db::Endpoint& endpoint,
               ProbeWhere where) {
  db::SessionOptions options;
  options.application_name = "understudy-probe";
  options.statement_timeout = std::chrono::seconds(60);
  if (where == ProbeWhere::kInPlace) options.lock_timeout = kShortWait;
  options.foreign_keys = true;
  // As a client would: a default may call a function that finds its tables by search_path.
  options.settings = db::Settings::kUsers;
  const auto session = db::Connect(endpoint, options);
  return RowProber(rehearsal, database, *session, where == ProbeWhere::kInPlace).All();
}

}  // namespace understudy::harness
