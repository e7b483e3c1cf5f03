#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/json.h"
#include "engine/db/endpoint.h"
#include "engine/db/identifier.h"

namespace understudy::harness {

struct GenerateOptions {
  std::uint64_t seed = 1;
  double scale = 1;
  std::function<void(std::string_view)> progress;
  std::function<bool()> stop;
};

struct GeneratedTable {
  db::TableName table;
  std::int64_t rows = 0;
};

// Fills tables of an existing schema with the rows that `description` (its file: `where`) asks for:
//
//   {"tables": {"public.orders": {"rows": 1000, "columns": {
//      "status": {"values": {"new": 8, "paid": 2}},     weights; or a list
//      "total": {"uniform": [0, 900]},                  numbers, dates, times
//      "hits": {"zipf": [1, 500]},                      the low end is common
//      "note": {"null_share": 0.3, "text": [0, 200]},   lengths
//      "code": {"pattern": "[A-Z]{3}-[0-9]{5}", "unique": true},
//      "customer_id": {"foreign_key": "zipf"},          uniform | zipf | each (parents in turn)
//      "number": {"sequence": 100},                     or {"start": 100, "step": 10}
//      "currency": {"value": "EUR"}, "made": {"default": true}}}},
//    "default_rows": 0}                                 for tables that are not named
//
// What is not described is derived from the catalog. Deterministic: a value depends on seed, table,
// column and row alone, so the same description gives byte-identical rows whatever the order.
// Streamed, in foreign-key order, the keys of parents computed and not held. Then sequences are set
// past the data and the tables analysed. Rows that are there already stay.
// Errors: kInvalidSpec "WHERE: /pointer: …"; what the server refuses, with table and column.
std::vector<GeneratedTable> GenerateRows(const db::Endpoint& endpoint, const Json& description,
                                         std::string_view where, const GenerateOptions& options);

}  // namespace understudy::harness
