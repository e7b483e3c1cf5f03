#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "engine/db/identifier.h"
#include "engine/db/session.h"

// What whoever makes rows must know of a database, read from its catalog: generated fixtures,
// writers and readers, and the probes of `write-after` and `constraints`. Written apart from
// engine/catalog on purpose: the judge is independent of the engine.
namespace understudy::harness {

class ColumnPlan;

struct SchemaColumn {
  std::string name;
  std::string type;       // as SQL writes it: "numeric(12,2)", "public.mood", "integer[]"
  std::string base_type;  // what to generate: int2 int4 int8 numeric float4 float8 bool text
                          // varchar bpchar bytea uuid date time timetz timestamp timestamptz
                          // interval json jsonb inet cidr macaddr bit varbit int4range … tsvector
                          // point enum array xml money …; SQLite: integer real text blob any.
                          // Domains: the type below them. "" = none that we know how to make
  std::string element_type;              // of an array: its base_type
  std::vector<std::string> enum_labels;  // of an enum or an array of one, in order
  int max_length = -1;                   // varchar(n), char(n), bit(n)
  int precision = -1;                    // numeric(p, s)
  int scale = -1;
  bool nullable = true;
  bool has_default = false;  // also serial and identity
  bool generated = false;    // a generated column: never written
  bool identity_always = false;
  bool sequence_default = false;  // the default or identity draws from a sequence / rowid alias
  // A unique index that is partial or over an expression, or an exclusion constraint, speaks of it:
  // no SchemaKey, but values had better differ.
  bool in_other_unique = false;
  std::string default_text;
};

struct SchemaKey {  // a primary key or a unique constraint or index over plain columns, not partial
  std::string name;
  std::vector<std::string> columns;
  bool primary = false;
};

struct SchemaForeignKey {
  std::string name;
  std::vector<std::string> columns;
  db::TableName to;
  std::vector<std::string> to_columns;
  char on_delete = 'a';  // a no action, r restrict, c cascade, n set null, d set default
};

struct SchemaCheck {
  std::string name;
  std::string expression;            // as the catalog prints it; also of a domain
  std::vector<std::string> columns;  // that it speaks of
};

struct SchemaTable {
  db::TableName name;
  std::vector<SchemaColumn> columns;  // in their order; dropped ones are not there
  std::vector<SchemaKey> keys;        // the primary key first
  std::vector<SchemaForeignKey> foreign_keys;
  std::vector<SchemaCheck> checks;
  // What a partition's bounds demand, as one check: "" where any row finds its partition.
  std::string partition_check;
  bool partitioned = false;  // a partitioned parent; its partitions are not listed themselves
  bool without_rowid = false;

  const SchemaColumn* Column(std::string_view name) const;
  // The columns that identify a row: the primary key, else a unique key of not-null columns; empty
  // when there is neither.
  std::vector<std::string> RowKey() const;
};

struct Schema {
  db::Engine engine = db::Engine::kPostgres;
  std::vector<SchemaTable> tables;  // sorted by name; ordinary and partitioned tables of the user's

  const SchemaTable* Find(const db::TableName& name) const;
  // Parents before children; a cycle is cut at a nullable key where there is one.
  std::vector<const SchemaTable*> InForeignKeyOrder() const;
};

// Reads everything but the server's own schemas, extension members and the engine's own schemas
// (`understudy*`; SQLite: `_understudy*`, `_migration*`).
Schema ReadSchema(db::Session& session);

// Makes values that a column takes: right type, length, precision, enum label, and the checks that
// it understands (comparisons with constants, IN lists, lengths, ranges, regular prefixes; tried
// against the server by the caller where it does not). Deterministic by the given generator.
// REQUIRES: the table outlives it. Safe for several threads.
class ValueMaker {
 public:
  explicit ValueMaker(const SchemaTable& table);
  ~ValueMaker();
  ValueMaker(ValueMaker&&) noexcept;

  // Never NULL for a not-null column; NULL now and then for a nullable one when `allow_null`.
  // `serial`: a number that no other call had; what must be unique is made of it.
  db::Value Make(const SchemaColumn& column, Random& random, std::int64_t serial,
                 bool allow_null = true) const;
  // Whether we know how to make values of this column at all.
  static bool CanMake(const SchemaColumn& column);
  // How this column's values are made; it writes text forms without a Value around them.
  const ColumnPlan& Plan(const SchemaColumn& column) const;
  // Checks that were not understood: their rows have to be tried against the server.
  const std::vector<std::string>& NotUnderstood() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace understudy::harness
