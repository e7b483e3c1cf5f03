#include <algorithm>
#include <cctype>
#include <map>

#include "harness/schema/readers.h"

namespace understudy::harness::internal {
namespace {

std::string Lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

bool Has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// SQLite's rules of affinity ("Datatypes In SQLite", section 3.1), but for the declared types that
// applications fill by a convention of their own: dates as ISO text, booleans as 0 and 1.
std::string BaseType(const std::string& declared, bool strict) {
  const std::string type = Lower(declared);
  if (strict && type == "any") return "any";
  if (Has(type, "int") && !Has(type, "interval") && !Has(type, "point")) return "integer";
  if (Has(type, "bool")) return "integer";
  if (Has(type, "char") || Has(type, "clob") || Has(type, "text") || Has(type, "json") ||
      Has(type, "date") || Has(type, "time") || Has(type, "uuid") || Has(type, "string")) {
    return "text";
  }
  if (type.empty()) return "any";
  if (Has(type, "blob") || Has(type, "binary")) return "blob";
  return "real";  // REAL, FLOAT, DOUBLE and the NUMERIC affinity
}

// varchar(20), decimal(10,2): SQLite does not enforce them, whoever wrote them meant them.
void ReadLength(SchemaColumn& column) {
  const auto open = column.type.find('(');
  if (open == std::string::npos) return;
  int numbers[2] = {-1, -1};
  if (std::sscanf(column.type.c_str() + open, "(%d , %d", &numbers[0], &numbers[1]) < 1) return;
  if (column.base_type == "text") column.max_length = numbers[0];
  if (column.base_type == "real") {
    column.precision = numbers[0];
    column.scale = std::max(0, numbers[1]);
  }
}

struct Token {
  std::string text;   // without its quotes
  std::size_t begin;  // in the statement
  std::size_t end;
  bool quoted;
};

std::vector<Token> Tokens(std::string_view sql) {
  std::vector<Token> tokens;
  std::size_t i = 0;
  while (i < sql.size()) {
    const char c = sql[i];
    const std::size_t begin = i;
    if (std::isspace(static_cast<unsigned char>(c)) != 0) {
      ++i;
    } else if (sql.substr(i, 2) == "--") {
      i = std::min(sql.find('\n', i), sql.size());
    } else if (sql.substr(i, 2) == "/*") {
      const auto end = sql.find("*/", i + 2);
      i = end == std::string_view::npos ? sql.size() : end + 2;
    } else if (c == '\'' || c == '"' || c == '`' || c == '[') {
      const char close = c == '[' ? ']' : c;
      std::string text;
      for (++i; i < sql.size(); ++i) {
        if (sql[i] != close) {
          text += sql[i];
        } else if (close != ']' && i + 1 < sql.size() && sql[i + 1] == close) {
          text += sql[i++];
        } else {
          break;
        }
      }
      i = std::min(i + 1, sql.size());
      tokens.push_back({std::move(text), begin, i, true});
    } else if (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' ||
               static_cast<unsigned char>(c) >= 0x80) {
      while (i < sql.size() &&
             (std::isalnum(static_cast<unsigned char>(sql[i])) != 0 || sql[i] == '_' ||
              sql[i] == '$' || static_cast<unsigned char>(sql[i]) >= 0x80)) {
        ++i;
      }
      tokens.push_back({std::string(sql.substr(begin, i - begin)), begin, i, false});
    } else {
      tokens.push_back({std::string(1, c), begin, ++i, false});
    }
  }
  return tokens;
}

// SQLite keeps checks only in the text of CREATE TABLE.
void ReadChecks(std::string_view sql, SchemaTable& table) {
  const std::vector<Token> tokens = Tokens(sql);
  for (std::size_t i = 0; i + 1 < tokens.size(); ++i) {
    if (tokens[i].quoted || Lower(tokens[i].text) != "check") continue;
    if (tokens[i + 1].quoted || tokens[i + 1].text != "(") continue;
    SchemaCheck check;
    if (i >= 2 && Lower(tokens[i - 2].text) == "constraint") check.name = tokens[i - 1].text;
    int depth = 0;
    std::size_t last = i + 1;
    for (; last < tokens.size(); ++last) {
      if (tokens[last].quoted) {
        if (table.Column(tokens[last].text) == nullptr) continue;
      } else if (tokens[last].text == "(") {
        ++depth;
      } else if (tokens[last].text == ")") {
        if (--depth == 0) break;
      }
      for (const SchemaColumn& column : table.columns) {
        if (Lower(column.name) == Lower(tokens[last].text) &&
            std::find(check.columns.begin(), check.columns.end(), column.name) ==
                check.columns.end()) {
          check.columns.push_back(column.name);
        }
      }
    }
    if (last >= tokens.size()) return;
    check.expression = sql.substr(tokens[i + 1].end, tokens[last].begin - tokens[i + 1].end);
    const auto begin = check.expression.find_first_not_of(" \t\r\n");
    const auto end = check.expression.find_last_not_of(" \t\r\n");
    if (begin != std::string::npos) {
      check.expression = check.expression.substr(begin, end - begin + 1);
    }
    table.checks.push_back(std::move(check));
    i = last;
  }
}

void ReadColumns(db::Session& session, SchemaTable& table, bool strict) {
  SchemaKey primary{"", {}, true};
  std::map<std::int64_t, std::string> key;
  const auto rows = session
                        .Query(
                            "SELECT name, type, \"notnull\", dflt_value, pk, hidden FROM "
                            "pragma_table_xinfo(?1, 'main') ORDER BY cid",
                            {db::Value::Text(table.name.name)})
                        .rows;
  for (const db::Row& row : rows) {
    if (row[5].AsInteger() == 1) continue;  // a hidden column of a virtual table
    SchemaColumn column;
    column.name = row[0].text;
    column.type = row[1].TextOr("");
    column.base_type = BaseType(column.type, strict);
    ReadLength(column);
    column.nullable = !row[2].AsBool() && row[4].AsInteger() == 0;
    column.has_default = !row[3].is_null();
    column.default_text = row[3].TextOr("");
    column.generated = row[5].AsInteger() != 0;
    if (row[4].AsInteger() > 0) key[row[4].AsInteger()] = column.name;
    table.columns.push_back(std::move(column));
  }
  if (key.empty()) return;
  for (const auto& [position, name] : key) primary.columns.push_back(name);
  if (primary.columns.size() == 1 && !table.without_rowid) {
    for (SchemaColumn& column : table.columns) {
      if (column.name != primary.columns[0] || Lower(column.type) != "integer") continue;
      column.has_default = true;  // the rowid's alias
      column.sequence_default = true;
    }
  }
  table.keys.push_back(std::move(primary));
}

void ReadIndexes(db::Session& session, SchemaTable& table) {
  const auto indexes = session
                           .Query(
                               "SELECT name, origin, partial FROM pragma_index_list(?1, 'main') "
                               "WHERE \"unique\" = 1 ORDER BY name",
                               {db::Value::Text(table.name.name)})
                           .rows;
  for (const db::Row& index : indexes) {
    SchemaKey key{index[0].text, {}, false};
    bool plain = !index[2].AsBool();
    std::string text;
    for (const db::Row& part :
         session
             .Query("SELECT name FROM pragma_index_xinfo(?1, 'main') WHERE key = 1 ORDER BY seqno",
                    {index[0]})
             .rows) {
      if (part[0].is_null()) {
        plain = false;  // an expression
        text = session
                   .Scalar(
                       "SELECT coalesce(sql, '') FROM main.sqlite_schema WHERE type = 'index' "
                       "AND name = ?1",
                       {index[0]})
                   .text;
      } else {
        key.columns.push_back(part[0].text);
      }
    }
    if (index[1].text == "pk") {
      // A primary key that is not the rowid: its index says nothing new but the name.
      for (SchemaKey& known : table.keys) {
        if (known.primary) known.name = key.name;
      }
      continue;
    }
    if (plain) {
      table.keys.push_back(std::move(key));
      continue;
    }
    std::vector<Token> tokens = Tokens(text);
    for (std::string& name : key.columns) tokens.push_back({name, 0, 0, true});
    for (SchemaColumn& column : table.columns) {
      for (std::size_t i = text.empty() ? 0 : 5; i < tokens.size(); ++i) {  // past CREATE … ON t
        if (Lower(tokens[i].text) == Lower(column.name)) column.in_other_unique = true;
      }
    }
  }
}

void ReadForeignKeys(db::Session& session, SchemaTable& table) {
  std::map<std::int64_t, SchemaForeignKey> keys;
  for (const db::Row& row : session
                                .Query("SELECT id, \"table\", \"from\", \"to\", on_delete FROM "
                                       "pragma_foreign_key_list(?1, 'main') ORDER BY id, seq",
                                       {db::Value::Text(table.name.name)})
                                .rows) {
    SchemaForeignKey& key = keys[row[0].AsInteger()];
    key.to = {"main", row[1].text};
    key.columns.push_back(row[2].text);
    if (!row[3].is_null()) key.to_columns.push_back(row[3].text);
    const std::string action = Lower(row[4].text);
    key.on_delete = action == "cascade"       ? 'c'
                    : action == "restrict"    ? 'r'
                    : action == "set null"    ? 'n'
                    : action == "set default" ? 'd'
                                              : 'a';
  }
  for (auto& [id, key] : keys) {
    key.name = "foreign key " + std::to_string(id);
    table.foreign_keys.push_back(std::move(key));
  }
}

}  // namespace

Schema ReadSqliteSchema(db::Session& session) {
  Schema schema;
  schema.engine = db::Engine::kSqlite;
  const auto tables = session
                          .Query(R"sql(
SELECT l.name, l.wr, l.strict, coalesce(s.sql, '')
FROM pragma_table_list l
JOIN main.sqlite_schema s ON s.type = 'table' AND s.name = l.name
WHERE l.schema = 'main' AND l.type = 'table' AND l.name NOT LIKE 'sqlite\_%' ESCAPE '\'
  AND l.name NOT LIKE '\_understudy%' ESCAPE '\' AND l.name NOT LIKE '\_migration%' ESCAPE '\'
ORDER BY l.name
)sql")
                          .rows;
  for (const db::Row& row : tables) {
    SchemaTable& table = schema.tables.emplace_back();
    table.name = {"main", row[0].text};
    table.without_rowid = row[1].AsBool();
    ReadColumns(session, table, row[2].AsBool());
    ReadIndexes(session, table);
    ReadForeignKeys(session, table);
    ReadChecks(row[3].text, table);
  }
  // Names in SQLite match whatever their case; a key without columns means the primary key.
  for (SchemaTable& table : schema.tables) {
    for (SchemaForeignKey& key : table.foreign_keys) {
      for (const SchemaTable& parent : schema.tables) {
        if (Lower(parent.name.name) != Lower(key.to.name)) continue;
        key.to = parent.name;
        if (key.to_columns.empty() && !parent.keys.empty() && parent.keys[0].primary) {
          key.to_columns = parent.keys[0].columns;
        }
        for (std::string& name : key.to_columns) {
          for (const SchemaColumn& column : parent.columns) {
            if (Lower(column.name) == Lower(name)) name = column.name;
          }
        }
      }
      for (std::string& name : key.columns) {
        for (const SchemaColumn& column : table.columns) {
          if (Lower(column.name) == Lower(name)) name = column.name;
        }
      }
    }
  }
  return schema;
}

}  // namespace understudy::harness::internal
