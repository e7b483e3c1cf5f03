// Reads, after the last step, what became of every row that the ledger knows.
#include <algorithm>
#include <set>

#include "engine/base/error.h"
#include "harness/actors/actor.h"
#include "harness/schema/schema.h"

namespace understudy::harness {
namespace {

using db::Value;

constexpr std::size_t kBatch = 200;

struct Names {  // of a table of the ledger, as it is now
  const SchemaTable* table = nullptr;
  std::string why;
  std::map<std::string, std::string> columns;  // renamed: old → new
};

class Observer {
 public:
  Observer(const ActorContext& context, const std::map<std::string, std::string>& map)
      : context_(context), map_(map), ledger_(context.ledger) {}

  void Run() {
    {
      const std::lock_guard lock(ledger_.mutex());
      ledger_.session().Execute(
          "CREATE INDEX IF NOT EXISTS writes_by_key ON writes(database, table_name, key);"
          "DELETE FROM observed");
    }
    // A session of its own, so that it can read while the other writes.
    reader_ = db::Connect(db::Endpoint::Sqlite(ledger_.evidence().folder() / "ledger.sqlite"));
    const db::Result tables = reader_->Query(
        "SELECT DISTINCT database, table_name FROM writes"
        " UNION SELECT DISTINCT database, table_name FROM hot_rows ORDER BY 1, 2");
    std::string database;
    for (const db::Row& row : tables.rows) {
      if (row[0].text != database) {
        database = row[0].text;
        Open(database);
      }
      Table(database, row[1].text);
    }
  }

 private:
  void Open(const std::string& database) {
    session_.reset();
    schema_ = {};
    why_ = "";
    const auto it = context_.databases.find(database);
    if (it == context_.databases.end()) {
      why_ = "the database '" + database + "' is not there any more";
      return;
    }
    try {
      session_ = db::Connect(it->second);
      schema_ = ReadSchema(*session_);
    } catch (const Error& error) {
      session_.reset();
      why_ = error.what();
    }
  }

  Names Resolve(const std::string& display) const {
    Names names;
    const std::vector<std::string> parts = db::ParseDottedName(display);
    db::TableName now{parts.at(0), parts.at(1)};
    for (const auto& [from, to] : map_) {
      std::vector<std::string> a = db::ParseDottedName(from);
      std::vector<std::string> b = db::ParseDottedName(to);
      if (a.size() < parts.size() || !std::equal(parts.begin(), parts.end(), a.begin())) continue;
      if (a.size() == parts.size()) {
        now = b.size() > 1 ? db::TableName{b[0], b[1]} : db::TableName{parts[0], b[0]};
      } else {
        names.columns[a.back()] = b.back();
        if (b.size() == 3) now = {b[0], b[1]};
      }
    }
    names.table = schema_.Find(now);
    if (names.table == nullptr) names.why = "there is no table " + now.Display() + " any more";
    return names;
  }

  void Table(const std::string& database, const std::string& display) {
    Names names;
    if (session_) {
      names = Resolve(display);
    } else {
      names.why = why_;
    }
    std::vector<std::string> batch;
    if (session_ && names.table != nullptr) FindLostKeys(database, display, names);
    reader_->ForEachRow(
        "SELECT key FROM writes WHERE database = ?1 AND table_name = ?2 AND key IS NOT NULL"
        " UNION SELECT key_after FROM writes"
        "  WHERE database = ?1 AND table_name = ?2 AND key_after IS NOT NULL"
        " UNION SELECT key FROM hot_rows WHERE database = ?1 AND table_name = ?2",
        {Value::Text(database), Value::Text(display)}, [&](const db::Row& row) {
          batch.push_back(row[0].text);
          if (batch.size() < kBatch) return;
          Batch(database, display, names, batch);
          batch.clear();
        });
    Batch(database, display, names, batch);
  }

  static std::string Selected(const SchemaTable& table, const std::string& prefix) {
    std::string list;
    for (const SchemaColumn& column : table.columns) {
      if (column.type.starts_with("reg")) continue;  // its text depends on the search path
      list += (list.empty() ? "" : ", ") + prefix + db::QuoteIdentifier(column.name);
    }
    return list;
  }

  bool sqlite() const { return schema_.engine == db::Engine::kSqlite; }
  std::string Mark(std::size_t n) const { return (sqlite() ? "?" : "$") + std::to_string(n); }

  // A text form as a parameter; SQLite's columns turn it into what they hold by their affinity.
  Value Parameter(const Json& text) const {
    if (text.is_null()) return Value::Null();
    const std::string raw = text.get<std::string>();
    if (!sqlite() || !raw.starts_with("\\x") || raw.size() % 2 != 0) return Value::Text(raw);
    std::string bytes;
    for (std::size_t i = 2; i < raw.size(); i += 2) {
      if (std::isxdigit(static_cast<unsigned char>(raw[i])) == 0 ||
          std::isxdigit(static_cast<unsigned char>(raw[i + 1])) == 0) {
        return Value::Text(raw);
      }
      bytes += static_cast<char>(std::stoi(raw.substr(i, 2), nullptr, 16));
    }
    return Value::Blob(bytes);
  }

  std::string Cast(const std::string& mark, const SchemaColumn& column) const {
    if (sqlite()) return mark;
    return "CAST(" + mark + " AS " + column.type + ")";
  }

  void Batch(const std::string& database, const std::string& display, const Names& names,
             const std::vector<std::string>& keys) {
    if (keys.empty()) return;
    std::vector<std::optional<Json>> rows(keys.size());
    std::string why = names.why;
    if (why.empty()) {
      try {
        why = Read(names, keys, rows);
      } catch (const Error& error) {
        why = error.what();
      }
    }
    const std::lock_guard lock(ledger_.mutex());
    db::Transaction unit(ledger_.session());
    for (std::size_t i = 0; i < keys.size(); ++i) {
      ledger_.session().Query(
          "INSERT INTO observed(database, table_name, key, row, why) VALUES (?1, ?2, ?3, ?4, ?5)",
          {Value::Text(database), Value::Text(display), Value::Text(keys[i]),
           rows[i] ? Value::Text(ToLine(*rows[i])) : Value::Null(),
           why.empty() ? Value::Null() : Value::Text(why)});
    }
    unit.Commit();
  }

  // Returns why it could not, or "".
  std::string Read(const Names& names, const std::vector<std::string>& keys,
                   std::vector<std::optional<Json>>& rows) {
    const SchemaTable& table = *names.table;
    std::vector<std::pair<std::string, const SchemaColumn*>> columns;  // of the first key
    db::Params params;
    std::string values;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const Json key = Json::parse(keys[i]);
      if (columns.empty()) {
        for (const auto& [name, value] : key.items()) {
          const auto renamed = names.columns.find(name);
          const std::string& now = renamed == names.columns.end() ? name : renamed->second;
          const SchemaColumn* column = table.Column(now);
          if (column == nullptr) {
            return table.name.Display() + " has no column " + db::DisplayIdentifier(now) +
                   " any more, which its rows were known by";
          }
          columns.emplace_back(name, column);
        }
      }
      values += (i == 0 ? "(" : ", (") + std::to_string(i);
      for (const auto& [name, column] : columns) {
        params.push_back(Parameter(key.value(name, Json(nullptr))));
        values += ", " + Cast(Mark(params.size()), *column);
      }
      values += ")";
    }
    std::string names_of_values = "n", on;
    for (std::size_t k = 0; k < columns.size(); ++k) {
      const std::string alias = "k" + std::to_string(k);
      names_of_values += ", " + alias;
      on += (k == 0 ? "" : " AND ") + ("t." + db::QuoteIdentifier(columns[k].second->name)) +
            " = v." + alias;
    }
    const std::string selected = Selected(table, "t.");
    const std::string sql = "WITH v(" + names_of_values + ") AS (VALUES " + values +
                            ") SELECT v.n, " + selected + " FROM v JOIN " + table.name.Quoted() +
                            " t ON " + on;
    for (const db::Row& row : session_->Query(sql, params).rows) {
      const auto index = static_cast<std::size_t>(row[0].AsInteger());
      rows[index] = RowJson(table, row, 1);
    }
    return "";
  }

  static Json RowJson(const SchemaTable& table, const db::Row& row, std::size_t at) {
    Json json = Json::object();
    for (const SchemaColumn& column : table.columns) {
      if (column.type.starts_with("reg")) continue;
      json[column.name] = row[at++].ToJson();
    }
    return json;
  }

  // An insert in doubt whose key the server was to make: the row, if it is there, is the one that
  // holds what was sent and that no other line of the ledger knows.
  void FindLostKeys(const std::string& database, const std::string& display, const Names& names) {
    const db::Result lost = reader_->Query(
        "SELECT id, row FROM writes WHERE database = ?1 AND table_name = ?2 AND key IS NULL"
        " AND row IS NOT NULL AND state IN ('unknown', 'pending')",
        {Value::Text(database), Value::Text(display)});
    const std::vector<std::string> key = names.table->RowKey();
    if (key.empty()) return;
    for (const db::Row& write : lost.rows) {
      const Json sent = Json::parse(write[1].text);
      db::Params params;
      std::string where, list;
      for (const auto& [name, value] : sent.items()) {
        const auto renamed = names.columns.find(name);
        const SchemaColumn* column =
            names.table->Column(renamed == names.columns.end() ? name : renamed->second);
        if (column == nullptr || column->base_type == "json" || column->base_type == "xml" ||
            column->base_type == "point") {
          continue;  // gone, or a type without equality
        }
        where += where.empty() ? " WHERE " : " AND ";
        if (value.is_null()) {
          where += db::QuoteIdentifier(column->name) + " IS NULL";
          continue;
        }
        params.push_back(Parameter(value));
        where += db::QuoteIdentifier(column->name) + " = " + Cast(Mark(params.size()), *column);
      }
      for (const std::string& name : key) {
        list += (list.empty() ? "" : ", ") + db::QuoteIdentifier(name);
      }
      try {
        const db::Result found = session_->Query(
            "SELECT " + list + " FROM " + names.table->name.Quoted() + where + " LIMIT 100",
            params);
        for (const db::Row& row : found.rows) {
          Json its = Json::object();
          for (std::size_t i = 0; i < key.size(); ++i) its[key[i]] = row[i].ToJson();
          const std::lock_guard lock(ledger_.mutex());
          const bool known =
              ledger_.session()
                  .Scalar(
                      "SELECT count(*) FROM writes WHERE database = ?1 AND"
                      " table_name = ?2 AND key = ?3",
                      {Value::Text(database), Value::Text(display), Value::Text(ToLine(its))})
                  .AsInteger() > 0;
          if (known) continue;
          ledger_.session().Query("UPDATE writes SET key = ?2 WHERE id = ?1",
                                  {write[0], Value::Text(ToLine(its))});
          break;
        }
      } catch (const Error& error) {
        ledger_.evidence().NotChecked(
            "insert in doubt into " + display,
            std::string("its row could not be looked for: ") + error.what());
      }
    }
  }

  const ActorContext& context_;
  const std::map<std::string, std::string>& map_;
  Ledger& ledger_;
  std::unique_ptr<db::Session> reader_, session_;
  Schema schema_;
  std::string why_;
};

}  // namespace

void Observe(const ActorContext& context, const std::map<std::string, std::string>& map) {
  context.ledger.Flush();
  Observer(context, map).Run();
}

}  // namespace understudy::harness
