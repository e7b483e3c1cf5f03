#include "harness/compare/table_sql.h"

#include "engine/base/error.h"
#include "engine/base/sabotage.h"

namespace understudy::harness {
namespace {

constexpr std::size_t kSqliteArguments = 100;  // SQLite takes 127 per call
constexpr std::string_view kCollateC = " COLLATE pg_catalog.\"C\"";

std::string Joined(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : ", ") + part;
  return text;
}

// NULL stays NULL; a composite of NULLs is no NULL (IS NULL would say so).
std::string UnlessNull(const std::string& column, const std::string& then) {
  return "CASE WHEN pg_catalog.num_nulls(" + column + ") = 0 THEN " + then + " END";
}

bool IsInteger(const CompareColumn& column) {
  return column.base == "int2" || column.base == "int4" || column.base == "int8";
}

}  // namespace

TableSql::TableSql(const TablePair& pair, bool left, HashForm form, const Side& side)
    : pair_(pair),
      left_(left),
      form_(form),
      plain_bytes_(side.plain_bytes()),
      version_(side.version()) {
  PlanRows();
}

std::string TableSql::Name(const ColumnPair& pair) const {
  return "t." + db::QuoteIdentifier(Column(pair).name);
}

std::string TableSql::From() const {
  const CompareTable& table = left_ ? *pair_.left : *pair_.right;
  if (form_.engine == db::Engine::kSqlite) return " FROM " + table.name.Quoted() + " AS t";
  // A table's children by plain inheritance are tables of their own.
  return std::string(table.partitioned ? " FROM " : " FROM ONLY ") + table.name.Quoted() + " AS t";
}

// An expression whose own hash (PostgreSQL's) is exact, and the same on both sides.
std::string TableSql::Native(const ColumnPair& pair, bool is_key) const {
  const std::string name = Name(pair);
  const CompareColumn& column = Column(pair);
  std::string text;
  if (!pair.same_category() && !is_key) {
    text = UnlessNull(
        name, "pg_catalog.concat(" + db::QuoteLiteral(column.category + ":") + ", " + name + ")");
  } else if (!pair.same_type()) {
    text = UnlessNull(name, "pg_catalog.concat(" + name + ")");
  } else {
    switch (column.form) {
      case NativeForm::kSend:
        return "pg_catalog." + column.send + "(" + name + ")";
      case NativeForm::kRaw:
        text = name;
        break;
      case NativeForm::kText:
        text = name + "::text";
        break;
      case NativeForm::kRow:
        text = UnlessNull(name, "ROW(" + name + ")::text");
    }
  }
  // A collation may call different texts equal.
  return column.own_collation ? "(" + text + std::string(kCollateC) + ")" : text;
}

// As it stands in ROW(…)::text: the output functions tell all values apart.
std::string TableSql::InRow(const ColumnPair& pair) const {
  return pair.same_category() ? Name(pair) : Native(pair, false);
}

std::string TableSql::RowText() const {
  std::vector<std::string> parts;
  for (const ColumnPair& pair : pair_.columns) parts.push_back(InRow(pair));
  return "ROW(" + Joined(parts) + ")::text";
}

std::string TableSql::ColumnHash(std::size_t column, std::int64_t seed) const {
  std::vector<ColumnPair> columns = pair_.key;
  columns.push_back(pair_.columns[column]);
  if (form_.engine == db::Engine::kSqlite) {
    return SqliteCall("understudy_hash", std::to_string(seed), columns);
  }
  std::vector<std::string> parts;
  for (const ColumnPair& pair : columns) parts.push_back(InRow(pair));
  return HashText("ROW(" + Joined(parts) + ")::text", seed);
}

std::string TableSql::ValueHash(std::size_t column, std::int64_t seed) const {
  const ColumnPair& pair = pair_.columns[column];
  if (form_.engine == db::Engine::kSqlite) {
    return "CASE WHEN " + Name(pair) + " IS NOT NULL THEN " +
           SqliteCall("understudy_hash", std::to_string(seed), {pair}) + " END";
  }
  return UnlessNull(Name(pair), HashText("ROW(" + InRow(pair) + ")::text", seed));
}

std::string TableSql::HashText(const std::string& text, std::int64_t seed) const {
  const std::string number = std::to_string(seed);
  if (plain_bytes_) {
    return "pg_catalog.hashtextextended(" + text + std::string(kCollateC) + ", " + number + ")";
  }
  if (version_ < 140000) {
    throw Error(ErrorKind::kUnsupported,
                "a database in another encoding than UTF8 on PostgreSQL 12 or 13 cannot be "
                "compared with one of another encoding or version: dump it into a UTF8 database");
  }
  // textsend gives UTF-8, the sessions' client encoding. The hash of a record of one column is
  // that column's own, and bytea and text share it.
  return "pg_catalog.hash_record_extended(ROW(pg_catalog.textsend(" + text + ")), " + number + ")";
}

std::string TableSql::SqliteCall(const std::string& function, const std::string& seed,
                                 const std::vector<ColumnPair>& columns) const {
  std::string call = seed;
  for (std::size_t at = 0; at < columns.size() || at == 0; at += kSqliteArguments) {
    std::string next = function + "(" + call;
    for (std::size_t i = at; i < std::min(columns.size(), at + kSqliteArguments); ++i) {
      next += ", " + Name(columns[i]);
    }
    call = next + ")";
  }
  return call;
}

std::string TableSql::RowHash(std::int64_t seed) const {
  if (pair_.columns.empty()) return "0";
  std::vector<ColumnPair> columns = pair_.columns;
  if (Sabotaged("digest-ignores-column")) columns.pop_back();
  if (form_.engine == db::Engine::kSqlite) {
    return SqliteCall("understudy_hash", std::to_string(seed), columns);
  }
  if (!form_.native) return HashText(RowText(), seed);
  std::vector<std::string> parts;
  for (const ColumnPair& pair : columns) parts.push_back(Native(pair, false));
  // A record's hash is a weighted SUM of its columns' hashes: added up over rows, it would not
  // notice two rows that exchange a value. The outer hash takes all 64 bits as its seed and mixes.
  return "pg_catalog.hashint4extended(1, pg_catalog.hash_record_extended(ROW(" + Joined(parts) +
         "), " + std::to_string(seed) + "))";
}

std::string TableSql::SecondHash() const {
  if (pair_.columns.empty()) return "0";
  if (form_.engine == db::Engine::kSqlite) {
    return SqliteCall("understudy_hash2", "0", pair_.columns);
  }
  return "('x' || pg_catalog.substr(pg_catalog.md5(pg_catalog.textsend(" + RowText() +
         ")), 1, 16))::bit(64)::bigint";
}

std::string TableSql::BucketHash() const {
  if (pair_.key.empty()) return RowHash(0);
  if (form_.engine == db::Engine::kSqlite) {
    return SqliteCall("understudy_hash", "7", pair_.key);
  }
  std::vector<std::string> parts;
  for (const ColumnPair& pair : pair_.key) {
    parts.push_back(form_.native ? Native(pair, true) : Name(pair));
  }
  if (!form_.native) return HashText("ROW(" + Joined(parts) + ")::text", 7);
  return "pg_catalog.hash_record_extended(ROW(" + Joined(parts) + "), 7)";
}

std::string TableSql::Digest() const {
  const std::string sum = form_.engine == db::Engine::kSqlite ? "understudy_sum(" : "sum(";
  std::string sql = "SELECT count(*), " + sum + RowHash(0) + ")";
  if (form_.second) sql += ", " + sum + SecondHash() + ")";
  return sql + From();
}

std::string TableSql::Bytes() const {
  const CompareTable& table = left_ ? *pair_.left : *pair_.right;
  if (form_.engine == db::Engine::kSqlite) {  // dbstat is not in every build: all in one
    return "SELECT page_count * page_size / (SELECT count(*) FROM sqlite_schema WHERE "
           "type = 'table') FROM pragma_page_count, pragma_page_size";
  }
  const std::string name = db::QuoteLiteral(table.name.Quoted()) + "::pg_catalog.regclass";
  if (!table.partitioned) return "SELECT pg_table_size(" + name + ")";
  return "SELECT coalesce(sum(pg_table_size(p.relid)), 0) FROM pg_partition_tree(" + name +
         ") AS p WHERE p.isleaf";
}

std::string TableSql::Where(int shift, const std::vector<std::int64_t>& buckets) const {
  if (buckets.empty()) return "";
  std::string list;
  for (const std::int64_t bucket : buckets) {
    list += (list.empty() ? "" : ",") + std::to_string(bucket);
  }
  const std::string mask = shift == 0 ? "1023" : "1048575";
  const std::string hash = "((" + BucketHash() + ") & " + mask + ")";
  return form_.engine == db::Engine::kSqlite
             ? " WHERE " + hash + " IN (" + list + ")"
             : " WHERE " + hash + " = ANY ('{" + list + "}'::pg_catalog.int8[])";
}

std::string TableSql::Buckets(int shift, const std::vector<std::int64_t>& buckets) const {
  const std::string sum = form_.engine == db::Engine::kSqlite ? "understudy_sum(" : "sum(";
  const std::string mask = shift == 0 ? "1023" : "1048575";
  std::string sql =
      "SELECT (" + BucketHash() + ") & " + mask + ", count(*), " + sum + RowHash(0) + ")";
  if (form_.second) sql += ", " + sum + SecondHash() + ")";
  return sql + From() + Where(0, buckets) + " GROUP BY 1";
}

void TableSql::PlanRows() {
  const bool sqlite = form_.engine == db::Engine::kSqlite;
  const bool multiset = pair_.key.empty();
  std::vector<std::string> order;
  const auto sort = [&](const std::string& selected, const std::string& by, bool integer) {
    selected_.push_back(selected);
    order.push_back(by);
    sort_.push_back({integer});
  };
  if (sqlite) {
    const std::vector<ColumnPair>& columns = multiset ? pair_.columns : pair_.key;
    for (std::size_t at = 0; at < columns.size(); at += kSqliteArguments) {
      std::string list;
      for (std::size_t i = at; i < std::min(columns.size(), at + kSqliteArguments); ++i) {
        list += (list.empty() ? "" : ", ") + Name(columns[i]);
      }
      const std::string row = "understudy_row(" + list + ")";
      // A whole number sorts as itself: the rowid's order, without a sort.
      const CompareColumn& first = Column(columns[0]);
      const bool rowid = !multiset && first.rowid;
      sort(row, rowid ? Name(columns[0]) : row, false);
    }
  } else if (multiset) {
    if (!pair_.columns.empty()) {
      const std::string text = RowText();
      sort(text, plain_bytes_ ? text + std::string(kCollateC) : "pg_catalog.textsend(" + text + ")",
           false);
    }
  } else {
    for (const ColumnPair& pair : pair_.key) {
      const std::string name = Name(pair);
      if (IsInteger(*pair.left) && IsInteger(*pair.right)) {
        sort(name, name, true);
        continue;
      }
      const bool text = Column(pair).form == NativeForm::kRaw && Column(pair).category == "text";
      const std::string as_text = text ? name + "::text" : "pg_catalog.concat(" + name + ")";
      sort(name,
           plain_bytes_ ? as_text + std::string(kCollateC) : "pg_catalog.textsend(" + as_text + ")",
           false);
    }
  }
  key_at_ = selected_.size();
  if (!sqlite && !multiset) {
    key_at_ = 0;
  } else {
    for (const ColumnPair& pair : pair_.key) selected_.push_back(Name(pair));
  }
  columns_at_ = selected_.size();
  for (const ColumnPair& pair : pair_.columns) selected_.push_back(Name(pair));
  order_ = Joined(order);
}

std::string TableSql::Rows(int shift, const std::vector<std::int64_t>& buckets) const {
  return "SELECT " + Joined(selected_) + From() + Where(shift, buckets) +
         (order_.empty() ? "" : " ORDER BY " + order_);
}

}  // namespace understudy::harness
