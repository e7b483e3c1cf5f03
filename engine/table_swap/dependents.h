#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/catalog/postgres.h"
#include "engine/db/identifier.h"
#include "engine/db/session.h"
#include "engine/table_swap/key_parts.h"
#include "engine/table_swap/mover.h"

namespace understudy::table_swap {

// Something outside the set that hangs on an object of the set by its OID and would follow it out
// of service. It is rebuilt on what comes in its place, by the texts of before the exchange: they
// name the objects where the incoming ones will stand.
struct Dependent {
  std::string kind;       // foreign key, view, rule, function, policy, default, trigger
  std::string object;     // for messages: "foreign key orders_user_fkey on other.orders"
  db::TableName table;    // what is locked with the set; "" for functions
  std::string detach;     // SQL before the exchange; may be ""
  std::string attach;     // SQL after it
  KeyFinish finish = {};  // after the commit
  std::string Text() const { return kind + " " + object; }
  bool operator==(const Dependent&) const = default;
};

struct Dependents {
  std::vector<Dependent> rebuilt;
  std::vector<Unmovable> refused;
};

// REQUIRES: `set` is what goes out of service, still in its place.
Dependents FindDependents(db::Session& session, const std::vector<Movable>& set);

// What outside of the set depends on it, by identity. Behind an exchange: none may.
std::vector<std::string> StillDepending(db::Session& session, const std::vector<Movable>& set);

// A column of the set that something outside reads by name.
struct ColumnUse {
  std::string object;  // "view other.v"
  db::TableName table;
  std::string column;
  bool by_type = false;      // of views and functions, which cannot be made again on another type
  bool names_types = false;  // it has literals, casts or fields of a type of the set
};
std::vector<ColumnUse> ColumnsUsedOutside(db::Session& session, const std::vector<Movable>& set);
// What can be named of the enum, composite or range below the column's type: labels, fields.
std::set<std::string> TypeParts(db::Session& session, catalog::Oid table,
                                const std::string& column);
// Why it cannot be made again where `before` becomes `after` (nullptr: has gone); nullopt = it can.
// Types are compared by their names: those of `after` as the user will see them. A type may be
// another one of that name: what then has it as a column or in its signature, FindDependents
// refuses; `lost` are the parts that the other one does not have.
std::optional<Unmovable> Unfit(const ColumnUse& use, const catalog::Column& before,
                               const catalog::Column* after, const std::set<std::string>& lost);

// The foreign keys by which tables of the set reference tables outside of it. They leave with
// `detach` (rows of a table that is out of service must not hold back a DELETE of production);
// `attach` and `finish` put them back when the table returns. `table` is the referenced one.
// `inner_too`: those between tables of the set as well.
std::vector<Dependent> FindOutbound(db::Session& session, const std::vector<Movable>& set,
                                    bool inner_too = false);

}  // namespace understudy::table_swap
