// understudy/schema.h: an SQLite schema written as C++ types. The same schema as one in SQL: Ddl()
// gives the schema.sql that `understudy migrate` and `understudy codegen` take.
//
//   using namespace understudy::schema;
//   struct Student { std::int64_t id; std::string name; std::optional<std::string> email; };
//   constexpr auto students = Table<Student>(
//       "students", Column(&Student::id, "id", PrimaryKey, AutoIncrement),
//       Column(&Student::name, "name", Unique), Column(&Student::email, "email"),
//       Index("students_by_name", "name"), Query("select-one-by name"));
//   struct Grade { std::int64_t student_id; double mark; };
//   constexpr auto grades = Table<Grade>(
//       "grades", Column(&Grade::student_id, "student_id", References("students", "id"),
//                        OnDeleteCascade),
//       Column(&Grade::mark, "mark", Default(4.0)));
//   struct Mark { std::string name; double mark; };
//   constexpr auto marks = View<Mark>("marks", From(students), Join(grades),
//                                     Select("students", "name"), Select("grades", "mark"));
//   std::cout << Ddl(students, grades, marks);
//
// A column is NOT NULL unless its member is a std::optional. Everything is constexpr; a wrong
// definition (no column, two primary keys, a join without a foreign key) does not compile where it
// stands in a constexpr, and throws std::logic_error elsewhere.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace understudy::schema {

// Up to N things, in a constant expression.
template <typename T, std::size_t N>
struct List {
  std::array<T, N> items{};
  std::size_t size = 0;
  constexpr void Add(const T& item) {
    if (size == N) throw std::logic_error("too many in one definition");
    items[size++] = item;
  }
  constexpr const T* begin() const { return items.data(); }
  constexpr const T* end() const { return items.data() + size; }
  constexpr bool empty() const { return size == 0; }
};
using Names = List<std::string_view, 8>;

enum class OnDelete { kNone, kCascade, kSetNull };

// ---- what a schema is made of ----

struct DefaultValue {
  enum class Kind { kNone, kInteger, kReal, kText, kExpression };
  Kind kind = Kind::kNone;
  std::int64_t integer = 0;
  double real = 0;
  std::string_view text;  // the text, or the SQL of an expression
};

struct ColumnSpec {
  std::string_view name;
  std::string_view type;  // INTEGER, REAL, TEXT, BLOB, BOOLEAN, "" = any
  bool not_null = false;
  bool primary_key = false;
  bool autoincrement = false;
  bool unique = false;
  DefaultValue default_value;
  std::string_view references;  // a table; "" = none
  std::string_view references_column;
  OnDelete on_delete = OnDelete::kNone;
  std::string_view collate;
  std::string_view check;         // an SQL condition
  std::string_view generated;     // an SQL expression; a virtual column
  std::string_view renamed_from;  // its name in the database that is migrated
};

struct KeySpec {  // of several columns
  Names columns;
};
struct IndexSpec {
  std::string_view name;
  Names columns;
  bool unique = false;
  std::string_view where;  // a partial index
};
struct ForeignKeySpec {
  Names columns;
  std::string_view parent;
  Names parent_columns;
  OnDelete on_delete = OnDelete::kNone;
};

struct TableSpec {
  std::string_view name;
  List<ColumnSpec, 128> columns;
  Names primary_key;  // where it has several columns
  List<KeySpec, 8> unique;
  List<IndexSpec, 16> indexes;
  List<ForeignKeySpec, 8> foreign_keys;
  List<std::string_view, 32> queries;  // @query annotations
  bool without_rowid = false;
  bool strict = false;
  std::string_view renamed_from;
};

struct ViewColumn {
  std::string_view table;
  std::string_view column;
  std::string_view as;
};
struct JoinSpec {
  const TableSpec* table = nullptr;
  bool left = false;
};
struct ViewSpec {
  std::string_view name;
  std::string_view sql;  // a SELECT; "" = made from the rest
  const TableSpec* from = nullptr;
  List<JoinSpec, 8> joins;
  List<ViewColumn, 64> columns;
  std::string_view where;
  List<std::string_view, 32> queries;
};

// ---- options of a column ----

namespace internal {
template <typename Set>
struct ColumnOption {
  Set set;
  constexpr void Apply(ColumnSpec& column) const { set(column); }
};
template <typename Set>
ColumnOption(Set) -> ColumnOption<Set>;

template <typename T>
struct Unwrapped {
  using type = T;
  static constexpr bool optional = false;
};
template <typename T>
struct Unwrapped<std::optional<T>> {
  using type = T;
  static constexpr bool optional = true;
};

template <typename T>
constexpr std::string_view SqlType() {
  if constexpr (std::is_same_v<T, bool>) {
    return "BOOLEAN";
  } else if constexpr (std::is_integral_v<T> || std::is_enum_v<T>) {
    return "INTEGER";
  } else if constexpr (std::is_floating_point_v<T>) {
    return "REAL";
  } else if constexpr (std::is_convertible_v<T, std::string_view>) {
    return "TEXT";
  } else if constexpr (std::is_same_v<T, std::vector<std::uint8_t>>) {
    return "BLOB";
  } else {
    return "";  // understudy::Value: anything
  }
}
}  // namespace internal

inline constexpr internal::ColumnOption PrimaryKey{[](ColumnSpec& c) { c.primary_key = true; }};
inline constexpr internal::ColumnOption AutoIncrement{
    [](ColumnSpec& c) { c.autoincrement = true; }};
inline constexpr internal::ColumnOption Unique{[](ColumnSpec& c) { c.unique = true; }};
inline constexpr internal::ColumnOption OnDeleteCascade{
    [](ColumnSpec& c) { c.on_delete = OnDelete::kCascade; }};
inline constexpr internal::ColumnOption OnDeleteSetNull{
    [](ColumnSpec& c) { c.on_delete = OnDelete::kSetNull; }};

// A literal: a number, a text, true or false.
template <typename T>
constexpr auto Default(const T& value) {
  DefaultValue spec;
  if constexpr (std::is_integral_v<T>) {
    spec.kind = DefaultValue::Kind::kInteger;
    spec.integer = static_cast<std::int64_t>(value);
  } else if constexpr (std::is_floating_point_v<T>) {
    spec.kind = DefaultValue::Kind::kReal;
    spec.real = static_cast<double>(value);
  } else {
    spec.kind = DefaultValue::Kind::kText;
    spec.text = value;
  }
  return internal::ColumnOption{[spec](ColumnSpec& c) { c.default_value = spec; }};
}
// An SQL expression, such as datetime('now').
constexpr auto DefaultExpr(std::string_view sql) {
  return internal::ColumnOption{[sql](ColumnSpec& c) {
    c.default_value.kind = DefaultValue::Kind::kExpression;
    c.default_value.text = sql;
  }};
}
constexpr auto References(std::string_view table, std::string_view column) {
  return internal::ColumnOption{[table, column](ColumnSpec& c) {
    c.references = table;
    c.references_column = column;
  }};
}
constexpr auto Collate(std::string_view name) {
  return internal::ColumnOption{[name](ColumnSpec& c) { c.collate = name; }};
}
constexpr auto Check(std::string_view condition) {
  return internal::ColumnOption{[condition](ColumnSpec& c) { c.check = condition; }};
}
constexpr auto Generated(std::string_view sql) {
  return internal::ColumnOption{[sql](ColumnSpec& c) { c.generated = sql; }};
}

// ---- parts of a table ----

namespace internal {
template <typename Add>
struct TablePart {
  Add add;
  constexpr void AddTo(TableSpec& table) const { add(table); }
};
template <typename Add>
TablePart(Add) -> TablePart<Add>;

template <typename... Text>
constexpr Names MakeNames(const Text&... names) {
  Names list;
  (list.Add(std::string_view(names)), ...);
  return list;
}
}  // namespace internal

// The old name of a column, among its options, or of a table, among its parts.
struct RenamedFrom {
  std::string_view name;
  constexpr explicit RenamedFrom(std::string_view old) : name(old) {}
  constexpr void Apply(ColumnSpec& column) const { column.renamed_from = name; }
  constexpr void AddTo(TableSpec& table) const { table.renamed_from = name; }
};

template <typename Row, typename Member, typename... Options>
constexpr auto Column(Member Row::*, std::string_view name, const Options&... options) {
  ColumnSpec column;
  column.name = name;
  using Type = internal::Unwrapped<Member>;
  column.type = internal::SqlType<typename Type::type>();
  column.not_null = !Type::optional;
  (options.Apply(column), ...);
  if (column.autoincrement && !(column.primary_key && column.type == "INTEGER")) {
    throw std::logic_error("AutoIncrement needs an integer PrimaryKey");
  }
  return internal::TablePart{[column](TableSpec& table) { table.columns.Add(column); }};
}

template <typename... Text>
constexpr auto PrimaryKeyOf(const Text&... columns) {
  return internal::TablePart{
      [names = internal::MakeNames(columns...)](TableSpec& table) { table.primary_key = names; }};
}
template <typename... Text>
constexpr auto UniqueOf(const Text&... columns) {
  return internal::TablePart{
      [names = internal::MakeNames(columns...)](TableSpec& table) { table.unique.Add({names}); }};
}
template <typename... Text>
constexpr auto Index(std::string_view name, const Text&... columns) {
  return internal::TablePart{[name, names = internal::MakeNames(columns...)](TableSpec& table) {
    table.indexes.Add({name, names, false, {}});
  }};
}
template <typename... Text>
constexpr auto UniqueIndex(std::string_view name, const Text&... columns) {
  return internal::TablePart{[name, names = internal::MakeNames(columns...)](TableSpec& table) {
    table.indexes.Add({name, names, true, {}});
  }};
}
constexpr auto ForeignKey(const Names& columns, std::string_view parent,
                          const Names& parent_columns, OnDelete on_delete = OnDelete::kNone) {
  return internal::TablePart{[=](TableSpec& table) {
    table.foreign_keys.Add({columns, parent, parent_columns, on_delete});
  }};
}
// The columns of a ForeignKey: Of("a", "b").
template <typename... Text>
constexpr Names Of(const Text&... columns) {
  return internal::MakeNames(columns...);
}

// A typed query for `understudy codegen`: "select-by name order id desc".
struct Query {
  std::string_view text;
  constexpr explicit Query(std::string_view query) : text(query) {}
  constexpr void AddTo(TableSpec& table) const { table.queries.Add(text); }
  constexpr void AddTo(ViewSpec& view) const { view.queries.Add(text); }
};

inline constexpr internal::TablePart WithoutRowid{
    [](TableSpec& table) { table.without_rowid = true; }};
inline constexpr internal::TablePart Strict{[](TableSpec& table) { table.strict = true; }};

template <typename Row>
struct TableOf : TableSpec {};
template <typename Row>
struct ViewOf : ViewSpec {};

template <typename Row, typename... Parts>
constexpr TableOf<Row> Table(std::string_view name, const Parts&... parts) {
  TableOf<Row> table;
  table.name = name;
  (parts.AddTo(table), ...);
  if (table.columns.empty()) throw std::logic_error("a table needs a column");
  std::size_t keys = table.primary_key.empty() ? 0 : 1;
  for (const ColumnSpec& column : table.columns) keys += column.primary_key ? 1 : 0;
  if (keys > 1)
    throw std::logic_error(
        "a table has one primary key: PrimaryKeyOf(…) for several "
        "columns");
  return table;
}

// Optional data of `base`, in a table of its own with at most one row per row of base: `key` is its
// primary key and refers to base's, and goes with it.
template <typename Row, typename Member, typename... Parts>
constexpr TableOf<Row> Extension(std::string_view name, const TableSpec& base, Member Row::*key,
                                 std::string_view key_name, const Parts&... parts) {
  const ColumnSpec* base_key = nullptr;
  for (const ColumnSpec& column : base.columns) {
    if (column.primary_key) base_key = &column;
  }
  if (base_key == nullptr) throw std::logic_error("an extension needs a base with a primary key");
  return Table<Row>(
      name,
      Column(key, key_name, PrimaryKey, References(base.name, base_key->name), OnDeleteCascade),
      parts...);
}

// ---- views ----

namespace internal {
template <typename Add>
struct ViewPart {
  Add add;
  constexpr void AddTo(ViewSpec& view) const { add(view); }
};
template <typename Add>
ViewPart(Add) -> ViewPart<Add>;

// How `child` refers to `parent`: the columns of the first foreign key there is.
struct Reference {
  Names columns;
  Names parent_columns;
};
constexpr std::optional<Reference> FindReference(const TableSpec& child, const TableSpec& parent) {
  for (const ColumnSpec& column : child.columns) {
    if (column.references == parent.name) {
      return Reference{MakeNames(column.name), MakeNames(column.references_column)};
    }
  }
  for (const ForeignKeySpec& key : child.foreign_keys) {
    if (key.parent == parent.name) return Reference{key.columns, key.parent_columns};
  }
  return std::nullopt;
}
}  // namespace internal

constexpr auto ViewSql(std::string_view select) {
  return internal::ViewPart{[select](ViewSpec& view) { view.sql = select; }};
}
// Tables outlive the view's definition: they are constants of the namespace.
constexpr auto From(const TableSpec& table) {
  return internal::ViewPart{[&table](ViewSpec& view) { view.from = &table; }};
}
// Joined over a foreign key between `table` and one that stands before it, whichever way it points.
constexpr auto Join(const TableSpec& table) {
  return internal::ViewPart{[&table](ViewSpec& view) { view.joins.Add({&table, false}); }};
}
constexpr auto LeftJoin(const TableSpec& table) {
  return internal::ViewPart{[&table](ViewSpec& view) { view.joins.Add({&table, true}); }};
}
constexpr auto Select(std::string_view table, std::string_view column, std::string_view as = {}) {
  return internal::ViewPart{[=](ViewSpec& view) {
    view.columns.Add({table, column, as.empty() ? column : as});
  }};
}
constexpr auto Where(std::string_view condition) {
  return internal::ViewPart{[condition](ViewSpec& view) { view.where = condition; }};
}

template <typename Row, typename... Parts>
constexpr ViewOf<Row> View(std::string_view name, const Parts&... parts) {
  ViewOf<Row> view;
  view.name = name;
  (parts.AddTo(view), ...);
  if (!view.sql.empty()) return view;
  if (view.from == nullptr || view.columns.empty()) {
    throw std::logic_error("a view needs ViewSql, or From and Select");
  }
  for (std::size_t at = 0; at < view.joins.size; ++at) {
    const TableSpec& joined = *view.joins.items[at].table;
    bool found = internal::FindReference(joined, *view.from).has_value() ||
                 internal::FindReference(*view.from, joined).has_value();
    for (std::size_t other = 0; other < at; ++other) {
      const TableSpec& before = *view.joins.items[other].table;
      found = found || internal::FindReference(joined, before).has_value() ||
              internal::FindReference(before, joined).has_value();
    }
    if (!found) throw std::logic_error("a join needs a foreign key to a table before it");
  }
  return view;
}

// ---- DDL ----

namespace internal {
inline std::string Quote(std::string_view name) {
  std::string quoted = "\"";
  for (const char c : name) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + "\"";
}
inline std::string Literal(std::string_view text) {
  std::string literal = "'";
  for (const char c : text) literal += c == '\'' ? "''" : std::string(1, c);
  return literal + "'";
}
inline std::string QuoteAll(const Names& names) {
  std::string list;
  for (const std::string_view name : names) list += (list.empty() ? "" : ", ") + Quote(name);
  return "(" + list + ")";
}
inline std::string Real(double value) {
  std::array<char, 40> text{};
  std::snprintf(text.data(), text.size(), "%.17g", value);
  std::string real(text.data());
  return real.find_first_of(".eni") == std::string::npos ? real + ".0" : real;
}
inline std::string OnDeleteSql(OnDelete action) {
  return action == OnDelete::kCascade   ? " ON DELETE CASCADE"
         : action == OnDelete::kSetNull ? " ON DELETE SET NULL"
                                        : "";
}
inline std::string DefaultSql(const DefaultValue& value) {
  switch (value.kind) {
    case DefaultValue::Kind::kInteger:
      return " DEFAULT " + std::to_string(value.integer);
    case DefaultValue::Kind::kReal:
      return " DEFAULT " + Real(value.real);
    case DefaultValue::Kind::kText:
      return " DEFAULT " + Literal(value.text);
    case DefaultValue::Kind::kExpression:
      return " DEFAULT (" + std::string(value.text) + ")";
    default:
      return "";
  }
}
inline std::string ColumnSql(const ColumnSpec& column) {
  std::string sql;
  if (!column.renamed_from.empty()) {
    sql += "-- @renamed-from " + std::string(column.renamed_from) + "\n  ";
  }
  sql += Quote(column.name);
  if (!column.type.empty()) sql += " " + std::string(column.type);
  if (column.primary_key) sql += " PRIMARY KEY";
  if (column.autoincrement) sql += " AUTOINCREMENT";
  if (column.not_null && column.generated.empty()) sql += " NOT NULL";
  if (column.unique) sql += " UNIQUE";
  sql += DefaultSql(column.default_value);
  if (!column.collate.empty()) sql += " COLLATE " + std::string(column.collate);
  if (!column.check.empty()) sql += " CHECK (" + std::string(column.check) + ")";
  if (!column.generated.empty()) {
    sql += " GENERATED ALWAYS AS (" + std::string(column.generated) + ") VIRTUAL";
  }
  if (!column.references.empty()) {
    sql += " REFERENCES " + Quote(column.references) + " (" + Quote(column.references_column) +
           ")" + OnDeleteSql(column.on_delete);
  }
  return sql;
}
inline std::string JoinSql(const ViewSpec& view, std::size_t at) {
  const JoinSpec& join = view.joins.items[at];
  std::vector<const TableSpec*> before{view.from};
  for (std::size_t other = 0; other < at; ++other) before.push_back(view.joins.items[other].table);
  for (const TableSpec* table : before) {
    const TableSpec* child = join.table;
    const TableSpec* parent = table;
    auto reference = FindReference(*child, *parent);
    if (!reference) {
      std::swap(child, parent);
      reference = FindReference(*child, *parent);
    }
    if (!reference) continue;
    std::string on;
    for (std::size_t i = 0; i < reference->columns.size; ++i) {
      on += (i == 0 ? "" : " AND ") + Quote(child->name) + "." +
            Quote(reference->columns.items[i]) + " = " + Quote(parent->name) + "." +
            Quote(reference->parent_columns.items[i]);
    }
    return (join.left ? " LEFT JOIN " : " JOIN ") + Quote(join.table->name) + " ON " + on;
  }
  throw std::logic_error("a join needs a foreign key to a table before it");
}
}  // namespace internal

// The statements of one table: CREATE TABLE with its annotations inside, then its indexes.
inline std::string Ddl(const TableSpec& table) {
  std::string sql = "CREATE TABLE " + internal::Quote(table.name) + " (";
  if (!table.renamed_from.empty()) sql += " -- @renamed-from " + std::string(table.renamed_from);
  for (const std::string_view query : table.queries) sql += "\n  -- @query " + std::string(query);
  std::vector<std::string> parts;
  for (const ColumnSpec& column : table.columns) parts.push_back(internal::ColumnSql(column));
  if (!table.primary_key.empty()) {
    parts.push_back("PRIMARY KEY " + internal::QuoteAll(table.primary_key));
  }
  for (const KeySpec& key : table.unique) {
    parts.push_back("UNIQUE " + internal::QuoteAll(key.columns));
  }
  for (const ForeignKeySpec& key : table.foreign_keys) {
    parts.push_back("FOREIGN KEY " + internal::QuoteAll(key.columns) + " REFERENCES " +
                    internal::Quote(key.parent) + " " + internal::QuoteAll(key.parent_columns) +
                    internal::OnDeleteSql(key.on_delete));
  }
  for (std::size_t i = 0; i < parts.size(); ++i) sql += (i == 0 ? "\n  " : ",\n  ") + parts[i];
  sql += "\n)";
  if (table.without_rowid) sql += table.strict ? " WITHOUT ROWID, STRICT" : " WITHOUT ROWID";
  if (table.strict && !table.without_rowid) sql += " STRICT";
  sql += ";\n";
  for (const IndexSpec& index : table.indexes) {
    sql += std::string("CREATE ") + (index.unique ? "UNIQUE " : "") + "INDEX " +
           internal::Quote(index.name) + " ON " + internal::Quote(table.name) + " " +
           internal::QuoteAll(index.columns) +
           (index.where.empty() ? "" : " WHERE " + std::string(index.where)) + ";\n";
  }
  return sql;
}

inline std::string Ddl(const ViewSpec& view) {
  std::string sql = "CREATE VIEW " + internal::Quote(view.name) + " AS";
  for (const std::string_view query : view.queries) sql += "\n  -- @query " + std::string(query);
  if (!view.sql.empty()) return sql + "\n  " + std::string(view.sql) + ";\n";
  std::string columns;
  for (const ViewColumn& column : view.columns) {
    columns += (columns.empty() ? "" : ", ") + internal::Quote(column.table) + "." +
               internal::Quote(column.column) + " AS " + internal::Quote(column.as);
  }
  sql += "\n  SELECT " + columns + " FROM " + internal::Quote(view.from->name);
  for (std::size_t at = 0; at < view.joins.size; ++at) sql += internal::JoinSql(view, at);
  if (!view.where.empty()) sql += " WHERE " + std::string(view.where);
  return sql + ";\n";
}

// SQL as it is: a trigger, or a seed (INSERT INTO …).
inline std::string Ddl(std::string_view sql) { return std::string(sql) + ";\n"; }

// A whole schema: tables, views, triggers and seeds in the order given (parents first).
template <typename... Parts>
requires(sizeof...(Parts) > 1) std::string Ddl(const Parts&... parts) {
  std::string sql;
  const auto add = [&](const auto& part) {
    if constexpr (std::is_convertible_v<decltype(part), std::string_view>) {
      sql += Ddl(std::string_view(part));
    } else if constexpr (std::is_base_of_v<TableSpec, std::remove_cvref_t<decltype(part)>>) {
      sql += Ddl(static_cast<const TableSpec&>(part));
    } else {
      sql += Ddl(static_cast<const ViewSpec&>(part));
    }
  };
  (add(parts), ...);
  return sql;
}

}  // namespace understudy::schema
