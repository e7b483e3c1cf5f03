#include "engine/table_swap/sequences.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/db/identifier.h"

namespace understudy::table_swap {
namespace {

// Between our reading a sequence and the commit some more clients may queue up on it.
constexpr std::int64_t kReserveBesideWaiters = 16;

struct Read {
  std::uint32_t in = 0;
  std::string out_name;
  std::string in_name;
  std::int64_t out_increment = 1;
  std::int64_t in_increment = 1;
  std::int64_t minimum = 1;
  std::int64_t maximum = 1;
  std::int64_t cache = 1;
  bool cycles = false;
  std::int64_t waiters = 0;
  SequenceValue out_value;
  SequenceValue in_value;
};

db::Params Arrays(const std::vector<OidPair>& pairs) {
  std::string out = "{";
  std::string in = "{";
  for (const OidPair& pair : pairs) {
    if (out.size() > 1) {
      out += ',';
      in += ',';
    }
    out += std::to_string(pair.out);
    in += std::to_string(pair.in);
  }
  return {db::Value::Text(out + "}"), db::Value::Text(in + "}")};
}

std::vector<Read> ReadPairs(db::Session& session, const std::vector<OidPair>& pairs) {
  std::vector<Read> all;
  // One query for all; only those that nobody has called yet must be opened one by one.
  std::vector<SequenceValue*> uncalled;
  std::string query;
  all.reserve(pairs.size());
  for (const db::Row& row : session
                                .Query(R"(
WITH waiting AS (
  SELECT relation, count(*) AS clients FROM pg_locks
  WHERE locktype = 'relation' AND NOT granted AND relation = ANY ($1::oid[]) GROUP BY relation)
SELECT p.i, p.o::regclass::text, p.i::regclass::text, so.seqincrement, si.seqincrement, si.seqmin,
       si.seqmax, greatest(so.seqcache, si.seqcache), si.seqcycle, coalesce(w.clients, 0),
       pg_sequence_last_value(p.o::regclass), pg_sequence_last_value(p.i::regclass)
FROM unnest($1::oid[], $2::oid[]) AS p(o, i)
JOIN pg_sequence so ON so.seqrelid = p.o
JOIN pg_sequence si ON si.seqrelid = p.i
LEFT JOIN waiting w ON w.relation = p.o)",
                                       Arrays(pairs))
                                .rows) {
    Read& read = all.emplace_back();
    read.in = static_cast<std::uint32_t>(row[0].AsInteger());
    read.out_name = row[1].text;
    read.in_name = row[2].text;
    read.out_increment = row[3].AsInteger();
    read.in_increment = row[4].AsInteger();
    read.minimum = row[5].AsInteger();
    read.maximum = row[6].AsInteger();
    read.cache = row[7].AsInteger();
    read.cycles = row[8].AsBool();
    read.waiters = row[9].AsInteger();
    const auto take = [&](const db::Value& last, SequenceValue& value, const std::string& name) {
      if (!last.is_null()) {
        value = {last.AsInteger(), true};
        return;
      }
      query += (query.empty() ? "SELECT " : " UNION ALL SELECT ") +
               std::to_string(uncalled.size()) + ", last_value, is_called FROM " + name;
      uncalled.push_back(&value);
    };
    take(row[10], read.out_value, read.out_name);
    take(row[11], read.in_value, read.in_name);
  }
  if (!query.empty()) {
    for (const db::Row& row : session.Query(query).rows) {
      *uncalled.at(static_cast<std::size_t>(row[0].AsInteger())) = {row[1].AsInteger(),
                                                                    row[2].AsBool()};
    }
  }
  return all;
}

std::int64_t Reserve(const Read& read) {
  return read.waiters == 0 ? 0 : (read.waiters + kReserveBesideWaiters) * read.cache;
}

SequenceValue FurthestOf(const Read& read) {
  return Furthest(read.out_value, read.out_increment, read.in_value, read.in_increment,
                  read.minimum, read.maximum, read.cycles, Reserve(read), read.in_name);
}

}  // namespace

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

void CarrySequenceValues(db::Session& session, const std::vector<OidPair>& pairs) {
  if (pairs.empty()) return;
  std::string values;
  for (const Read& read : ReadPairs(session, pairs)) {
    const SequenceValue value = FurthestOf(read);
    if (value.value == read.in_value.value && value.called == read.in_value.called) continue;
    values += (values.empty() ? "(" : ", (") + std::to_string(read.in) + "::oid, " +
              (value.value == INT64_MIN ? "'" + std::to_string(value.value) + "'::bigint"
                                        : std::to_string(value.value) + "::bigint") +
              (value.called ? ", true)" : ", false)");
  }
  if (values.empty()) return;
  session.Query("SELECT count(setval(v.s::regclass, v.value, v.called)) FROM (VALUES " + values +
                ") AS v(s, value, called)");
}

std::vector<std::string> SequencesThatDoNotFit(db::Session& session,
                                               const std::vector<OidPair>& pairs) {
  std::vector<std::string> wrong;
  if (pairs.empty()) return wrong;
  for (const Read& read : ReadPairs(session, pairs)) {
    try {
      FurthestOf(read);
    } catch (const Error& error) {
      wrong.push_back(error.message());
    }
  }
  return wrong;
}

}  // namespace understudy::table_swap
