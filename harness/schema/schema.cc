#include "harness/schema/schema.h"

#include <algorithm>
#include <set>

#include "harness/schema/readers.h"

namespace understudy::harness {

const SchemaColumn* SchemaTable::Column(std::string_view wanted) const {
  for (const SchemaColumn& column : columns) {
    if (column.name == wanted) return &column;
  }
  return nullptr;
}

std::vector<std::string> SchemaTable::RowKey() const {
  for (const SchemaKey& key : keys) {
    const bool identifies =
        key.primary ||
        std::all_of(key.columns.begin(), key.columns.end(), [&](const std::string& name_of) {
          const SchemaColumn* column = Column(name_of);
          return column != nullptr && !column->nullable;
        });
    if (identifies) return key.columns;
  }
  return {};
}

const SchemaTable* Schema::Find(const db::TableName& name) const {
  const auto it = std::lower_bound(
      tables.begin(), tables.end(), name,
      [](const SchemaTable& table, const db::TableName& wanted) { return table.name < wanted; });
  return it != tables.end() && it->name == name ? &*it : nullptr;
}

std::vector<const SchemaTable*> Schema::InForeignKeyOrder() const {
  std::vector<const SchemaTable*> order;
  std::set<db::TableName> placed;
  const auto waits_for = [&](const SchemaTable& table, const SchemaForeignKey& key) {
    return key.to != table.name && !placed.contains(key.to) && Find(key.to) != nullptr;
  };
  // A row may come before its parent when the key can be NULL at first.
  const auto can_wait = [](const SchemaTable& table, const SchemaForeignKey& key) {
    return std::any_of(key.columns.begin(), key.columns.end(), [&](const std::string& name) {
      const SchemaColumn* column = table.Column(name);
      return column != nullptr && column->nullable;
    });
  };
  while (order.size() < tables.size()) {
    const SchemaTable* next = nullptr;
    const SchemaTable* by_cut = nullptr;
    const SchemaTable* first = nullptr;
    for (const SchemaTable& table : tables) {
      if (placed.contains(table.name)) continue;
      if (first == nullptr) first = &table;
      bool ready = true;
      bool cuttable = true;
      for (const SchemaForeignKey& key : table.foreign_keys) {
        if (!waits_for(table, key)) continue;
        ready = false;
        if (!can_wait(table, key)) cuttable = false;
      }
      if (ready) {
        next = &table;
        break;
      }
      if (cuttable && by_cut == nullptr) by_cut = &table;
    }
    if (next == nullptr) next = by_cut != nullptr ? by_cut : first;
    placed.insert(next->name);
    order.push_back(next);
  }
  return order;
}

Schema ReadSchema(db::Session& session) {
  Schema schema = session.Server().engine == db::Engine::kPostgres
                      ? internal::ReadPostgresSchema(session)
                      : internal::ReadSqliteSchema(session);
  std::sort(schema.tables.begin(), schema.tables.end(),
            [](const SchemaTable& a, const SchemaTable& b) { return a.name < b.name; });
  for (SchemaTable& table : schema.tables) {
    std::stable_sort(table.keys.begin(), table.keys.end(),
                     [](const SchemaKey& a, const SchemaKey& b) { return a.primary > b.primary; });
  }
  return schema;
}

}  // namespace understudy::harness
