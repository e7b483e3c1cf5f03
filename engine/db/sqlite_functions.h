#pragma once

struct sqlite3;

namespace understudy::db::internal {

// What a comparison of rows needs inside SQLite, which has no hash of its own. Only connections of
// ours have them; nothing in a user's file may come to depend on them (they cannot be used from
// triggers, views or the schema).
//   understudy_hash(seed, v…)    a 64-bit hash over storage classes and exact bytes: 1, 1.0, '1'
//                                and x'31' differ, and so do 0.0 and -0.0, NULL and ''
//   understudy_hash2(seed, v…)   another one, independent of it
//   understudy_sum(x)            aggregate: the sum of integers modulo 2^64; 0 of no rows
//   understudy_row(v…)           a blob that two lists of values share only when they are the
//                                same values; integers sort as numbers, text and blobs as bytes
//   understudy_key(text, n)      the n-th value of a key as capture writes it (storage class and
//   hex)
void RegisterSqliteFunctions(sqlite3* database);

}  // namespace understudy::db::internal
