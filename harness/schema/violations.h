#pragma once

#include <string>
#include <vector>

#include "harness/schema/schema.h"

namespace understudy::harness {

struct ColumnValue {
  std::string column;
  db::Value value;
};

// Values of which one should make a row that `check` refuses, the likeliest first; made of the
// check's own constants and of the ends of its columns' types. Candidates and no more: whether one
// violates the check is for the server to say. Few: it is asked about each.
std::vector<ColumnValue> ViolationCandidates(const SchemaTable& table, const SchemaCheck& check);

}  // namespace understudy::harness
