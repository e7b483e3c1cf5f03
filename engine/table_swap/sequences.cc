#include "engine/table_swap/sequences.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/sabotage.h"
#include "engine/db/identifier.h"

namespace understudy::table_swap {
namespace {

// Between our reading a sequence and the commit some more clients may queue up on it.
constexpr std::int64_t kReserveBesideWaiters = 16;

// Values of sequences in the order of `oids`: one query for all; only those that nobody has called
// yet must be opened one by one.
std::vector<SequenceValue> ReadValues(db::Session& session, const db::Value& oids,
                                      std::vector<std::int64_t>* waiters) {
  std::vector<SequenceValue> values;
  std::string query;
  for (const db::Row& row : session
                                .Query(R"(
WITH waiting AS (
  SELECT relation, count(*) AS clients FROM pg_locks
  WHERE locktype = 'relation' AND NOT granted GROUP BY relation)
SELECT pg_sequence_last_value(s.oid::regclass), s.oid::regclass::text, coalesce(w.clients, 0)
FROM unnest($1::oid[]) WITH ORDINALITY AS s(oid, n) LEFT JOIN waiting w ON w.relation = s.oid
ORDER BY s.n)",
                                       {oids})
                                .rows) {
    if (waiters != nullptr) waiters->push_back(row[2].AsInteger());
    if (row[0].is_null()) {
      query += (query.empty() ? "SELECT " : " UNION ALL SELECT ") + std::to_string(values.size()) +
               ", last_value, is_called FROM " + row[1].text;
      values.emplace_back();
    } else {
      values.push_back({row[0].AsInteger(), true});
    }
  }
  if (!query.empty()) {
    for (const db::Row& row : session.Query(query).rows) {
      values.at(static_cast<std::size_t>(row[0].AsInteger())) = {row[1].AsInteger(),
                                                                 row[2].AsBool()};
    }
  }
  return values;
}

}  // namespace

db::Params Arrays(const std::vector<OidPair>& pairs) {
  return {db::IntegerArray(pairs, &OidPair::out), db::IntegerArray(pairs, &OidPair::in)};
}

SequenceValue Furthest(const SequenceValue& out, std::int64_t out_increment,
                       const SequenceValue& in, std::int64_t in_increment, std::int64_t minimum,
                       std::int64_t maximum, bool cycles, std::int64_t reserve,
                       const std::string& name) {
  // In 128 bits: a sequence may stand at the end of bigint.
  __extension__ using Wide = __int128;
  const bool up = in_increment > 0;
  // A sequence of the other direction says nothing about where this one must go on.
  if (up != (out_increment > 0)) return in;
  const Wide next_out = static_cast<Wide>(out.value) + (out.called ? out_increment : 0);
  const Wide next_in = static_cast<Wide>(in.value) + (in.called ? in_increment : 0);
  const bool out_is_further = up ? next_out >= next_in : next_out <= next_in;
  if (!out_is_further && !cycles) return in;
  if (out.value > maximum || out.value < minimum) {
    throw Error(ErrorKind::kMismatch,
                "the sequence " + name + " stands at " + std::to_string(out.value) +
                    ", which its new definition does not allow (" + std::to_string(minimum) +
                    " to " + std::to_string(maximum) + "); give it a wider type or range",
                "sequence");
  }
  if (reserve == 0) return out;
  const Wide reserved = static_cast<Wide>(out.value) + static_cast<Wide>(reserve) * out_increment;
  const Wide inside = std::clamp<Wide>(reserved, minimum, maximum);
  return {static_cast<std::int64_t>(inside), true};
}

std::vector<ColumnSequence> SequencesOfColumns(db::Session& session, const db::Value& tables) {
  std::vector<ColumnSequence> all;
  for (const db::Row& row : session
                                .Query(R"(
WITH used AS (
  SELECT d.refobjid AS tab, d.refobjsubid::integer AS col, d.objid AS seq, false AS by_default
    FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S'
   WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
     AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0 AND d.refobjid = ANY ($1::oid[])
   UNION
  SELECT f.adrelid, f.adnum::integer, d.refobjid, true
    FROM pg_attrdef f
    JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid
     AND d.refclassid = 'pg_class'::regclass
    JOIN pg_class c ON c.oid = d.refobjid AND c.relkind = 'S'
   WHERE f.adrelid = ANY ($1::oid[])
)
SELECT u.tab, a.attname, u.seq, u.by_default,
       a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) AND EXISTS (
         SELECT FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
           JOIN pg_am m ON m.oid = x.relam AND m.amname = 'btree'
          WHERE i.indrelid = u.tab AND i.indkey[0] = u.col AND i.indpred IS NULL AND i.indisvalid)
FROM used u JOIN pg_attribute a ON a.attrelid = u.tab AND a.attnum = u.col
ORDER BY 1, 2, 4 DESC, 3)",
                                       {tables})
                                .rows) {
    all.push_back({static_cast<std::uint32_t>(row[0].AsInteger()), row[1].text,
                   static_cast<std::uint32_t>(row[2].AsInteger()), row[3].AsBool(),
                   row[4].AsBool()});
  }
  return all;
}

std::string BehindSql(db::Session& session, const ColumnSequence& column) {
  const db::Row row =
      session
          .Query(
              "SELECT $1::oid::regclass::text, $2::oid::regclass::text, seqincrement "
              "FROM pg_sequence WHERE seqrelid = $2::oid",
              {db::Value::Integer(column.table), db::Value::Integer(column.sequence)})
          .rows.at(0);
  const bool up = row[2].AsInteger() > 0;
  const std::string next =
      "(s.last_value::numeric + CASE WHEN s.is_called THEN " + row[2].text + " ELSE 0 END)";
  return "SELECT " + next + ", x.furthest FROM " + row[1].text + " AS s, (SELECT " +
         (up ? "max(" : "min(") + db::QuoteIdentifier(column.column) +
         ")::bigint AS furthest FROM " + row[0].text + ") AS x WHERE x.furthest " +
         (up ? ">= " : "<= ") + next;
}

SequenceCarrier::SequenceCarrier(db::Session& session, const std::vector<OidPair>& pairs) {
  if (pairs.empty()) return;
  for (const db::Row& row : session
                                .Query(R"(
SELECT p.o, p.i, p.i::regclass::text, so.seqincrement, si.seqincrement, si.seqmin, si.seqmax,
       greatest(so.seqcache, si.seqcache), si.seqcycle
FROM unnest($1::oid[], $2::oid[]) AS p(o, i)
JOIN pg_sequence so ON so.seqrelid = p.o
JOIN pg_sequence si ON si.seqrelid = p.i
ORDER BY p.i)",
                                       Arrays(pairs))
                                .rows) {
    Pair& pair = pairs_.emplace_back();
    pair.oids = {static_cast<std::uint32_t>(row[0].AsInteger()),
                 static_cast<std::uint32_t>(row[1].AsInteger())};
    pair.in_name = row[2].text;
    pair.out_increment = row[3].AsInteger();
    pair.in_increment = row[4].AsInteger();
    pair.minimum = row[5].AsInteger();
    pair.maximum = row[6].AsInteger();
    pair.cache = row[7].AsInteger();
    pair.cycles = row[8].AsBool();
  }
  const auto in = [](const Pair& pair) { return pair.oids.in; };
  const auto values = ReadValues(session, db::IntegerArray(pairs_, in), nullptr);
  for (std::size_t i = 0; i < pairs_.size(); ++i) pairs_[i].in_value = values.at(i);
  const std::vector<Out> out = ReadOut(session);
  for (std::size_t i = 0; i < pairs_.size(); ++i) {
    pairs_[i].out_value = out[i].value;
    try {
      FurthestOf(pairs_[i], out[i]);
    } catch (const Error& error) {
      misfits_.push_back(error.message());
    }
  }
}

std::vector<SequenceCarrier::Out> SequenceCarrier::ReadOut(db::Session& session) const {
  const auto out_oid = [](const Pair& pair) { return pair.oids.out; };
  std::vector<std::int64_t> waiters;
  const auto values = ReadValues(session, db::IntegerArray(pairs_, out_oid), &waiters);
  std::vector<Out> out;
  for (std::size_t i = 0; i < pairs_.size(); ++i) out.push_back({values.at(i), waiters.at(i)});
  return out;
}

SequenceValue SequenceCarrier::FurthestOf(const Pair& pair, const Out& out) {
  const bool in_use = out.waiters > 0 || out.value != pair.out_value;
  const std::int64_t reserve = in_use ? (out.waiters + kReserveBesideWaiters) * pair.cache : 0;
  return Furthest(out.value, pair.out_increment, pair.in_value, pair.in_increment, pair.minimum,
                  pair.maximum, pair.cycles, reserve, pair.in_name);
}

void SequenceCarrier::Set(db::Session& session,
                          const std::vector<std::pair<std::uint32_t, SequenceValue>>& values) {
  if (values.empty()) return;
  std::string oids;
  std::string numbers;
  std::string called;
  for (const auto& [oid, value] : values) {
    const char* comma = oids.empty() ? "{" : ",";
    oids += comma + std::to_string(oid);
    numbers += comma + std::to_string(value.value);
    called += comma + std::string(value.called ? "t" : "f");
  }
  session.Query(
      "SELECT count(setval(v.s::regclass, v.value, v.called)) "
      "FROM unnest($1::oid[], $2::bigint[], $3::boolean[]) AS v(s, value, called)",
      {db::Value::Text(oids + "}"), db::Value::Text(numbers + "}"), db::Value::Text(called + "}")});
}

void SequenceCarrier::Carry(db::Session& session) const {
  if (pairs_.empty() || Sabotaged("swap-sets-sequence-back")) return;
  const std::vector<Out> out = ReadOut(session);
  std::vector<std::pair<std::uint32_t, SequenceValue>> values;
  for (std::size_t i = 0; i < pairs_.size(); ++i) {
    const SequenceValue value = FurthestOf(pairs_[i], out[i]);
    if (value != pairs_[i].in_value) values.emplace_back(pairs_[i].oids.in, value);
  }
  Set(session, values);
}

void SequenceCarrier::CarryForLateWaiters(db::Session& session) const {
  if (pairs_.empty() || Sabotaged("swap-sets-sequence-back")) return;
  const auto out_oid = [](const Pair& pair) { return pair.oids.out; };
  if (!session
           .Scalar("SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'relation' AND NOT "
                   "granted AND relation = ANY ($1::oid[]))",
                   {db::IntegerArray(pairs_, out_oid)})
           .AsBool()) {
    return;
  }
  const std::vector<Out> out = ReadOut(session);
  std::vector<std::pair<std::uint32_t, SequenceValue>> values;
  for (std::size_t i = 0; i < pairs_.size(); ++i) {
    if (out[i].waiters > 0) {
      values.emplace_back(pairs_[i].oids.in, FurthestOf(pairs_[i], out[i]));
    }
  }
  Set(session, values);
}

}  // namespace understudy::table_swap
