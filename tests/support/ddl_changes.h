#pragma once

#include <string>
#include <vector>

// Changes of a schema, each with what a catalog diff must say of it: for the snapshot's tests and
// its properties.
namespace understudy::testing {

struct DdlChange {
  std::string sql;     // statements, run one by one where `alone`
  std::string path;    // what must be reported, exactly
  std::string change;  // added | removed | changed
  bool worse = false;
  std::vector<std::string> also = {};  // PATH patterns that may be reported beside it
  bool may_fail = false;               // a statement that fails and leaves something behind
  int since = 0;                       // the oldest server that knows it
};

// A schema that has one of everything that the changes below touch. They are independent of each
// other: any subset in any order is possible.
extern const char* const kPostgresSchema;
const std::vector<DdlChange>& PostgresChanges();

extern const char* const kSqliteSchema;
const std::vector<DdlChange>& SqliteChanges();

}  // namespace understudy::testing
