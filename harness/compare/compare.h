#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/db/endpoint.h"
#include "engine/db/identifier.h"
#include "engine/db/session.h"
#include "harness/compare/comparison.h"

namespace understudy::harness {

struct CompareOptions {
  std::vector<std::string> tables;   // globs over TableName::Display(); empty = all
  std::vector<std::string> exclude;  // globs
  // {"public.orders.total": "public.orders.total_cents"}: the left column and its right one;
  // "public.a" → "public.b" maps a table.
  std::map<std::string, std::string> map;
  std::vector<std::string> ignore;  // TABLE or TABLE.COLUMN that need not agree
  bool common_columns = false;  // compare the columns that both sides have (else a column on one
                                // side alone makes the table different)
  std::int64_t examples = 20;   // differences to keep per table
  std::int64_t most_differences = 100000;  // per table; beyond, the rest is counted only
  bool second_digest = false;              // an independent hash as well
  int jobs = 2;                            // sessions per side
  bool whole_rows = false;                 // differences carry whole rows on both sides
  // Called for EVERY differing row (up to most_differences), before examples are cut. True = leave
  // it out of the counts: a row that a client of ours wrote (the ledger knows it). One call at a
  // time. For a multiset's row `key` is the whole row, {"column": text form}.
  std::function<bool(const std::string& table, const Json& key, const std::string& kind)> explained;
  std::function<bool()> stop;  // asked ten times a second, by one thread; true = Error(kCancelled)
  // Once per table, when it is done. One call at a time.
  std::function<void(const std::string& table, std::int64_t rows)> progress;
};

// Compares the rows of two databases exactly, pushed down as counts and additive digests per
// table and per key range, both sides and all tables in parallel, each side in one snapshot,
// narrowing down to the rows that differ. PostgreSQL, SQLite, or one of each (by one canonical
// form). What could not be compared is kUnknown with its reason, never "equal".
// Errors of one table make that table kUnknown; a side that cannot be reached throws.
Comparison CompareRows(const db::Endpoint& left, const db::Endpoint& right,
                       const CompareOptions& options);

}  // namespace understudy::harness
