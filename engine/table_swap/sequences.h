#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "engine/db/session.h"

namespace understudy::table_swap {

// Two objects that take each other's place.
struct OidPair {
  std::uint32_t out = 0;
  std::uint32_t in = 0;
};
// Both columns of the pairs, as $1 and $2.
db::Params Arrays(const std::vector<OidPair>& pairs);

// What a sequence will give next, written as setval takes it.
struct SequenceValue {
  std::int64_t value = 1;
  bool called = false;

  bool operator==(const SequenceValue&) const = default;
};

// The further one in the direction of `in_increment`, as a value for the incoming sequence.
// `reserve` values behind the outgoing one are left to clients that wait on it already. Error
// (kMismatch) when the value lies outside of [minimum, maximum]: `name` is told.
SequenceValue Furthest(const SequenceValue& out, std::int64_t out_increment,
                       const SequenceValue& in, std::int64_t in_increment, std::int64_t minimum,
                       std::int64_t maximum, bool cycles, std::int64_t reserve,
                       const std::string& name);

// A sequence that a column draws on: it owns it, or its default calls it.
struct ColumnSequence {
  std::uint32_t table = 0;
  std::string column;
  std::uint32_t sequence = 0;
  bool by_default = false;
  bool numbers = false;  // the column holds integers, an index leads with it: see Behind
};
// By table, column; what the default calls before what is only owned.
std::vector<ColumnSequence> SequencesOfColumns(db::Session& session, const db::Value& tables);

// SELECT next, furthest, which gives a row when the sequence would give a value that the column has
// passed already; columns of numbers only.
std::string BehindSql(db::Session& session, const ColumnSequence& column);

// The sequences of one exchange. The incoming ones are read when this is made, since nobody calls
// them; the outgoing ones when their values are carried.
class SequenceCarrier {
 public:
  SequenceCarrier() = default;
  SequenceCarrier(db::Session& session, const std::vector<OidPair>& pairs);

  // Those whose value would not fit, as sentences.
  const std::vector<std::string>& misfits() const { return misfits_; }

  // Sets every incoming sequence to the furthest of both. REQUIRES: the outgoing ones are locked
  // against nextval in the open transaction (SET SCHEMA has moved them: LOCK TABLE cannot, and does
  // not stop nextval). A client that waits on an outgoing sequence at the commit will be given its
  // next values after it, so these are skipped in the incoming one: where somebody waits, and where
  // numbers were drawn since this was made, so that somebody may come.
  void Carry(db::Session& session) const;
  // Skips them where somebody has come to wait since Carry. The last thing before the commit.
  void CarryForLateWaiters(db::Session& session) const;

 private:
  struct Pair {
    OidPair oids;
    std::string in_name;
    std::int64_t out_increment = 1;
    std::int64_t in_increment = 1;
    std::int64_t minimum = 1;
    std::int64_t maximum = 1;
    std::int64_t cache = 1;
    bool cycles = false;
    SequenceValue in_value;
    SequenceValue out_value;  // when this was made
  };
  struct Out {
    SequenceValue value;
    std::int64_t waiters = 0;
  };
  std::vector<Out> ReadOut(db::Session& session) const;
  static SequenceValue FurthestOf(const Pair& pair, const Out& out);
  static void Set(db::Session& session,
                  const std::vector<std::pair<std::uint32_t, SequenceValue>>& values);

  std::vector<Pair> pairs_;
  std::vector<std::string> misfits_;
};

}  // namespace understudy::table_swap
