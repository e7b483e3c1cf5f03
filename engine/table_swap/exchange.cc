#include "engine/table_swap/exchange.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>

#include "engine/base/error.h"
#include "engine/base/sabotage.h"
#include "engine/table_swap/catalog_digest.h"
#include "engine/table_swap/lost_operators.h"

namespace understudy::table_swap {
namespace {

bool IsRelation(const Movable& object) {
  return object.kind == "TABLE" || object.kind == "VIEW" || object.kind == "MATERIALIZED VIEW" ||
         object.kind == "FOREIGN TABLE" || object.kind == "SEQUENCE";
}

bool IsType(const Movable& object) { return object.kind == "TYPE" || object.kind == "DOMAIN"; }

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

std::string LockSql(const std::vector<Movable>& objects, const std::vector<db::TableName>& more) {
  std::set<std::string> views;
  std::set<std::string> tables;
  for (const Movable& object : objects) {
    if (object.kind == "VIEW") views.insert(object.Identity());
    if (object.kind == "TABLE") tables.insert(object.Identity());
  }
  for (const db::TableName& table : more) tables.insert(table.Quoted());
  std::string sql;
  for (const auto* list : {&views, &tables}) {
    for (const std::string& name : *list) {
      if (list == &tables && views.contains(name)) continue;
      sql += (sql.empty() ? "LOCK TABLE " : ", ") + name;
    }
  }
  return sql.empty() ? sql : sql + " IN ACCESS EXCLUSIVE MODE";
}

// Owned and identity sequences of tables, by schema and name.
std::map<std::pair<std::string, std::string>, std::uint32_t> OwnedSequences(
    db::Session& session, const std::vector<Movable>& tables) {
  std::map<std::pair<std::string, std::string>, std::uint32_t> owned;
  for (const db::Row& row : session
                                .Query(R"(
SELECT n.nspname, c.relname, c.oid
FROM pg_depend d
JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S'
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
  AND d.deptype IN ('a', 'i') AND d.refobjid = ANY ($1::oid[]))",
                                       {TableOids(tables)})
                                .rows) {
    owned[{row[0].text, row[1].text}] = static_cast<std::uint32_t>(row[2].AsInteger());
  }
  return owned;
}

std::string StateSql(const TriggerState& state) {
  const std::string what = state.rule ? "RULE " : "TRIGGER ";
  const char* verb = state.enabled == 'D'   ? " DISABLE "
                     : state.enabled == 'A' ? " ENABLE ALWAYS "
                     : state.enabled == 'R' ? " ENABLE REPLICA "
                                            : " ENABLE ";
  return "ALTER TABLE " + state.table.Quoted() + verb + what + db::QuoteIdentifier(state.name) +
         ";\n";
}

// Whatever does not stand where it stood when it was listed: it would be moved by a name that may
// be another's by now.
void AddStrayed(db::Session& session, const std::vector<Movable>& objects,
                std::vector<Unmovable>& refused) {
  std::set<std::string> schemas;
  for (const Movable& object : objects) schemas.insert(object.schema);
  std::map<std::pair<std::string, std::uint32_t>, Movable> present;
  for (Movable& object : ListMovables(session, {schemas.begin(), schemas.end()})) {
    const std::pair key{object.kind, object.oid};
    present.emplace(key, std::move(object));
  }
  for (const Movable& object : objects) {
    const auto it = present.find({object.kind, object.oid});
    if (it != present.end() && it->second.schema == object.schema &&
        it->second.name == object.name) {
      continue;
    }
    refused.push_back(
        {object.Display(),
         (it == present.end() ? "it was dropped or moved to another schema"
                              : "it was renamed to " + it->second.Display()) +
             std::string(" since understudy prepared it, and what has its name now is another "
                         "object: put it back, or begin again with: understudy migrate reset")});
  }
}

// A table of the set that has become a partition or child of one outside.
void AddAdopted(db::Session& session, const std::vector<Movable>& out,
                std::vector<Unmovable>& refused) {
  for (const db::Row& row :
       session
           .Query("SELECT cn.nspname, c.relname, pn.nspname, p.relname FROM pg_inherits i "
                  "JOIN pg_class c ON c.oid = i.inhrelid "
                  "JOIN pg_namespace cn ON cn.oid = c.relnamespace "
                  "JOIN pg_class p ON p.oid = i.inhparent "
                  "JOIN pg_namespace pn ON pn.oid = p.relnamespace "
                  "WHERE i.inhrelid = ANY ($1::oid[]) AND NOT i.inhparent = ANY ($1::oid[]) "
                  "ORDER BY 1, 2",
                  {TableOids(out)})
           .rows) {
    refused.push_back({"table " + db::TableName{row[0].text, row[1].text}.Display(),
                       "it is a partition or child of " +
                           db::TableName{row[2].text, row[3].text}.Display() +
                           ", which is not exchanged: detach it, or let both take part"});
  }
}

std::vector<KeyFinish> Finishes(const std::vector<Dependent>& dependents) {
  std::vector<KeyFinish> all;
  for (const Dependent& dependent : dependents) {
    if (!dependent.finish.empty()) all.push_back(dependent.finish);
  }
  return all;
}

}  // namespace

Exchange::Exchange(db::Session& session, ExchangeRequest request) : request_(std::move(request)) {
  digest_ = CatalogDigest(session, request_.out);
  dependents_ = FindDependents(session, request_.out);
  AddStrayed(session, request_.out, dependents_.refused);
  AddStrayed(session, request_.in, dependents_.refused);
  AddAdopted(session, request_.out, dependents_.refused);
  if (request_.from_source && !request_.back) {  // production's policies are made again, too
    std::vector<std::string> schemas;
    for (const SchemaNames& names : request_.schemas) schemas.push_back(names.user);
    for (Unmovable& lost : LostOperators(session, schemas)) {
      if (lost.object.starts_with("policy ")) dependents_.refused.push_back(std::move(lost));
    }
  }
  // What was listed and has gone cannot be paired.
  if (!dependents_.refused.empty()) return;
  outbound_ = FindOutbound(session, request_.out);
  FindPairs(session);
  PairByColumns(session);
  RefuseUnfit(session);
  if (!request_.keep_sequences) carrier_ = SequenceCarrier(session, sequences_);
  publications_ = PublicationChanges(session, tables_);
  if (request_.from_source && !request_.back) {
    policies_ = PoliciesSql(session, tables_);
    KeepTriggerStates(session);
  }
}

Fidelity Exchange::fidelity() const {
  if (request_.back) return {};
  return {request_.from_source, request_.from_source, request_.from_source};
}

std::string Exchange::UserSchema(const std::string& schema) const {
  for (const SchemaNames& names : request_.schemas) {
    if (schema == names.shadow || schema == names.backup) return names.user;
  }
  return schema;
}

std::string Exchange::AsUsers(std::string text) const {
  for (const SchemaNames& names : request_.schemas) {
    for (const std::string& ours : {names.shadow, names.backup}) {
      text = Replaced(std::move(text), db::DisplayIdentifier(ours) + ".",
                      db::DisplayIdentifier(names.user) + ".");
    }
  }
  return text;
}

const std::string& Exchange::OutSchema(const std::string& user_schema) const {
  for (const SchemaNames& names : request_.schemas) {
    if (names.user == user_schema) return request_.back ? names.shadow : names.backup;
  }
  throw Error(ErrorKind::kInternal, "an object of the schema '" + user_schema +
                                        "' is to be exchanged, which takes no part");
}

void Exchange::FindPairs(db::Session& session) {
  std::map<std::pair<std::string, std::string>, const Movable*> out_relations;
  std::map<std::string, const Movable*> out_routines;
  std::map<std::pair<std::string, std::string>, const Movable*> out_types;
  for (const Movable& object : request_.out) {
    if (IsRelation(object)) out_relations[{object.schema, object.name}] = &object;
    if (object.IsRoutine()) out_routines[object.Key()] = &object;
    if (IsType(object)) out_types[{object.schema, object.name}] = &object;
  }
  auto out_owned = OwnedSequences(session, request_.out);
  for (const auto& [name, oid] : OwnedSequences(session, request_.in)) {
    const auto it = out_owned.find({UserSchema(name.first), name.second});
    if (it == out_owned.end()) continue;
    sequences_.push_back({it->second, oid});
    relations_.push_back({it->second, oid});
  }
  for (const Movable& object : request_.in) {
    if (IsRelation(object)) {
      const auto it = out_relations.find({UserSchema(object.schema), object.name});
      if (it == out_relations.end()) continue;
      const bool sequence = object.kind == "SEQUENCE";
      if (sequence != (it->second->kind == "SEQUENCE")) continue;
      const OidPair pair{it->second->oid, object.oid};
      relations_.push_back(pair);
      if (sequence) sequences_.push_back(pair);
      if (object.kind == "TABLE" && it->second->kind == "TABLE") tables_.push_back(pair);
    } else if (IsType(object)) {
      const auto it = out_types.find({UserSchema(object.schema), object.name});
      if (it != out_types.end()) types_.push_back({it->second->oid, object.oid});
    } else if (object.IsRoutine()) {
      Movable there = MovedTo(object, UserSchema(object.schema));
      there.signature = AsUsers(there.signature);
      const auto it = out_routines.find(there.Key());
      if (it != out_routines.end()) routines_.push_back({it->second->oid, object.oid});
    }
  }
}

// A sequence may have another name on the two sides (a serial that has become an identity): it is
// known by the column that draws on it.
void Exchange::PairByColumns(db::Session& session) {
  std::set<std::uint32_t> paired;
  std::set<std::uint32_t> moves;  // with its table or by itself
  for (const OidPair& pair : sequences_) paired.insert(pair.in);
  for (const auto& [name, oid] : OwnedSequences(session, request_.out)) moves.insert(oid);
  for (const Movable& object : request_.out) {
    if (object.kind == "SEQUENCE") moves.insert(object.oid);
  }
  std::set<std::uint32_t> comes;
  for (const auto& [name, oid] : OwnedSequences(session, request_.in)) comes.insert(oid);
  for (const Movable& object : request_.in) {
    if (object.kind == "SEQUENCE") comes.insert(object.oid);
  }
  std::map<std::uint32_t, db::TableName> in_tables;
  for (const Movable& object : request_.in) {
    if (object.kind == "TABLE") {
      in_tables[object.oid] = {UserSchema(object.schema), object.name};
    }
  }
  const auto out_columns = SequencesOfColumns(session, TableOids(request_.out));
  for (const ColumnSequence& in : SequencesOfColumns(session, TableOids(request_.in))) {
    if (!comes.contains(in.sequence) || paired.contains(in.sequence)) continue;
    std::string column = in.column;
    if (const auto table = request_.column_from.find(in_tables[in.table]);
        table != request_.column_from.end()) {
      if (const auto from = table->second.find(column); from != table->second.end()) {
        column = from->second;
      }
    }
    const auto tables = std::ranges::find(tables_, in.table, &OidPair::in);
    const auto out = std::ranges::find_if(out_columns, [&](const ColumnSequence& candidate) {
      return tables != tables_.end() && candidate.table == tables->out &&
             candidate.column == column && moves.contains(candidate.sequence);
    });
    paired.insert(in.sequence);
    if (out != out_columns.end()) {
      sequences_.push_back({out->sequence, in.sequence});
      relations_.push_back({out->sequence, in.sequence});
    } else if (in.numbers && !request_.keep_sequences) {
      set_beyond_ += "SELECT setval(" + std::to_string(in.sequence) +
                     "::oid::regclass, b.furthest) FROM (" + BehindSql(session, in) +
                     ") AS b (next, furthest);\n";
    }
  }
}

// A trigger or rule that production has too stays in production's state, as switched off as it is.
void Exchange::KeepTriggerStates(db::Session& session) {
  std::map<std::tuple<db::TableName, std::string, bool>, char> states;
  for (const db::Row& row : session
                                .Query(R"(
SELECT n.nspname, c.relname, x.name, x.rule, x.state
FROM (SELECT tgrelid, tgname, false, tgenabled FROM pg_trigger WHERE NOT tgisinternal
      UNION ALL SELECT ev_class, rulename, true, ev_enabled FROM pg_rewrite) AS x(rel, name, rule, state)
JOIN pg_class c ON c.oid = x.rel JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE x.rel = ANY ($1::oid[]))",
                                       {TableOids(request_.out)})
                                .rows) {
    states[{{row[0].text, row[1].text}, row[2].text, row[3].AsBool()}] = row[4].text.at(0);
  }
  for (TriggerState& state : request_.triggers) {
    const auto it = states.find({state.table, state.name, state.rule});
    if (it != states.end()) state.enabled = it->second;
  }
}

// What came after the plan and reads a column that will be another: it would fail under the locks.
void Exchange::RefuseUnfit(db::Session& session) {
  const std::vector<ColumnUse> uses = ColumnsUsedOutside(session, request_.out);
  std::set<db::TableName> names;
  for (const ColumnUse& use : uses) names.insert(use.table);
  std::map<db::TableName, OidPair> used;
  for (const Movable& object : request_.out) {
    const db::TableName name{object.schema, object.name};
    if (object.kind != "TABLE" || !names.contains(name)) continue;
    const auto pair = std::ranges::find(tables_, object.oid, &OidPair::out);
    if (pair != tables_.end()) used[name] = *pair;
  }
  std::vector<catalog::Oid> oids;
  for (const auto& [name, pair] : used) {
    oids.push_back(pair.out);
    oids.push_back(pair.in);
  }
  std::map<catalog::Oid, catalog::Table> tables;
  for (catalog::Table& table : catalog::ReadTablesByOid(session, oids)) {
    const catalog::Oid oid = table.oid;
    tables.emplace(oid, std::move(table));
  }
  for (const ColumnUse& use : uses) {
    const auto pair = used.find(use.table);
    if (pair == used.end()) continue;
    const auto out = tables.find(pair->second.out);
    const auto in = tables.find(pair->second.in);
    if (out == tables.end() || in == tables.end()) continue;
    const catalog::Column* before = out->second.Find(use.column);
    const catalog::Column* found = in->second.Find(use.column);
    if (before == nullptr) continue;
    std::optional<catalog::Column> after;
    std::set<std::string> lost;
    if (found != nullptr) {
      // Its type may be exchanged too, and stands in our schema until then.
      after = *found;
      after->type = AsUsers(after->type);
      after->base_type = AsUsers(after->base_type);
      if (use.names_types) {
        lost = TypeParts(session, pair->second.out, use.column);
        for (const std::string& part : TypeParts(session, pair->second.in, use.column)) {
          lost.erase(AsUsers(part));
        }
      }
    }
    if (auto unfit = Unfit(use, *before, after ? &*after : nullptr, lost)) {
      dependents_.refused.push_back(*std::move(unfit));
    }
  }
}

std::vector<db::TableName> Exchange::Partners() const {
  std::set<db::TableName> partners;
  for (const auto* list : {&dependents_.rebuilt, &outbound_}) {
    for (const Dependent& dependent : *list) {
      if (!dependent.table.name.empty()) partners.insert(dependent.table);
    }
  }
  return {partners.begin(), partners.end()};
}

std::string Exchange::LockIncomingSql() const { return LockSql(request_.in, {}); }

std::string Exchange::LockOutgoingSql() const {
  std::vector<Movable> objects = request_.out;
  std::vector<db::TableName> partners;
  for (const db::TableName& partner : Partners()) {
    const bool view = std::ranges::any_of(dependents_.rebuilt, [&](const Dependent& dependent) {
      return dependent.kind == "view" && dependent.table == partner;
    });
    if (view) {
      objects.push_back({"VIEW", 0, partner.schema, partner.name, ""});
    } else {
      partners.push_back(partner);
    }
  }
  return LockSql(objects, partners);
}

void Exchange::CheckUnchanged(db::Session& session) const {
  if (CatalogDigest(session, request_.out) == digest_) return;
  throw Error(
      ErrorKind::kConflict,
      "a table that is to be exchanged, or something that depends on one, was changed while "
      "the exchange was made ready",
      "changed");
}

void Exchange::MakeAlike(db::Session& session) const {
  if (request_.back) return;
  table_swap::MakeAlike(session, relations_, routines_, fidelity(), types_);
  std::string sql;
  for (const std::string& statement : request_.access) sql += statement + ";\n";
  if (!sql.empty()) session.Execute(sql);
}

void Exchange::Apply(db::Session& session,
                     const std::function<void(std::string_view)>& between) const {
  // Rows drained in this transaction may have left checks for its end: ALTER TABLE refuses then.
  std::string sql = "SET CONSTRAINTS ALL IMMEDIATE;\n";
  for (const Dependent& dependent : dependents_.rebuilt) sql += dependent.detach + "\n";
  for (const Dependent& key : outbound_) sql += key.detach + "\n";
  for (const Movable& object : request_.out) {
    sql += MoveSql(object, OutSchema(object.schema)) + "\n";
  }
  session.Execute(sql);
  between("out");
  carrier_.Carry(session);
  if (!set_beyond_.empty()) session.Execute(set_beyond_);
  between("sequences");
  sql.clear();
  for (const Movable& object : request_.in) {
    sql += MoveSql(object, UserSchema(object.schema)) + "\n";
  }
  session.Execute(sql);
  between("in");
  sql.clear();
  for (const TriggerState& state : request_.triggers) {
    if (Sabotaged("swap-leaves-trigger-off") && !request_.back) continue;
    if (Sabotaged("swap-rollback-leaves-trigger-off") && request_.back) continue;
    sql += StateSql(state);
  }
  sql += policies_;
  for (const Dependent& key : request_.keys) sql += key.attach + "\n";
  for (const Dependent& dependent : dependents_.rebuilt) {
    if (Sabotaged("swap-leaves-view-on-backup") && dependent.kind == "view") continue;
    sql += dependent.attach + "\n";
  }
  for (const PublicationChange& change : publications_) {
    sql += change.add + "\n";
    for (const Movable& object : request_.out) {
      if (object.oid != change.out) continue;
      sql += "ALTER PUBLICATION " + change.publication + " DROP TABLE ONLY " +
             MovedTo(object, OutSchema(object.schema)).Identity() + ";\n";
    }
  }
  if (!sql.empty()) session.Execute(sql);
  between("attached");
}

std::vector<KeyFinish> Exchange::outside_finishes() const { return Finishes(dependents_.rebuilt); }

std::vector<KeyFinish> Exchange::finishes() const {
  std::vector<KeyFinish> all = Finishes(request_.keys);
  std::ranges::copy(outside_finishes(), std::back_inserter(all));
  return all;
}

std::vector<Dependent> KeysOf(const std::vector<DeferredForeignKey>& keys) {
  std::vector<Dependent> all;
  for (const DeferredForeignKey& key : keys) {
    const KeyText text{key.table,     key.name,        key.definition, key.comment,
                       key.validated, key.partitioned, key.parts,      key.references};
    Dependent made;
    made.kind = "foreign key";
    made.object = db::DisplayIdentifier(key.name) + " on " + key.table.Display();
    made.table = key.table;
    made.attach = AttachKeySql(text);
    made.finish = FinishOf(text);
    all.push_back(std::move(made));
  }
  return all;
}

}  // namespace understudy::table_swap
