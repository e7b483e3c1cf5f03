#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/db/session.h"

namespace understudy::table_swap {

// Two objects that take each other's place.
struct OidPair {
  std::uint32_t out = 0;
  std::uint32_t in = 0;
};

// What a sequence will give next, written as setval takes it.
struct SequenceValue {
  std::int64_t value = 1;
  bool called = false;
};

// The further one in the direction of `in_increment`, as a value for the incoming sequence.
// `reserve` values behind the outgoing one are left to clients that wait on it already. Error
// (kMismatch) when the value lies outside of [minimum, maximum]: `name` is told.
SequenceValue Furthest(const SequenceValue& out, std::int64_t out_increment,
                       const SequenceValue& in, std::int64_t in_increment, std::int64_t minimum,
                       std::int64_t maximum, bool cycles, std::int64_t reserve,
                       const std::string& name);

// Sets every incoming sequence to the furthest of both. REQUIRES: the outgoing ones are locked
// against nextval in the open transaction (SET SCHEMA has moved them: LOCK TABLE cannot, and does
// not stop nextval). A client that waits on an outgoing sequence right now will be given its next
// values after the commit, so these are skipped in the incoming one.
void CarrySequenceValues(db::Session& session, const std::vector<OidPair>& pairs);

// The pairs whose value would not fit, by name; before any lock.
std::vector<std::string> SequencesThatDoNotFit(db::Session& session,
                                               const std::vector<OidPair>& pairs);

}  // namespace understudy::table_swap
