#include "engine/codegen/codegen.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <set>

#include "engine/base/error.h"
#include "engine/codegen/query.h"
#include "engine/db/identifier.h"

namespace understudy::codegen {
namespace {
using catalog::SqliteAffinity;
using catalog::SqliteColumn;
using catalog::SqliteTable;

struct Field {
  std::string column;  // as in SQL
  std::string quoted;
  std::string name;  // in C++
  std::string type;  // without std::optional
  bool nullable = false;
  bool has_default = false;
  bool generated = false;
  bool key = false;
  std::string Type() const { return nullable ? "std::optional<" + type + ">" : type; }
};

// What a table or a view looks like from C++.
struct Relation {
  std::string sql_name;
  std::string quoted;
  std::string type;
  std::vector<Field> fields;
  std::string rowid_alias;  // the column that SQLite assigns; "" = none
  std::string rowid;        // a name that reaches the rowid, quoted; "" = none
  bool is_view = false;

  const Field& Find(const std::string& column, const std::string& where) const {
    for (const Field& field : fields) {
      if (field.column == column) return field;
    }
    std::string known;
    for (const Field& field : fields) known += (known.empty() ? "" : ", ") + field.column;
    throw Error(ErrorKind::kInvalidSpec,
                where + ": there is no column '" + column + "'; there are: " + known);
  }
};

std::string Quote(const std::string& name) { return db::QuoteIdentifier(name); }

// A C++ string literal.
std::string Literal(std::string_view text) {
  std::string literal = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      literal += '\\';
      literal += c;
    } else if (c == '\n') {
      literal += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20) {
      literal += fmt::format("\\{:03o}", static_cast<unsigned char>(c));
    } else {
      literal += c;
    }
  }
  return literal + "\"";
}

std::string CppType(const SqliteColumn& column) {
  std::string declared = column.type;
  std::ranges::transform(declared, declared.begin(),
                         [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  if (declared == "BOOLEAN" || declared == "BOOL") return "bool";
  if (declared == "ANY" || declared.empty()) return "understudy::Value";
  switch (column.affinity) {
    case SqliteAffinity::kInteger:
      return "std::int64_t";
    case SqliteAffinity::kReal:
      return "double";
    case SqliteAffinity::kText:
      return "std::string";
    case SqliteAffinity::kBlob:
      return "understudy::Blob";
    default:
      return "understudy::Value";
  }
}

Field MakeField(const SqliteColumn& column, bool nullable) {
  Field field;
  field.column = column.name;
  field.quoted = Quote(column.name);
  field.name = FieldName(column.name);
  field.type = CppType(column);
  field.nullable = nullable && field.type != "understudy::Value";  // a Value can be NULL itself
  field.has_default = column.default_sql.has_value();
  field.generated = column.generated != SqliteColumn::Generated::kNo;
  field.key = column.key_place > 0;
  return field;
}

// No two fields of one name, and none of the name of the struct that it stands in.
void CheckNames(Relation& relation) {
  std::set<std::string> seen;
  for (Field& field : relation.fields) {
    if (field.name == relation.type || field.name == "New" + relation.type) field.name += "_";
    if (!seen.insert(field.name).second) {
      throw Error(ErrorKind::kInvalidSpec, relation.sql_name + "." + field.column +
                                               ": another column has the C++ name '" + field.name +
                                               "' as well; rename one of them");
    }
  }
}

std::string Annotated(const std::vector<catalog::SqliteAnnotation>& annotations,
                      const std::string& fallback) {
  for (const auto& annotation : annotations) {
    if (annotation.word == "type") return annotation.argument;
  }
  return TypeName(fallback);
}

Relation Describe(const SqliteTable& table) {
  Relation relation;
  relation.sql_name = table.name;
  relation.quoted = Quote(table.name);
  relation.type = Annotated(table.annotations, table.name);
  relation.rowid_alias = table.RowidAlias();
  relation.rowid = relation.rowid_alias.empty() ? table.RowidName() : Quote(relation.rowid_alias);
  for (const SqliteColumn& column : table.columns) {
    const bool nullable = !column.not_null && column.name != relation.rowid_alias;
    relation.fields.push_back(MakeField(column, nullable));
  }
  CheckNames(relation);
  return relation;
}

Relation Describe(const catalog::SqliteView& view) {
  Relation relation;
  relation.sql_name = view.name;
  relation.quoted = Quote(view.name);
  relation.type = Annotated(view.annotations, view.name);
  relation.is_view = true;
  // SQLite does not say whether a view's column may be NULL: it may.
  for (const SqliteColumn& column : view.columns) {
    relation.fields.push_back(MakeField(column, true));
  }
  CheckNames(relation);
  return relation;
}

std::string ColumnList(const Relation& relation) {
  std::string list;
  for (const Field& field : relation.fields) list += (list.empty() ? "" : ", ") + field.quoted;
  return list;
}

std::string Where(const std::vector<const Field*>& fields, int first = 1) {
  std::string sql;
  for (const Field* field : fields) {
    const bool may_be_null = field->nullable || field->type == "understudy::Value";
    sql += fmt::format("{}{} {} ?{}", sql.empty() ? "" : " AND ", field->quoted,
                       may_be_null ? "IS" : "=", first++);
  }
  return sql;
}

// "By" and the names of the columns: "ByNameAndYear".
std::string By(const std::vector<const Field*>& fields) {
  std::string name = "By";
  for (const Field* field : fields) {
    name += (name.size() > 2 ? "And" : "") + TypeName(field->column);
  }
  return name;
}

// A field's name as a parameter: not that of another name in the generated function.
std::string ParameterName(const Field& field) {
  static constexpr std::array kOurs{"txn", "row", "found", "insert", "select", "pattern", "s"};
  const std::string name = field.name.substr(0, field.name.find_last_not_of('_') + 1);
  return std::ranges::find(kOurs, name) == kOurs.end() ? field.name : field.name + "_";
}

// How a value is handed in.
std::string Parameter(const Field& field) {
  const std::string name = ParameterName(field);
  if (field.type == "std::string" && !field.nullable) return "std::string_view " + name;
  if (field.type == "std::int64_t" || field.type == "double" || field.type == "bool") {
    return field.Type() + " " + name;
  }
  return "const " + field.Type() + "& " + name;
}

class Writer {
 public:
  Writer(const Relation& relation, std::string& out) : r_(relation), out_(out) {}

  void Types() {
    out_ += fmt::format("// {} {}\nstruct {} {{\n", r_.is_view ? "View" : "Table",
                        OneLine(r_.sql_name), r_.type);
    for (const Field& field : r_.fields) {
      out_ += fmt::format("  {} {}{};\n", field.Type(), field.name,
                          field.nullable || field.type.starts_with("std::string") ||
                                  field.type.starts_with("understudy::")
                              ? ""
                              : "{}");
    }
    out_ += fmt::format("\n  static {} Read(sqlite3_stmt* s) {{\n    return {{", r_.type);
    int at = 0;
    for (const Field& field : r_.fields) {
      out_ += fmt::format("{}understudy::Txn::Column<{}>(s, {})", at == 0 ? "" : ",\n            ",
                          field.Type(), at);
      ++at;
    }
    out_ += "};\n  }\n};\n\n";
    if (r_.is_view) return;
    out_ += fmt::format(
        "// A row to insert: what is std::nullopt takes the column's default, NULL where it has "
        "none.\nstruct New{} {{\n",
        r_.type);
    for (const Field& field : r_.fields) {
      if (field.generated) continue;
      const bool may_be_absent =
          field.nullable || field.has_default || field.column == r_.rowid_alias;
      const bool plain =
          field.type == "std::int64_t" || field.type == "double" || field.type == "bool";
      out_ += may_be_absent
                  ? fmt::format("  std::optional<{}> {};\n", field.type, field.name)
                  : fmt::format("  {} {}{};\n", field.type, field.name, plain ? "{}" : "");
    }
    out_ += "};\n\n";
  }

  void Insert() {
    const bool assigns = !r_.rowid_alias.empty();
    out_ += assigns ? "// Gives the key of the new row.\n" : "";
    out_ += fmt::format("inline {} Insert{}(understudy::Txn& txn, const New{}& row) {{\n",
                        assigns ? "std::int64_t" : "void", r_.type, r_.type);
    InsertBody("INSERT INTO");
    out_ += "  insert.Run(txn);\n";
    if (assigns) out_ += "  return txn.LastInsertRowid();\n";
    out_ += "}\n\n";
  }

  void Emit(const Query& query, const std::string& where) {
    std::vector<const Field*> by;
    for (const std::string& column : query.columns) by.push_back(&r_.Find(column, where));
    std::string order;
    for (const Query::Order& o : query.order) {
      order += fmt::format("{}{}{}", order.empty() ? " ORDER BY " : ", ",
                           r_.Find(o.column, where).quoted, o.descending ? " DESC" : "");
    }
    switch (query.kind) {
      case Query::Kind::kSelectAll:
        Select("SelectAll" + r_.type, {}, "", order, false);
        break;
      case Query::Kind::kSelectBy:
        Select("Select" + r_.type + By(by), by, Where(by), order, false);
        break;
      case Query::Kind::kSelectOneBy:
        Select("SelectOne" + r_.type + By(by), by, Where(by), order, true);
        break;
      case Query::Kind::kSelectLike:
        SelectLike(*by[0], order);
        break;
      case Query::Kind::kSelectByOrInsert:
        SelectByOrInsert(by, where);
        break;
      case Query::Kind::kUpdateBy:
        UpdateBy(by, where);
        break;
      case Query::Kind::kDeleteBy:
        DeleteBy("Delete" + r_.type + By(by), by);
        break;
      case Query::Kind::kInsertOrIgnore:
        InsertOrIgnore();
        break;
    }
  }

  // An extension table's own three: at most one row per row of `base`.
  void Extension(const Relation& base) {
    std::vector<const Field*> key;
    for (const Field& field : r_.fields) {
      if (field.key) key.push_back(&field);
    }
    out_ += fmt::format("// {} holds what a row of {} may have: at most one row each.\n",
                        OneLine(r_.sql_name), OneLine(base.sql_name));
    Select("Select" + r_.type + "Of" + base.type, key, Where(key), "", true);
    std::string columns;
    std::string places;
    std::string set;
    std::string arguments;
    int at = 0;
    std::string conflict;
    for (const Field& field : r_.fields) {
      if (field.generated) continue;
      columns += (columns.empty() ? "" : ", ") + field.quoted;
      places += fmt::format("{}?{}", places.empty() ? "" : ", ", ++at);
      arguments += ", row." + field.name;
      if (field.key) {
        conflict += (conflict.empty() ? "" : ", ") + field.quoted;
      } else {
        set +=
            fmt::format("{}{} = excluded.{}", set.empty() ? "" : ", ", field.quoted, field.quoted);
      }
    }
    const std::string sql =
        fmt::format("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT ({}) DO {}", r_.quoted, columns,
                    places, conflict, set.empty() ? "NOTHING" : "UPDATE SET " + set);
    out_ += fmt::format(
        "inline void Put{}(understudy::Txn& txn, const {}& row) {{\n  txn.Write(\n      {}{});\n"
        "}}\n\n",
        r_.type, r_.type, Literal(sql), arguments);
    DeleteBy("Remove" + r_.type, key);
  }

 private:
  static std::string OneLine(std::string text) {
    std::ranges::replace(text, '\n', ' ');
    return text;
  }

  void InsertBody(const char* verb) {
    out_ += fmt::format("  understudy::Insert insert(\"{}\", {});\n", verb, Literal(r_.quoted));
    for (const Field& field : r_.fields) {
      if (field.generated) continue;
      out_ += fmt::format("  insert.Set({}, row.{});\n", Literal(field.quoted), field.name);
    }
  }

  std::string Parameters(const std::vector<const Field*>& fields) const {
    std::string list;
    for (const Field* field : fields) list += ", " + Parameter(*field);
    return list;
  }
  static std::string Arguments(const std::vector<const Field*>& fields) {
    std::string list;
    for (const Field* field : fields) list += ", " + ParameterName(*field);
    return list;
  }
  static std::string OfRow(const std::vector<const Field*>& fields) {
    std::string list;
    for (const Field* field : fields) list += ", row." + field->name;
    return list;
  }

  void Select(const std::string& function, const std::vector<const Field*>& by,
              const std::string& where, const std::string& order, bool one) {
    const std::string sql =
        fmt::format("SELECT {} FROM {}{}{}{}", ColumnList(r_), r_.quoted,
                    where.empty() ? "" : " WHERE " + where, order, one ? " LIMIT 1" : "");
    out_ += fmt::format(
        "inline {} {}(understudy::Txn& txn{}) {{\n  {} {};\n  txn.ForEach(\n      {},\n"
        "      [&](sqlite3_stmt* s) {{ {} }}{});\n  return {};\n}}\n\n",
        (one ? "std::optional<" : "std::vector<") + r_.type + ">", function, Parameters(by),
        (one ? "std::optional<" : "std::vector<") + r_.type + ">", "found", Literal(sql),
        one ? "found = " + r_.type + "::Read(s);" : "found.push_back(" + r_.type + "::Read(s));",
        Arguments(by), "found");
  }

  void SelectLike(const Field& field, const std::string& order) {
    const std::string sql = fmt::format("SELECT {} FROM {} WHERE {} LIKE ?1{}", ColumnList(r_),
                                        r_.quoted, field.quoted, order);
    out_ += fmt::format(
        "// `pattern`: % stands for any text, _ for one character.\n"
        "inline std::vector<{}> Select{}Like{}(understudy::Txn& txn, std::string_view pattern) {{\n"
        "  std::vector<{}> found;\n  txn.ForEach(\n      {},\n"
        "      [&](sqlite3_stmt* s) {{ found.push_back({}::Read(s)); }}, pattern);\n"
        "  return found;\n}}\n\n",
        r_.type, r_.type, TypeName(field.column), r_.type, Literal(sql), r_.type);
  }

  void MustBeTable(const std::string& where) const {
    if (r_.is_view) {
      throw Error(ErrorKind::kInvalidSpec, where + ": a view takes select queries only");
    }
  }

  void SelectByOrInsert(const std::vector<const Field*>& by, const std::string& where) {
    MustBeTable(where);
    for (const Field* field : by) {
      if (field->generated) {
        throw Error(ErrorKind::kInvalidSpec, where + ": " + field->column + " is generated");
      }
    }
    const std::string sql =
        fmt::format("SELECT {} FROM {} WHERE {} LIMIT 1", ColumnList(r_), r_.quoted, WhereIs(by));
    out_ += fmt::format(
        "// The row that has these values, or `row` inserted and read back.\n"
        "inline {0} Select{0}{1}OrInsert(understudy::Txn& txn, const New{0}& row) {{\n"
        "  std::optional<{0}> found;\n"
        "  const auto select = [&] {{\n"
        "    txn.ForEach(\n        {2},\n"
        "        [&](sqlite3_stmt* s) {{ found = {0}::Read(s); }}{3});\n  }};\n"
        "  select();\n  if (found) return *found;\n",
        r_.type, By(by), Literal(sql), OfRow(by));
    // Not by the same values again: what was left out has its default now.
    InsertBody("INSERT INTO");
    if (r_.rowid.empty()) {
      out_ += fmt::format(
          "  insert.RunReturning(txn, {}, [&](sqlite3_stmt* s) {{ found = {}::Read(s); }});\n",
          Literal(ColumnList(r_)), r_.type);
    } else {
      out_ += fmt::format(
          "  insert.Run(txn);\n  txn.ForEach(\n      {},\n"
          "      [&](sqlite3_stmt* s) {{ found = {}::Read(s); }}, txn.LastInsertRowid());\n",
          Literal(
              fmt::format("SELECT {} FROM {} WHERE {} = ?1", ColumnList(r_), r_.quoted, r_.rowid)),
          r_.type);
    }
    out_ += "  return found.value();\n}\n\n";
  }

  static std::string WhereIs(const std::vector<const Field*>& fields) {
    std::string sql;
    int at = 1;
    for (const Field* field : fields) {
      sql += fmt::format("{}{} IS ?{}", sql.empty() ? "" : " AND ", field->quoted, at++);
    }
    return sql;
  }

  void UpdateBy(const std::vector<const Field*>& by, const std::string& where) {
    MustBeTable(where);
    std::string set;
    std::string arguments;
    int at = 0;
    for (const Field& field : r_.fields) {
      if (field.generated || field.key || std::ranges::find(by, &field) != by.end()) continue;
      set += fmt::format("{}{} = ?{}", set.empty() ? "" : ", ", field.quoted, ++at);
      arguments += ", row." + field.name;
    }
    if (set.empty()) {
      throw Error(ErrorKind::kInvalidSpec, where + ": there is no other column to update");
    }
    const std::string sql =
        fmt::format("UPDATE {} SET {} WHERE {}", r_.quoted, set, Where(by, at + 1));
    out_ += fmt::format(
        "// Sets every column but keys; gives the rows that were changed.\n"
        "inline int Update{}{}(understudy::Txn& txn, const {}& row) {{\n"
        "  return txn.Write(\n      {}{}{});\n}}\n\n",
        r_.type, By(by), r_.type, Literal(sql), arguments, OfRow(by));
  }

  void DeleteBy(const std::string& function, const std::vector<const Field*>& by) {
    MustBeTable(r_.sql_name);
    const std::string sql = fmt::format("DELETE FROM {} WHERE {}", r_.quoted, Where(by));
    out_ += fmt::format(
        "inline int {}(understudy::Txn& txn{}) {{\n  return txn.Write(\n      {}{});\n"
        "}}\n\n",
        function, Parameters(by), Literal(sql), Arguments(by));
  }

  void InsertOrIgnore() {
    MustBeTable(r_.sql_name);
    out_ += fmt::format(
        "// False when a constraint stood in the way and nothing was inserted.\n"
        "inline bool InsertOrIgnore{}(understudy::Txn& txn, const New{}& row) {{\n",
        r_.type, r_.type);
    InsertBody("INSERT OR IGNORE INTO");
    out_ += "  return insert.Run(txn) == 1;\n}\n\n";
  }

  const Relation& r_;
  std::string& out_;
};

// The table whose rows `table` extends: the whole primary key refers to the other's.
const SqliteTable* BaseOf(const catalog::SqliteSchema& schema, const SqliteTable& table) {
  std::vector<std::string> key = table.PrimaryKey();
  if (key.empty()) return nullptr;
  std::ranges::sort(key);
  for (const catalog::SqliteForeignKey& foreign : table.foreign_keys) {
    std::vector<std::string> columns = foreign.columns;
    std::ranges::sort(columns);
    const SqliteTable* parent = schema.Table(foreign.parent);
    if (columns == key && parent != nullptr && parent != &table &&
        foreign.parent_columns == parent->PrimaryKey()) {
      return parent;
    }
  }
  return nullptr;
}

}  // namespace

std::string TypeName(std::string_view name) {
  std::string type;
  bool up = true;
  for (const char c : name) {
    const auto u = static_cast<unsigned char>(c);
    if (std::isalnum(u) == 0) {
      up = true;
      continue;
    }
    type += up ? static_cast<char>(std::toupper(u)) : c;
    up = false;
  }
  if (type.empty() || std::isdigit(static_cast<unsigned char>(type[0])) != 0) type = "T" + type;
  return type;
}

std::string FieldName(std::string_view name) {
  static constexpr std::array kWords{
      "alignas",   "alignof",   "and",       "asm",       "auto",     "bool",     "break",
      "case",      "catch",     "char",      "class",     "concept",  "const",    "consteval",
      "constexpr", "constinit", "continue",  "decltype",  "default",  "delete",   "do",
      "double",    "else",      "enum",      "explicit",  "export",   "extern",   "false",
      "float",     "for",       "friend",    "goto",      "if",       "inline",   "int",
      "long",      "mutable",   "namespace", "new",       "noexcept", "not",      "nullptr",
      "operator",  "or",        "private",   "protected", "public",   "register", "requires",
      "return",    "short",     "signed",    "sizeof",    "static",   "struct",   "switch",
      "template",  "this",      "throw",     "true",      "try",      "typedef",  "typeid",
      "typename",  "union",     "unsigned",  "using",     "virtual",  "void",     "volatile",
      "while",     "xor",       "Read"};  // every struct's own
  std::string field;
  for (const char c : name) {
    field += std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  }
  if (field.empty() || std::isdigit(static_cast<unsigned char>(field[0])) != 0) field = "c" + field;
  while (field.size() > 1 && field[0] == '_') field.erase(0, 1);
  for (const char* word : kWords) {
    if (field == word) return field + "_";
  }
  return field;
}

std::string GenerateHeader(const catalog::SqliteSchema& schema, const Options& options) {
  std::string out = fmt::format(
      "// Written by `understudy codegen` from {}: change that file, not this one.\n"
      "#pragma once\n\n#include <cstdint>\n#include <optional>\n#include <string>\n"
      "#include <string_view>\n#include <vector>\n\n#include \"understudy/db.h\"\n\n"
      "namespace {} {{\n\n",
      options.source.empty() ? "a schema" : options.source, options.name_space);
  out += fmt::format(
      "// What `_schema_identity` of a database with this schema holds.\n"
      "inline constexpr std::string_view kSchemaHash = \"{}\";\n\n",
      schema.Hash());
  std::set<std::string> types;
  const auto begin = [&](const Relation& relation) {
    if (!types.insert(relation.type).second) {
      throw Error(ErrorKind::kInvalidSpec,
                  relation.sql_name + ": another table or view has the C++ name '" + relation.type +
                      "' as well; give one a name with -- @type NAME");
    }
  };
  const auto emit = [&](Writer& writer, const Relation& relation,
                        const std::vector<std::string>& queries) {
    std::set<std::string> seen;
    for (const std::string& text : queries) {
      const std::string where = relation.sql_name;
      const Query query = ParseQuery(text, where);
      if (!seen.insert(text).second) {
        throw Error(ErrorKind::kInvalidSpec, where + ": @query " + text + " stands there twice");
      }
      writer.Emit(query, where + ": @query " + text);
    }
  };
  for (const SqliteTable& table : schema.tables) {
    if (table.is_virtual) continue;
    const Relation relation = Describe(table);
    begin(relation);
    Writer writer(relation, out);
    writer.Types();
    writer.Insert();
    emit(writer, relation, table.Queries());
    if (const SqliteTable* base = BaseOf(schema, table)) writer.Extension(Describe(*base));
  }
  for (const catalog::SqliteView& view : schema.views) {
    const Relation relation = Describe(view);
    begin(relation);
    Writer writer(relation, out);
    writer.Types();
    emit(writer, relation, view.Queries());
  }
  out += fmt::format("}}  // namespace {}\n", options.name_space);
  return out;
}

}  // namespace understudy::codegen
