#include "harness/world/generate.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>

#include "engine/base/error.h"
#include "engine/db/copy.h"
#include "engine/db/session.h"
#include "harness/world/table_rows.h"

namespace understudy::harness {
namespace {

using internal::TableRows;

constexpr std::size_t kPieceBytes = std::size_t{128} << 10U;
constexpr std::int64_t kSampledKeys = 10000;
constexpr std::size_t kSqliteParameters = 900;  // of one INSERT; SQLite's old limit is 999

// The text form of a cell as COPY reads it.
void AppendEscaped(std::string& out, std::string_view text) {
  std::size_t from = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c >= ' ' && c != '\\') continue;
    if (c != '\\' && c != '\t' && c != '\n' && c != '\r') continue;
    out.append(text, from, i - from);
    out += '\\';
    out += c == '\t' ? 't' : c == '\n' ? 'n' : c == '\r' ? 'r' : '\\';
    from = i + 1;
  }
  out.append(text, from);
}

std::string ColumnList(const SchemaTable& table, const std::vector<std::size_t>& columns) {
  std::string list;
  for (const std::size_t i : columns) {
    list += (list.empty() ? "" : ", ") + db::QuoteIdentifier(table.columns[i].name);
  }
  return list;
}

class Generator {
 public:
  Generator(const db::Endpoint& endpoint, std::string_view where, const GenerateOptions& options)
      : where_(where), options_(options), postgres_(endpoint.engine() == db::Engine::kPostgres) {
    db::SessionOptions ours;
    ours.application_name = "understudy fixture";
    ours.foreign_keys = true;
    session_ = db::Connect(endpoint, ours);
    if (postgres_) {
      // The user's own settings: triggers and defaults look names up as they are used to.
      ours.settings = db::Settings::kUsers;
      copies_ = std::make_unique<db::CopySession>(endpoint, ours);
    }
  }

  std::vector<GeneratedTable> Run(const Json& json) {
    const Schema schema = ReadSchema(*session_);
    const internal::RowsDescription description =
        internal::ReadDescription(json, where_, schema, options_.scale);
    for (const auto& [name, table] : description.tables) {
      if (table.rows > 0) all_[name] = nullptr;
    }
    TableRows::Context context{
        &all_, where_, options_.seed,
        [this](const SchemaTable& table, const auto& columns) { return Sample(table, columns); },
        &schema};
    std::vector<GeneratedTable> done;
    for (const SchemaTable* table : schema.InForeignKeyOrder()) {
      const auto it = description.tables.find(table->name);
      if (it == description.tables.end() || it->second.rows == 0) continue;
      all_[table->name] =
          std::make_unique<TableRows>(*table, it->second, context, FirstSerial(*table));
      const TableRows& rows = *all_[table->name];
      try {
        if (postgres_) {
          Copy(rows);
        } else {
          Insert(rows);
        }
      } catch (Error& error) {
        Explain(error, rows, it->second.pointer);
      }
      done.push_back({table->name, rows.rows()});
    }
    for (auto& [name, rows] : all_) {
      if (!rows->HasLaterKeys()) continue;
      rows->ResolveLater(context);
      During("set the keys of " + name.Display(), [&] { SetLaterKeys(*rows); });
    }
    if (!postgres_) return done;
    for (const auto& [name, rows] : all_) AdvanceSequences(*rows);
    for (const auto& [name, rows] : all_) copies_->Execute("ANALYZE " + name.Quoted());
    return done;
  }

 private:
  [[noreturn]] void Explain(const Error& error, const TableRows& rows,
                            const std::string& pointer) const {
    std::string message = where_ + ": " + pointer + ": the rows of " + rows.table().name.Display() +
                          " were refused: " + error.message();
    if (error.kind() != ErrorKind::kConstraint) {
      throw Error(error.kind(), message, error.code());
    }
    for (const std::string& check : rows.not_understood()) {
      message += "\nnot understood, so describe its columns: CHECK (" + check + ")";
    }
    throw Error(ErrorKind::kInvalidSpec, message, error.code());
  }

  void StopIfAsked() const {
    if (options_.stop && options_.stop()) {
      throw Error(ErrorKind::kCancelled, "interrupted while rows were generated");
    }
  }

  void Tell(const TableRows& rows, std::int64_t done) {
    if (!options_.progress) return;
    const auto now = std::chrono::steady_clock::now();
    if (done != rows.rows() && now - told_ < std::chrono::milliseconds(500)) return;
    told_ = now;
    options_.progress(rows.table().name.Display() + ": " + std::to_string(done) + " of " +
                      std::to_string(rows.rows()) + " rows");
  }

  // Above every number in a key of the rows that are there already.
  std::int64_t FirstSerial(const SchemaTable& table) {
    const std::string from = " FROM " + table.name.Quoted();
    std::int64_t first = session_->Scalar("SELECT count(*)" + from).AsInteger();
    if (first == 0) return 1;
    for (const SchemaColumn& column : table.columns) {
      if (Ordinal::Of(column).kind != OrdinalKind::kInteger) continue;
      const db::Value most =
          session_->Scalar("SELECT max(" + db::QuoteIdentifier(column.name) + ")" + from);
      if (!most.is_null()) first = std::max(first, most.AsInteger());
    }
    return first + 1;
  }

  std::vector<db::Row> Sample(const SchemaTable& table, const std::vector<std::string>& columns) {
    std::string list;
    std::string filled;
    for (const std::string& name : columns) {
      list += (list.empty() ? "" : ", ") + db::QuoteIdentifier(name);
      filled += (filled.empty() ? "" : " AND ") + db::QuoteIdentifier(name) + " IS NOT NULL";
    }
    return session_
        ->Query("SELECT " + list + " FROM " + table.name.Quoted() + " WHERE " + filled +
                " ORDER BY " + list + " LIMIT " + std::to_string(kSampledKeys))
        .rows;
  }

  void Copy(const TableRows& rows) {
    const std::vector<std::size_t>& columns = rows.written();
    if (columns.empty()) {
      for (std::int64_t row = 0; row < rows.rows(); ++row) {
        copies_->Execute("INSERT INTO " + rows.table().name.Quoted() + " DEFAULT VALUES");
      }
      return;
    }
    db::CopyIn in(*copies_, "COPY " + rows.table().name.Quoted() + " (" +
                                ColumnList(rows.table(), columns) + ") FROM STDIN");
    std::string piece;
    std::string cell;
    for (std::int64_t row = 0; row < rows.rows(); ++row) {
      for (std::size_t i = 0; i < columns.size(); ++i) {
        if (i > 0) piece += '\t';
        cell.clear();
        if (rows.Cell(columns[i], row, cell)) {
          AppendEscaped(piece, cell);
        } else {
          piece += "\\N";
        }
      }
      piece += '\n';
      if (piece.size() < kPieceBytes) continue;
      in.Write(piece);
      piece.clear();
      StopIfAsked();
      Tell(rows, row);
    }
    if (!piece.empty()) in.Write(piece);
    in.Finish();
    Tell(rows, rows.rows());
  }

  void Insert(const TableRows& rows) {
    const std::vector<std::size_t>& columns = rows.written();
    const std::size_t per_statement =
        std::max<std::size_t>(1, kSqliteParameters / std::max<std::size_t>(1, columns.size()));
    std::string places = columns.empty() ? "" : "?";
    for (std::size_t i = 1; i < columns.size(); ++i) places += ", ?";
    const auto statement = [&](std::size_t count) {
      if (columns.empty()) return "INSERT INTO " + rows.table().name.Quoted() + " DEFAULT VALUES";
      std::string sql = "INSERT INTO " + rows.table().name.Quoted() + " (" +
                        ColumnList(rows.table(), columns) + ") VALUES ";
      for (std::size_t i = 0; i < count; ++i) sql += (i > 0 ? ", (" : "(") + places + ")";
      return sql;
    };
    const std::string whole = statement(per_statement);
    db::Transaction transaction(*session_, db::Isolation::kDefault, false, true);
    db::Params values;
    std::size_t held = 0;
    std::string cell;
    for (std::int64_t row = 0; row < rows.rows(); ++row) {
      for (const std::size_t column : columns) {
        cell.clear();
        values.push_back(rows.Cell(column, row, cell) ? rows.ToValue(column, cell)
                                                      : db::Value::Null());
      }
      if (++held == per_statement || columns.empty()) {
        session_->QueryPrepared(whole, values);
        values.clear();
        held = 0;
        StopIfAsked();
        Tell(rows, row);
      }
    }
    if (held > 0) session_->QueryPrepared(statement(held), values);
    transaction.Commit();
    Tell(rows, rows.rows());
  }

  // Keys to tables that were filled later: all rows of a table at once, by its own key.
  void SetLaterKeys(const TableRows& rows) {
    const SchemaTable& table = rows.table();
    std::vector<std::size_t> keys;
    for (const std::string& name : table.RowKey()) {
      for (std::size_t i = 0; i < table.columns.size(); ++i) {
        if (table.columns[i].name == name && rows.Computable(name)) keys.push_back(i);
      }
    }
    if (keys.empty() || keys.size() != table.RowKey().size()) return;  // they stay NULL
    const std::vector<std::size_t> set = rows.LaterColumns();
    if (!postgres_) return SetLaterKeysOneByOne(rows, keys, set);

    std::string fields;
    std::string assignments;
    std::string matches;
    const auto typed = [&](std::size_t n, std::size_t column) {
      return "x.c" + std::to_string(n) + "::" + table.columns[column].type;
    };
    for (std::size_t i = 0; i < set.size() + keys.size(); ++i) {
      fields += (i == 0 ? "c" : ", c") + std::to_string(i) + " text";
    }
    for (std::size_t i = 0; i < set.size(); ++i) {
      assignments += (i == 0 ? "" : ", ") + db::QuoteIdentifier(table.columns[set[i]].name) +
                     " = " + typed(i, set[i]);
    }
    for (std::size_t i = 0; i < keys.size(); ++i) {
      matches += (i == 0 ? "t." : " AND t.") + db::QuoteIdentifier(table.columns[keys[i]].name) +
                 " = " + typed(set.size() + i, keys[i]);
    }
    copies_->Begin();
    try {
      copies_->Execute("CREATE TEMPORARY TABLE understudy_keys (" + fields + ") ON COMMIT DROP");
      {
        db::CopyIn in(*copies_, "COPY pg_temp.understudy_keys FROM STDIN");
        std::string piece;
        std::string cell;
        for (std::int64_t row = 0; row < rows.rows(); ++row) {
          for (std::size_t i = 0; i < set.size() + keys.size(); ++i) {
            if (i > 0) piece += '\t';
            cell.clear();
            if (rows.FinalCell(i < set.size() ? set[i] : keys[i - set.size()], row, cell)) {
              AppendEscaped(piece, cell);
            } else {
              piece += "\\N";
            }
          }
          piece += '\n';
          if (piece.size() < kPieceBytes) continue;
          in.Write(piece);
          piece.clear();
          StopIfAsked();
        }
        if (!piece.empty()) in.Write(piece);
        in.Finish();
      }
      copies_->Execute("UPDATE " + table.name.Quoted() + " t SET " + assignments +
                       " FROM pg_temp.understudy_keys x WHERE " + matches);
      copies_->Commit();
    } catch (...) {
      copies_->Rollback();
      throw;
    }
  }

  void SetLaterKeysOneByOne(const TableRows& rows, const std::vector<std::size_t>& keys,
                            const std::vector<std::size_t>& set) {
    const SchemaTable& table = rows.table();
    std::string sql = "UPDATE " + table.name.Quoted() + " SET ";
    for (std::size_t i = 0; i < set.size(); ++i) {
      sql += (i == 0 ? "" : ", ") + db::QuoteIdentifier(table.columns[set[i]].name) + " = ?";
    }
    for (std::size_t i = 0; i < keys.size(); ++i) {
      sql += (i == 0 ? " WHERE " : " AND ") + db::QuoteIdentifier(table.columns[keys[i]].name) +
             " = ?";
    }
    db::Transaction transaction(*session_, db::Isolation::kDefault, false, true);
    std::string cell;
    for (std::int64_t row = 0; row < rows.rows(); ++row) {
      db::Params values;
      for (const auto& columns : {set, keys}) {
        for (const std::size_t column : columns) {
          cell.clear();
          values.push_back(rows.FinalCell(column, row, cell) ? rows.ToValue(column, cell)
                                                             : db::Value::Null());
        }
      }
      session_->QueryPrepared(sql, values);
    }
    transaction.Commit();
  }

  // Whatever a column draws from: its own or identity sequence, or one that its default names.
  void AdvanceSequences(const TableRows& rows) {
    const SchemaTable& table = rows.table();
    const auto sequences =
        session_
            ->Query(R"sql(
SELECT DISTINCT n.nspname, s.relname, a.attname, q.seqincrement
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_depend d
  ON (d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass
      AND d.objid = (SELECT f.oid FROM pg_catalog.pg_attrdef f
                     WHERE f.adrelid = a.attrelid AND f.adnum = a.attnum)
      AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass)
  OR (d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = a.attrelid
      AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
      AND d.refobjsubid = a.attnum AND d.deptype = 'i')
JOIN pg_catalog.pg_class s
  ON s.relkind = 'S' AND s.oid = CASE WHEN d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                                      THEN d.objid ELSE d.refobjid END
JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace
JOIN pg_catalog.pg_sequence q ON q.seqrelid = s.oid
WHERE a.attrelid = (SELECT c.oid FROM pg_catalog.pg_class c
                    JOIN pg_catalog.pg_namespace m ON m.oid = c.relnamespace
                    WHERE m.nspname = $1 AND c.relname = $2)
  AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY 1, 2, 3
)sql",
                    {db::Value::Text(table.name.schema), db::Value::Text(table.name.name)})
            .rows;
    for (const db::Row& row : sequences) {
      const db::TableName sequence{row[0].text, row[1].text};
      const SchemaColumn* column = table.Column(row[2].text);
      const bool up = row[3].AsInteger() > 0;
      std::string past;
      if (column != nullptr && Ordinal::Of(*column).kind == OrdinalKind::kInteger) {
        past = std::string(up ? "max(" : "min(") + db::QuoteIdentifier(column->name) +
               ")::pg_catalog.int8";
      } else {  // a text made of a number: as many numbers as rows are taken
        past = "(SELECT q.last_value FROM " + sequence.Quoted() + " q) + pg_catalog.count(*) * " +
               row[3].text;
      }
      const std::string sql =
          "SELECT pg_catalog.setval($1::pg_catalog.regclass, m.past) FROM "
          "(SELECT " +
          past + " AS past FROM " + table.name.Quoted() + ") m, " + sequence.Quoted() +
          " s WHERE m.past " + (up ? ">=" : "<=") + " s.last_value";
      During("set the sequence " + sequence.Display(),
             [&] { session_->Query(sql, {db::Value::Text(sequence.Quoted())}); });
    }
  }

  std::string where_;
  const GenerateOptions& options_;
  bool postgres_;
  std::unique_ptr<db::Session> session_;
  std::unique_ptr<db::CopySession> copies_;
  std::map<db::TableName, std::unique_ptr<TableRows>> all_;
  std::chrono::steady_clock::time_point told_;
};

}  // namespace

std::vector<GeneratedTable> GenerateRows(const db::Endpoint& endpoint, const Json& description,
                                         std::string_view where, const GenerateOptions& options) {
  return Generator(endpoint, where, options).Run(description);
}

}  // namespace understudy::harness
