#pragma once

#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "harness/checks/facts.h"
#include "harness/evidence/evidence.h"
#include "harness/snapshot/snapshot.h"

// What the documents of hot copies promise, and what the record tells of when each was in service.
// A reading of the scenario and the evidence alone: it shares nothing with the strategy.
namespace understudy::harness {

struct HotCopy {
  static constexpr double kNever = std::numeric_limits<double>::max();
  std::string name;    // the migration's, as the evidence calls it
  std::string source;  // databases
  std::string target;
  std::string schema;             // the file
  Json columns = Json::object();  // new table → {new column: {"from"|"sql"|"default"}}
  double ready_ms = kNever;       // the cutover's commit
  // When writers of the source were refused: from a drain until a reset.
  std::vector<Span> refusing;
  bool in_service() const { return ready_ms != kNever; }
};

class HotCopies {
 public:
  explicit HotCopies(const Evidence& evidence);

  bool empty() const { return copies_.empty(); }
  const std::vector<HotCopy>& all() const { return copies_; }
  // nullptr: none has it as its source, as its target.
  const HotCopy* OfSource(const std::string& database) const;
  const HotCopy* OfTarget(const std::string& database) const;
  // Whether the database is the target of a hot copy that is not in service: nothing is promised
  // of it, and after a reset it is not there.
  bool IsUnfinished(const std::string& database) const {
    const HotCopy* copy = OfTarget(database);
    return copy != nullptr && !copy->in_service();
  }

  // What the catalog of a target in service should be: the runner lets plain SQLite read the new
  // schema, and stores it as the snapshot kExpected; what follows the old file (its high-water
  // marks, user_version, application_id) is added from the source's snapshot `after`.
  static constexpr const char* kExpected = "$expected";
  std::optional<Snapshot> ExpectedCatalog(const HotCopy& copy, const std::string& after) const;

  // Whether a write to `database` in this time had to be refused with the text of a drain.
  bool IsDrained(const std::string& database, const Span& span, const std::string& message) const;

 private:
  void ReadTimes();

  const Evidence& evidence_;
  std::vector<HotCopy> copies_;
};

}  // namespace understudy::harness
