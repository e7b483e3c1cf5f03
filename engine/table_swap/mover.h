#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/json.h"
#include "engine/db/session.h"

namespace understudy::table_swap {

// One object that stands in a schema by itself and is moved by ALTER … SET SCHEMA. What follows its
// owner (indexes, constraints, row and array types, owned and identity sequences, TOAST) is none;
// what SET SCHEMA of a table leaves behind (its partitions, extended statistics, unowned sequences)
// is one of its own.
struct Movable {
  std::string kind;  // as ALTER takes it: TABLE, VIEW, SEQUENCE, FUNCTION, STATISTICS, TYPE, …
  std::uint32_t oid = 0;
  std::string schema;
  std::string name;       // not quoted
  std::string signature;  // "(integer, public.t)", "USING gist"; "" where the name says all

  // The same kind, name and signature in the same schema: what another database, or the other side
  // of a swap, has in its place. Types of ours in signatures must be named alike in both.
  std::string Key() const;
  std::string Identity() const;  // "public"."f"(integer): for SQL
  std::string Display() const;   // function public.f(integer): for messages

  bool IsRoutine() const;

  Json ToJson() const;
  static Movable FromJson(const Json& json);
};

// Every such object of the schemas that is no member of an extension, in the order in which they
// are to be moved: routines and operators before the types in their signatures, so that the texts
// hold while statements run one after the other. Kinds that cannot be moved (see Unmovable) are
// left out.
std::vector<Movable> ListMovables(db::Session& session, const std::vector<std::string>& schemas);

// The OIDs of the tables among them, as a parameter.
db::Value TableOids(const std::vector<Movable>& objects);

// "ALTER TABLE "public"."t" SET SCHEMA "x";"
std::string MoveSql(const Movable& object, const std::string& to_schema);

// The same object when it stands in another schema. REQUIRES: its signature names no moved type.
Movable MovedTo(Movable object, const std::string& schema);

// An object of the schemas that belongs to no schema or has no SET SCHEMA, for refusals by name:
// casts of its types, event triggers that call its functions, rules of publications, …
struct Unmovable {
  std::string object;  // "cast (public.pair AS pg_catalog.text)"
  std::string why;
};
std::vector<Unmovable> ListUnmovables(db::Session& session,
                                      const std::vector<std::string>& schemas);

}  // namespace understudy::table_swap
