#pragma once

#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "harness/evidence/evidence.h"
#include "harness/snapshot/snapshot.h"

// What the documents of table swaps promise, and what the record tells of when each was in service.
// A reading of the scenario and the evidence alone: it shares nothing with the strategy.
namespace understudy::harness {

struct SwapDocument {
  std::string name;  // the migration's, as the evidence calls it
  std::string target;
  std::string source;  // "" = every table keeps production's rows
  std::vector<std::string> schemas;
  std::set<std::string> preserved;    // TableName::Display()
  std::set<std::string> exclude;      // likewise
  std::map<std::string, Json> rules;  // table → {new column: {"from"|"sql"|"default"}}
  bool reverse = false;

  bool Preserves(const std::string& table) const {
    return source.empty() || preserved.contains(table);
  }
  bool HasSchema(const std::string& displayed) const;  // of a name, as Display() writes it
  bool CanHold(const std::string& table) const;        // by its schema and `exclude`
};

// One time of a swap in service. Moments are milliseconds of the evidence.
struct SwapService {
  static constexpr double kNever = std::numeric_limits<double>::max();
  std::size_t swap = 0;  // of Swaps::documents
  double prepared_ms = 0;
  double locked_ms = 0;        // what ended before is surely on the old side
  double in_ms = 0;            // what began after is surely on the new side
  double leaving_ms = kNever;  // the same of the rollback
  double out_ms = kNever;
};

// Rows that one table of a target should have: those of `table` in `database` at `snapshot`.
struct RowsFrom {
  std::string database;
  std::string snapshot;
};

// A time in which what clients wrote to a table does not count: it was replaced, or lost by a
// rollback that was told so. Writes that touch an edge may be there or not.
struct LostTime {
  std::string database;
  std::string table;
  double from_begin_ms = 0, from_end_ms = 0;  // the edge of its begin
  double to_begin_ms = 0, to_end_ms = 0;      // the edge of its end
};

class Swaps {
 public:
  explicit Swaps(const Evidence& evidence);

  bool empty() const { return documents_.empty(); }
  const std::vector<SwapDocument>& documents() const { return documents_; }
  const std::vector<SwapService>& services() const { return services_; }
  bool IsSource(const std::string& database) const;
  bool IsTarget(const std::string& database) const;

  // The swaps of `database` that were not in service at `from_ms` and are at `to_ms`, in order.
  std::vector<const SwapService*> Between(const std::string& database, double from_ms,
                                          double to_ms) const;
  // The moment of a snapshot; -1 when there is none.
  double MomentOf(const std::string& snapshot, const std::string& database) const;
  // The last snapshot of `database` not after `ms`, else its first; "" when it has none.
  std::string SnapshotAt(const std::string& database, double ms) const;

  // The tables that the swap exchanges, as the snapshots before its prepare show them.
  std::set<std::string> SetOf(const SwapService& service) const;
  // Tables of `database` whose rows at snapshot `after` are not its own of `before`.
  std::map<std::string, RowsFrom> Replaced(const std::string& database, const std::string& before,
                                           const std::string& after) const;
  // What the catalog of `database` should be at snapshot `after`, from those of `before` and of the
  // sources: the shape of the new schema, what production says of it (owners, grants, policies, …).
  // `tolerated`: properties (PATH#property) in which either side is right.
  struct Expected {
    Snapshot catalog;
    std::map<std::string, std::string> tolerated;  // PATH#property → the other right value
    std::set<std::string> changed_by;              // names of the swaps
  };
  std::optional<Expected> ExpectedCatalog(const std::string& database, const std::string& before,
                                          const std::string& after) const;
  // Times whose writes do not count at the end of the run.
  std::vector<LostTime> LostTimes() const;
  // Column rules of the swaps that are in service at the end, per table of `database`.
  std::map<std::string, Json> RulesAtEnd(const std::string& database) const;

 private:
  void ReadDocuments();
  void ReadServices();
  void PreservePartitions(SwapDocument& document) const;
  std::set<std::string> TablesIn(const std::string& snapshot, const std::string& database,
                                 const SwapDocument& document) const;

  const Evidence& evidence_;
  std::vector<SwapDocument> documents_;
  std::vector<SwapService> services_;
};

// Makes the temporary view `counted` over the ledger's `writes`: without those of lost times; what
// touches an edge of one is unknown.
void CreateCounted(const Evidence& evidence, db::Session& ledger);

}  // namespace understudy::harness
