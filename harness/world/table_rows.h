#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "harness/schema/column_plan.h"
#include "harness/schema/schema.h"
#include "harness/world/rows_description.h"

namespace understudy::harness::internal {

// The rows of one table as a function of their number: any cell can be computed at any time, so
// that a child finds its parents' keys without anybody holding them. REQUIRES: schema and
// description outlive it, and the parents' TableRows too.
class TableRows {
 public:
  // The other tables that are generated; those whose rows come later are marked by `loaded`.
  struct Context {
    std::map<db::TableName, std::unique_ptr<TableRows>>* all;
    std::string where;
    std::uint64_t seed;
    // Keys of a table whose rows we did not make: at most some thousands, in a fixed order.
    std::function<std::vector<db::Row>(const SchemaTable&, const std::vector<std::string>&)> sample;
    const Schema* schema;
  };

  // `first_serial`: above every number that the table's keys hold already.
  TableRows(const SchemaTable& table, const TableDescription& description, const Context& context,
            std::int64_t first_serial);

  const SchemaTable& table() const { return table_; }
  std::int64_t rows() const { return rows_; }
  // What to write, in order: no generated columns, none that its default fills.
  const std::vector<std::size_t>& written() const { return written_; }  // into table().columns
  // Appends the text form of a cell; false: it is NULL. REQUIRES: `column` is in written().
  bool Cell(std::size_t column, std::int64_t row, std::string& out) const;
  db::Value ToValue(std::size_t column, std::string text) const;
  // Whether cells of the column can be computed.
  bool Computable(const std::string& column) const;

  // Keys to tables that are filled later: NULL at first. The columns to set when all are filled.
  bool HasLaterKeys() const;
  // REQUIRES: all tables are filled.
  void ResolveLater(const Context& context);
  std::vector<std::size_t> LaterColumns() const;
  // The cell as it will be at last.
  bool FinalCell(std::size_t column, std::int64_t row, std::string& out) const;
  const std::vector<std::string>& not_understood() const { return rules_.not_understood; }

 private:
  enum class Kind { kPlan, kWeighted, kZipf, kForeign, kSequence, kConstant };
  // A number that a unique key gives a row: different rows have different combinations of digits.
  struct Digit {
    std::uint64_t modulus = 0;  // all combinations; 0: not in such a key
    std::uint64_t multiplier = 1;
    std::uint64_t stride = 1;
    std::uint64_t capacity = 1;
    std::int64_t Of(std::int64_t row) const;
  };
  struct Column {
    Kind kind = Kind::kPlan;
    std::unique_ptr<ColumnPlan> plan;
    double null_share = 0;
    std::uint64_t seed = 0;
    std::vector<std::string> labels;
    std::vector<double> cumulated;
    std::int64_t low = 0;  // zipf: in units; sequence: start
    std::int64_t span = 0;
    std::int64_t step = 1;
    std::string constant;
    std::size_t group = 0;     // foreign: which key,
    std::size_t position = 0;  // and which of its columns
    Digit digit;
  };
  enum class Choice { kUniform, kZipf, kEach };
  struct Group {
    const SchemaForeignKey* key = nullptr;
    const TableRows* parent = nullptr;  // null: `sampled`
    std::vector<std::size_t> parent_columns;
    std::vector<db::Row> sampled;
    bool self = false;
    bool later = false;
    bool always_null = false;
    Choice choice = Choice::kUniform;
    double null_share = 0;
    std::uint64_t seed = 0;
    Digit digit;
    std::int64_t parents() const;
  };

  void MakeColumns(const TableDescription& description, const Context& context);
  void MakePlainColumn(std::size_t at, const ColumnDescription* description,
                       const Context& context);
  void MakeGroups(const TableDescription& description, const Context& context);
  void MakeKeysUnique(const TableDescription& description, const Context& context);
  void SpreadOverParents(const TableDescription& description);
  bool MakeUniqueByOne(const SchemaKey& key);
  std::size_t Index(const std::string& column) const;
  bool ForeignCell(const Column& column, std::int64_t row, std::string& out, bool at_last) const;

  const SchemaTable& table_;
  TableRules rules_;
  std::int64_t rows_;
  std::int64_t first_serial_;
  std::vector<Column> columns_;
  std::vector<Group> groups_;
  std::vector<std::size_t> written_;
};

}  // namespace understudy::harness::internal
