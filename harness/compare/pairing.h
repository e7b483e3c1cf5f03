#pragma once

#include <string>
#include <vector>

#include "harness/compare/compare.h"
#include "harness/compare/tables.h"

// Which table, column and key of the left belongs to which of the right. Pure.
namespace understudy::harness {

struct ColumnPair {
  const CompareColumn* left = nullptr;
  const CompareColumn* right = nullptr;
  // One type below all domains / another one of the same category / of another category: then no
  // two values but NULLs are the same ("wrong type with same text").
  bool same_type() const { return left->base == right->base; }
  bool same_category() const { return left->category == right->category; }
};

struct TablePair {
  const CompareTable* left = nullptr;   // null: only on the right
  const CompareTable* right = nullptr;  // null: only on the left
  std::vector<ColumnPair> columns;      // in the left's order
  std::vector<ColumnPair> key;          // empty: a multiset
  std::string one_sided;                // "column x is only on the left": a difference
  const db::TableName& name() const { return left != nullptr ? left->name : right->name; }
};

struct Pairing {
  std::vector<TablePair> pairs;
  Json not_checked = Json::array();
};

// REQUIRES: `left` and `right` outlive the pairing.
Pairing PairTables(const CompareTables& left, const CompareTables& right, db::Engine left_engine,
                   db::Engine right_engine, const CompareOptions& options);

}  // namespace understudy::harness
