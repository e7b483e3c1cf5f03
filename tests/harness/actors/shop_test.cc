// The writers on the fixture that ships: every table of it.
#include "engine/base/error.h"
#include "tests/harness/actors/stand.h"

namespace understudy::harness {
namespace {

using testing::Database;
using ::testing::IsEmpty;
using testing::SqliteFile;

std::set<std::string> Written(Stand& stand) {
  std::set<std::string> tables;
  stand.ledger.Flush();
  db::Connect(db::Endpoint::Sqlite(stand.folder.path() / "ledger.sqlite"))
      ->ForEachRow("SELECT DISTINCT table_name FROM writes WHERE state = 'acknowledged'", {},
                   [&](const db::Row& row) { tables.insert(row[0].text); });
  return tables;
}

TEST(Shop, WritersWorkOnAllItsTables) {
  NEED_POSTGRES();
  const Database database;
  database.Run(ReadFile(ShippedPath("fixtures/shop/schema.sql")));
  Stand stand(database.endpoint());
  stand.Run(stand.Spec("writers", 4), 1.5);
  Observe(stand.context, {});
  EXPECT_EQ(stand.Refusals(), "");
  EXPECT_THAT(stand.Differences(), IsEmpty());
  EXPECT_EQ(Written(stand),
            (std::set<std::string>{"public.addresses", "public.audit_log", "public.customers",
                                   "public.events", "public.order_items", "public.orders",
                                   "public.payments", "public.pickup_slots", "public.products"}));
  EXPECT_EQ(stand.Events("workload").back()["writes"], Json::array({"public.audit_log"}));
}

TEST(Shop, WritersWorkOnAllTablesOfItsSqliteSister) {
  const SqliteFile file;
  file.Run(ReadFile(ShippedPath("fixtures/shop-sqlite/schema.sql")));
  Stand stand(file.endpoint());
  stand.Run(stand.Spec("writers", 3), 1.0);
  Observe(stand.context, {});
  EXPECT_EQ(stand.Refusals(), "");
  EXPECT_THAT(stand.Differences(), IsEmpty());
  EXPECT_EQ(
      Written(stand),
      (std::set<std::string>{"main.addresses", "main.audit_log", "main.customers", "main.events",
                             "main.order_items", "main.orders", "main.payments", "main.products"}));
}

}  // namespace
}  // namespace understudy::harness
