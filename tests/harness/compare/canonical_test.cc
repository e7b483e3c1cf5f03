#include "harness/compare/canonical.h"

#include <gtest/gtest.h>

namespace understudy::harness {
namespace {

// hard-case 73
TEST(NormalDecimal, KeepsEveryDigitAndDropsTheScale) {
  EXPECT_EQ(NormalDecimal("1.00"), "1");
  EXPECT_EQ(NormalDecimal("-0.0"), "0");
  EXPECT_EQ(NormalDecimal("1.50e2"), "150");
  EXPECT_EQ(NormalDecimal("1e-3"), "0.001");
  EXPECT_EQ(NormalDecimal("9007199254740993"), "9007199254740993");
  EXPECT_EQ(NormalDecimal("007.10"), "7.1");
  EXPECT_EQ(NormalDecimal("0.000"), "0");
  EXPECT_EQ(NormalDecimal("NaN"), std::nullopt);
  EXPECT_EQ(NormalDecimal("1x"), std::nullopt);
  EXPECT_EQ(NormalDecimal("1e"), std::nullopt);
  EXPECT_EQ(NormalDecimal(""), std::nullopt);
}

// hard-case 73, 77
TEST(NormalJson, SortsKeysAndKeepsDigits) {
  EXPECT_EQ(NormalJson(R"( {"b": [1, 2.50, null], "a": "x y", "b": {} } )"),
            R"({"a":"x y","b":{}})");
  EXPECT_EQ(NormalJson("9007199254740993.10"), "9007199254740993.10");
  EXPECT_EQ(NormalJson("1e2"), "100");
  EXPECT_EQ(NormalJson("[1,]"), std::nullopt);
}

}  // namespace
}  // namespace understudy::harness
