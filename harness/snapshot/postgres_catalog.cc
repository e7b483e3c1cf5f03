#include <array>

#include "engine/base/error.h"
#include "harness/snapshot/catalog_builder.h"
#include "harness/snapshot/postgres_queries.h"

namespace understudy::harness {
namespace {

using db::Result;
using db::Row;
using db::TableName;

constexpr std::uint32_t kBoolOid = 16;
constexpr std::size_t kSequencesAtOnce = 200;

struct Query {
  std::string_view kind;  // of its rows, unless they have a column `kind`
  std::string_view file;
  int since;  // the oldest server that has the catalog
};

constexpr std::array kQueries = {
    Query{"schema", "schemas", 120000},
    Query{"table", "tables", 120000},
    Query{"column", "columns", 120000},
    Query{"constraint", "constraints", 120000},
    Query{"index", "indexes", 120000},
    Query{"trigger", "triggers", 120000},
    Query{"view", "views", 120000},
    Query{"rule", "rules", 120000},
    Query{"function", "functions", 120000},
    Query{"type", "types", 120000},
    Query{"policy", "policies", 120000},
    Query{"statistics", "statistics", 120000},
    Query{"extension", "extensions", 120000},
    Query{"publication", "publications", 120000},
    Query{"publication", "publication_schemas", 150000},
    Query{"subscription", "subscriptions", 120000},
    Query{"event-trigger", "event_triggers", 120000},
    Query{"default-privileges", "default_privileges", 120000},
    Query{"server", "foreign_servers", 120000},
    Query{"operator", "others", 120000},
    Query{"database", "settings", 120000},
};

// Every row is an object: kind, schema, object, part and signature make its path, the other
// columns are its properties.
void AddObjects(const Query& query, const Result& result, CatalogBuilder& builder) {
  constexpr std::array kPathColumns = {"kind", "schema", "object", "part", "signature"};
  std::array<int, kPathColumns.size()> at{};
  at.fill(-1);
  std::vector<std::size_t> properties;
  for (std::size_t i = 0; i < result.columns.size(); ++i) {
    const auto found = std::find(kPathColumns.begin(), kPathColumns.end(), result.columns[i].name);
    if (found == kPathColumns.end()) {
      properties.push_back(i);
    } else {
      at[static_cast<std::size_t>(found - kPathColumns.begin())] = static_cast<int>(i);
    }
  }
  for (const Row& row : result.rows) {
    const auto text = [&](std::size_t which) -> std::string_view {
      return at[which] < 0 ? std::string_view() : row[static_cast<std::size_t>(at[which])].text;
    };
    const std::string_view kind = text(0).empty() ? query.kind : text(0);
    std::string path = CatalogBuilder::Path(kind, text(1), text(2), text(3));
    if (at[4] >= 0 && !row[static_cast<std::size_t>(at[4])].is_null()) {
      path += "(" + std::string(text(4)) + ")";
    }
    CatalogObject& object = builder.Object(kind, path);
    for (const std::size_t i : properties) {
      if (row[i].is_null()) continue;
      if (result.columns[i].type_oid == kBoolOid) {
        object.properties[result.columns[i].name] = row[i].AsBool() ? "yes" : "no";
      } else {
        CatalogBuilder::Set(object, result.columns[i].name, row[i].text);
      }
    }
  }
}

// last_value and is_called stand in the sequences themselves: many are read in one statement.
void AddSequences(db::Session& session, CatalogBuilder& builder, Snapshot& snapshot) {
  Result result = session.Query(PostgresQuery("sequences"));
  const std::size_t readable = result.columns.size() - 1;
  std::vector<TableName> names;
  for (const Row& row : result.rows) {
    TableName name{row[0].text, row[1].text};
    if (row[readable].AsBool()) {
      names.push_back(std::move(name));
    } else {
      snapshot.not_checked.push_back(
          {"the value of sequence " + name.Display(), "this role may not read it"});
    }
  }
  result.columns.pop_back();
  for (Row& row : result.rows) row.pop_back();
  AddObjects({"sequence", "sequences", 0}, result, builder);

  for (std::size_t first = 0; first < names.size(); first += kSequencesAtOnce) {
    const std::size_t end = std::min(names.size(), first + kSequencesAtOnce);
    std::string sql;
    for (std::size_t i = first; i < end; ++i) {
      if (!sql.empty()) sql += "\nUNION ALL ";
      sql += "SELECT " + std::to_string(i) + ", last_value, is_called FROM " + names[i].Quoted();
    }
    for (const Row& row : session.Query(sql).rows) {
      const TableName& name = names[static_cast<std::size_t>(row[0].AsInteger())];
      CatalogObject& object =
          builder.Object("sequence", CatalogBuilder::Path("sequence", name.schema, name.name));
      object.properties["last_value"] = row[1].text;
      object.properties["is_called"] = row[2].AsBool() ? "yes" : "no";
    }
  }
}

}  // namespace

void ReadPostgresCatalog(db::Session& session, CatalogBuilder& builder, Snapshot& snapshot) {
  for (const Query& query : kQueries) {
    if (session.Server().version < query.since) continue;
    During("query " + std::string(query.file), [&] {
      AddObjects(query, session.Query(PostgresQuery(query.file)), builder);
      return 0;
    });
  }
  AddSequences(session, builder, snapshot);
  for (const Row& row : session.Query(PostgresQuery("not_checked")).rows) {
    snapshot.not_checked.push_back({row[0].text + " (" + row[1].text + ")", row[2].text});
  }
  snapshot.not_checked.push_back(
      {"roles and their memberships", "they belong to the server, not to one database"});
}

}  // namespace understudy::harness
