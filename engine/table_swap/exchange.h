#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "engine/db/session.h"
#include "engine/table_swap/dependents.h"
#include "engine/table_swap/fidelity.h"
#include "engine/table_swap/manifest.h"
#include "engine/table_swap/mover.h"
#include "engine/table_swap/sequences.h"

namespace understudy::table_swap {

// Two sets of objects that change places: a cutover (main → backup, shadow → main) or a rollback
// (main → shadow, backup → main).
struct ExchangeRequest {
  std::vector<SchemaNames> schemas;
  bool back = false;                   // a rollback
  std::vector<Movable> out;            // stand in the user's schemas
  std::vector<Movable> in;             // stand in ours: the shadow's, or the backup's
  std::vector<Dependent> keys;         // foreign keys of `in` that are made behind the exchange
  std::vector<TriggerState> triggers;  // states that triggers and rules of `in` are to have
  std::vector<std::string> access;     // owners and grants of `in` that are not those of `out`
  bool from_source = false;            // then production's comments, policies, … go over to `in`
  // By the user's table: columns of `in` that come from a column of another name.
  std::map<db::TableName, std::map<std::string, std::string>> column_from = {};
  // Sequences of `in` whose values stay as they are (a rollback that gives up later writes).
  bool keep_sequences = false;
};

// Reads what an exchange must do while nothing is locked, so that under the locks only statements
// are left. Used by one thread; every session given is of the same database.
//
//   Exchange exchange(session, request);      // reads; no lock is kept
//   … refused() must be empty …
//   session.Begin();
//   session.Execute(exchange.LockIncomingSql());   // hurts nobody
//   session.Execute(exchange.LockOutgoingSql());   // production waits from here
//   exchange.CheckUnchanged(session);
//   exchange.Apply(session, …);
//   session.Commit();                         // until here
//   … finishes() …
class Exchange {
 public:
  Exchange(db::Session& session, ExchangeRequest request);

  const std::vector<Unmovable>& refused() const { return dependents_.refused; }
  const std::vector<Dependent>& dependents() const { return dependents_.rebuilt; }
  const SequenceCarrier& sequences() const { return carrier_; }
  const std::vector<OidPair>& relations() const { return relations_; }
  const std::vector<OidPair>& routines() const { return routines_; }
  // As they are set: of `in`, in production's state where production has the same.
  const std::vector<TriggerState>& triggers() const { return request_.triggers; }
  const std::vector<PublicationChange>& publications() const { return publications_; }
  Fidelity fidelity() const;

  // Foreign keys by which `out` references tables outside: gone behind the exchange; to be kept for
  // the way back.
  const std::vector<Dependent>& dropped_keys() const { return outbound_; }
  const std::vector<Movable>& out() const { return request_.out; }
  // Tables outside of the set that are locked with it.
  std::vector<db::TableName> Partners() const;

  // Views before tables, as a client that reads a view locks them; "" when there is nothing.
  std::string LockIncomingSql() const;
  std::string LockOutgoingSql() const;

  // REQUIRES: the locks are held. Error(kConflict, "changed") when somebody has changed an object
  // of the set, or what depends on it, since the exchange was read; reading it again helps.
  void CheckUnchanged(db::Session& session) const;
  // Brings owners, grants, … of what comes in up to date; before the locks. What changes after it,
  // CheckUnchanged sees.
  void MakeAlike(db::Session& session) const;
  // `between` is called after every stage: it may throw.
  void Apply(db::Session& session,
             const std::function<void(std::string_view stage)>& between) const;

  // For after the commit; of the keys of tables outside alone, and of all.
  std::vector<KeyFinish> outside_finishes() const;
  std::vector<KeyFinish> finishes() const;

 private:
  std::string UserSchema(const std::string& schema) const;
  // `shadow_public.f(shadow_public.t)` → the same with the user's schemas.
  std::string AsUsers(std::string text) const;
  const std::string& OutSchema(const std::string& user_schema) const;
  void FindPairs(db::Session& session);
  void PairByColumns(db::Session& session);
  void RefuseUnfit(db::Session& session);
  void KeepTriggerStates(db::Session& session);

  ExchangeRequest request_;
  Dependents dependents_;
  std::vector<Dependent> outbound_;
  std::vector<OidPair> relations_;
  std::vector<OidPair> tables_;
  std::vector<OidPair> sequences_;
  std::vector<OidPair> routines_;
  std::vector<OidPair> types_;
  SequenceCarrier carrier_;
  // Sequences of `in` that take no other's place: beyond what their columns hold.
  std::string set_beyond_;
  std::string digest_;  // of what goes out, before anything else was read
  std::vector<PublicationChange> publications_;
  std::string policies_;
};

// As the dependents of an exchange: added behind it, validated after the commit.
std::vector<Dependent> KeysOf(const std::vector<DeferredForeignKey>& keys);

}  // namespace understudy::table_swap
