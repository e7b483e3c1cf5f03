#include "harness/run/written.h"

#include <functional>
#include <set>

#include "engine/db/identifier.h"
#include "harness/snapshot/snapshot.h"

namespace understudy::harness {
namespace {

// One number for a table and a key, whatever the order of the key's columns.
std::uint64_t HashOf(std::string_view table, const Json& key) {
  const nlohmann::json sorted = key;  // std::map inside: sorted by column
  return std::hash<std::string>()(std::string(table) + '\n' + sorted.dump());
}

// Whether SQL text speaks of `name` as a word.
bool Mentions(const std::string& text, const std::string& name) {
  const auto is_word = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
  };
  for (std::size_t at = text.find(name); at != std::string::npos; at = text.find(name, at + 1)) {
    const bool before = at == 0 || !is_word(text[at - 1]);
    const std::size_t end = at + name.size();
    if (before && (end >= text.size() || !is_word(text[end]))) return true;
  }
  return false;
}

struct TriggerText {
  std::string table;
  std::string text;
};

constexpr const char* kPostgresTables = R"sql(
SELECT n.nspname, c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'understudy')
  AND n.nspname NOT LIKE 'pg\_toast%')sql";

constexpr const char* kPostgresTriggers = R"sql(
SELECT n.nspname, c.relname, p.prosrc
FROM pg_trigger t
JOIN pg_class c ON c.oid = t.tgrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_proc p ON p.oid = t.tgfoid
WHERE NOT t.tgisinternal)sql";

// A referential action that writes: the referencing table, because of the referenced one.
constexpr const char* kPostgresActions = R"sql(
SELECT cn.nspname, c.relname, pn.nspname, p.relname
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace
JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
WHERE k.contype = 'f' AND (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd')))sql";

}  // namespace

Written::Written(db::Session& ledger, const std::string& database, db::Session& copy) {
  std::map<std::string, std::set<std::string>> operations;  // table → what clients did to it
  // A write that was refused or rolled back explains no difference: its row stays with `rows`.
  ledger.ForEachRow(
      "SELECT table_name, key, key_after, operation FROM writes WHERE database = $1"
      " AND state NOT IN ('refused', 'rolled_back')",
      {db::Value::Text(database)}, [&](const db::Row& row) {
        operations[row[0].text].insert(row[3].text);
        for (const std::size_t i : {std::size_t{1}, std::size_t{2}}) {
          if (!row[i].is_null())
            keys_.insert(HashOf(row[0].text, ParseJson(row[i].text, "ledger")));
        }
      });
  std::set<std::string> writers;
  for (const auto& [table, done] : operations) writers.insert(table);
  tables_ = writers;

  const bool postgres = copy.Server().engine == db::Engine::kPostgres;
  std::vector<db::TableName> tables;
  std::vector<TriggerText> triggers;
  if (postgres) {
    for (const db::Row& row : copy.Query(kPostgresTables).rows) {
      tables.push_back({row[0].text, row[1].text});
    }
    for (const db::Row& row : copy.Query(kPostgresTriggers).rows) {
      triggers.push_back({db::TableName{row[0].text, row[1].text}.Display(), row[2].text});
    }
  } else {
    for (const db::Row& row :
         copy.Query("SELECT name FROM sqlite_schema WHERE type = 'table'").rows) {
      tables.push_back({"main", row[0].text});
    }
    for (const db::Row& row :
         copy.Query("SELECT tbl_name, sql, name FROM sqlite_schema WHERE type = 'trigger'").rows) {
      // What a hot copy records by is no doing of the user's.
      const std::string path = "trigger:" + db::TableName{"main", row[0].text}.Display() + "." +
                               db::DisplayIdentifier(row[2].text);
      if (IsOurs(path)) continue;
      // The header names the table itself; what the body writes stands behind BEGIN.
      const std::string text = row[1].text;
      triggers.push_back({db::TableName{"main", row[0].text}.Display(),
                          text.substr(std::min(text.find("BEGIN"), text.size()))});
    }
  }
  // What a trigger of a written table speaks of may be written too, and its triggers in turn.
  bool grew = true;
  while (grew) {
    grew = false;
    for (const TriggerText& trigger : triggers) {
      if (!writers.contains(trigger.table)) continue;
      for (const db::TableName& table : tables) {
        const std::string name = table.Display();
        if (!Mentions(trigger.text, table.name) || indirect_.contains(name)) continue;
        indirect_[name] = "a trigger on " + trigger.table + ", which clients wrote, speaks of it";
        grew = writers.insert(name).second || grew;
      }
    }
  }
  // Clients delete and re-key rows of the referenced table.
  const auto cascade = [&](const std::string& child, const std::string& parent) {
    const auto it = operations.find(parent);
    if (it == operations.end() || indirect_.contains(child)) return;
    if (it->second.contains("delete") || it->second.contains("key_update")) {
      indirect_[child] =
          "a referential action of " + parent + ", from which clients deleted, writes it";
    }
  };
  if (postgres) {
    for (const db::Row& row : copy.Query(kPostgresActions).rows) {
      cascade(db::TableName{row[0].text, row[1].text}.Display(),
              db::TableName{row[2].text, row[3].text}.Display());
    }
  } else {
    for (const db::TableName& table : tables) {
      for (const db::Row& row :
           copy.Query("SELECT \"table\", on_delete, on_update FROM pragma_foreign_key_list($1)",
                      {db::Value::Text(table.name)})
               .rows) {
        const auto writes = [](const std::string& action) {
          return action == "CASCADE" || action == "SET NULL" || action == "SET DEFAULT";
        };
        if (writes(row[1].text) || writes(row[2].text)) {
          cascade(table.Display(), db::TableName{"main", row[0].text}.Display());
        }
      }
    }
  }
}

bool Written::Knows(std::string_view table, const Json& key) const {
  return keys_.contains(HashOf(table, key));
}

}  // namespace understudy::harness
