#include "engine/table_swap/references.h"

#include <algorithm>
#include <map>
#include <set>

#include "engine/capture/dropped.h"
#include "engine/catalog/postgres.h"

namespace understudy::table_swap {
namespace {

using capture::CapturedTable;

capture::Oid OidOf(db::Session& session, const Manifest& manifest, const db::TableName& name) {
  if (const SetTable* table = manifest.Find(name)) return table->new_oid;
  const auto oid =
      session.MaybeScalar("SELECT to_regclass($1)::oid", {db::Value::Text(name.Quoted())});
  return oid && !oid->is_null() ? static_cast<capture::Oid>(oid->AsInteger()) : 0;
}

const CapturedTable* WithMirror(const std::vector<CapturedTable>& captured, capture::Oid mirror) {
  const auto it = std::ranges::find(captured, mirror, &CapturedTable::mirror);
  return it == captured.end() ? nullptr : &*it;
}

// Values that are equal on the one side are equal on the other.
bool KeepsEquality(const catalog::Column& before, const catalog::Column& after) {
  const auto whole_number = [](const std::string& type) {
    return type == "smallint" || type == "integer" || type == "bigint";
  };
  if (whole_number(before.base_type) && whole_number(after.base_type)) return true;
  return before.type == after.type && before.collation == after.collation;
}

// What production holds to, read at once: there may be a thousand tables.
class Production {
 public:
  Production(db::Session& session, const std::vector<CapturedTable>& captured)
      : captured_(captured) {
    std::vector<catalog::Oid> watched;
    std::vector<catalog::Oid> both;
    for (const CapturedTable& table : captured) {
      watched.push_back(table.watched);
      both.push_back(table.watched);
      both.push_back(table.mirror);
    }
    for (catalog::Table& table : catalog::ReadTablesByOid(session, both)) {
      tables_.emplace(table.oid, std::move(table));
    }
    std::set<catalog::Oid> switched_off;
    for (const db::Row& row :
         session
             .Query("SELECT DISTINCT tgconstraint FROM pg_trigger WHERE tgconstraint <> 0 AND "
                    "tgenabled NOT IN ('O', 'A')")
             .rows) {
      switched_off.insert(static_cast<catalog::Oid>(row[0].AsInteger()));
    }
    for (catalog::ForeignKey& key : catalog::ReadForeignKeys(session, watched)) {
      if (key.validated && !switched_off.contains(key.oid)) keys_.push_back(std::move(key));
    }
  }

  // `to_set`: the referenced table is one of the new ones.
  bool Enforces(const capture::Reference& reference, bool to_set) const {
    const CapturedTable* from = WithMirror(captured_, reference.from);
    const CapturedTable* to = WithMirror(captured_, reference.to);
    if (from == nullptr || (to == nullptr && to_set)) return false;  // rows are not production's
    std::vector<std::string> from_names;
    std::vector<std::string> to_names = reference.to_columns;
    if (!Old(*from, reference.from_columns, from_names)) return false;
    if (to != nullptr && !Old(*to, reference.to_columns, to_names)) return false;
    const catalog::Oid old_to = to == nullptr ? reference.to : to->watched;
    return std::ranges::any_of(keys_, [&](const catalog::ForeignKey& key) {
      if (key.from_oid != from->watched || key.to_oid != old_to ||
          key.match_full != reference.match_full || key.from_columns.size() != from_names.size()) {
        return false;
      }
      for (std::size_t i = 0; i < from_names.size(); ++i) {
        const auto it = std::ranges::find(key.from_columns, from_names[i]);
        if (it == key.from_columns.end()) return false;
        const auto place = static_cast<std::size_t>(it - key.from_columns.begin());
        if (key.to_columns.at(place) != to_names.at(i)) return false;
      }
      return true;
    });
  }

 private:
  // Production's names of columns that go over as they are; false = rows or values change.
  bool Old(const CapturedTable& table, const std::vector<std::string>& columns,
           std::vector<std::string>& names) const {
    const auto before = tables_.find(table.watched);
    const auto after = tables_.find(table.mirror);
    if (!table.mapping.only.empty() || before == tables_.end() || after == tables_.end()) {
      return false;
    }
    names.clear();
    for (const std::string& column : columns) {
      const auto source =
          std::ranges::find(table.mapping.columns, column, &capture::ColumnSource::column);
      if (source == table.mapping.columns.end()) return false;
      const auto old =
          std::ranges::find_if(before->second.columns, [&](const catalog::Column& one) {
            return source->expression == db::QuoteIdentifier(one.name);
          });
      const catalog::Column* fresh = after->second.Find(column);
      if (old == before->second.columns.end() || fresh == nullptr || !KeepsEquality(*old, *fresh)) {
        return false;
      }
      names.push_back(old->name);
    }
    return true;
  }

  const std::vector<CapturedTable>& captured_;
  std::map<catalog::Oid, catalog::Table> tables_;
  std::vector<catalog::ForeignKey> keys_;
};

}  // namespace

std::vector<WaitingReference> WaitingReferences(db::Session& session, const Manifest& manifest,
                                                const std::vector<CapturedTable>& captured,
                                                bool drop) {
  std::vector<WaitingReference> all;
  if (manifest.foreign_keys.empty()) return all;
  const Production production(session, captured);
  for (const DeferredForeignKey& key : manifest.foreign_keys) {
    if (!key.validated) continue;
    WaitingReference one;
    one.key = &key;
    one.reference = {OidOf(session, manifest, key.table), key.columns,
                     OidOf(session, manifest, key.references), key.referenced_columns,
                     key.definition.find(" MATCH FULL") != std::string::npos};
    one.enforced = production.Enforces(one.reference, key.references_set);
    one.to_uncaptured = WithMirror(captured, one.reference.to) == nullptr;
    all.push_back(std::move(one));
  }
  if (!drop) return all;
  std::vector<capture::Reference> references;
  std::vector<bool> enforced;
  for (const WaitingReference& one : all) {
    references.push_back(one.reference);
    enforced.push_back(one.enforced);
  }
  const auto reached = capture::DroppedRows::Reaches(captured, references, enforced);
  std::size_t place = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (reached[i]) all[i].dropped_by = place++;
  }
  return all;
}

std::vector<capture::Reference> DroppedBy(const std::vector<WaitingReference>& references) {
  std::vector<capture::Reference> some;
  for (const WaitingReference& one : references) {
    if (one.dropped_by) some.push_back(one.reference);
  }
  return some;
}

}  // namespace understudy::table_swap
