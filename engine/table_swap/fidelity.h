#pragma once

#include <string>
#include <vector>

#include "engine/db/session.h"
#include "engine/table_swap/sequences.h"

namespace understudy::table_swap {

// What of the object in service goes over to the one that takes its place.
struct Fidelity {
  bool comments = false;          // of the relation and its columns
  bool replica_identity = false;  // FULL, NOTHING, an index of the same name
  bool row_security = false;      // whether it is enabled and forced; policies: see PoliciesSql
};

// Makes owners, grants (those on columns too) and what `fidelity` says of each incoming relation
// (table, view, sequence), routine and type equal to those of its pair, in the open transaction or
// in one of its own per statement. Gives the statements that were needed: none when it is called a
// second time. Grants that another role than the owner gave are given by the owner.
std::vector<std::string> MakeAlike(db::Session& session, const std::vector<OidPair>& relations,
                                   const std::vector<OidPair>& routines, const Fidelity& fidelity,
                                   const std::vector<OidPair>& types = {});

// The policies of the outgoing tables as CREATE POLICY on the incoming ones, for after the
// exchange: their texts name tables where these will stand then. REQUIRES: called before it.
std::string PoliciesSql(db::Session& session, const std::vector<OidPair>& tables);

// "ALTER PUBLICATION …" that put the incoming tables where the outgoing ones were, for after the
// exchange. REQUIRES: called before it. `out_schema_of(user schema)` is where these will stand.
struct PublicationChange {
  std::string publication;
  std::string table;      // for messages
  std::string add;        // names the table in its place
  std::uint32_t out = 0;  // to be dropped from the publication wherever it stands then
};
std::vector<PublicationChange> PublicationChanges(db::Session& session,
                                                  const std::vector<OidPair>& tables);

}  // namespace understudy::table_swap
