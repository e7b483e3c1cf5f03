// Any of a list of schema changes is found by a catalog diff, with its path, and nothing else is.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cstdlib>

#include "engine/base/error.h"
#include "harness/snapshot/snapshot.h"
#include "tests/support/ddl_changes.h"
#include "tests/support/server.h"

namespace understudy::harness {
namespace {

using understudy::testing::DdlChange;

// The runner says how many cases; 20 when nobody does.
const int kDefaults = ::setenv("RC_PARAMS", "max_success=20", 0);

// A copy of one prepared database.
class Clone {
 public:
  explicit Clone(const db::Endpoint& from) {
    static int count = 0;
    const std::string name = from.Setting("dbname") + "_clone" + std::to_string(++count);
    db::Connect(understudy::testing::Server())
        ->Execute("CREATE DATABASE " + name + " TEMPLATE " + from.Setting("dbname"));
    endpoint_ = from.WithDatabase(name);
  }
  ~Clone() {
    try {
      db::Connect(understudy::testing::Server())
          ->Execute("DROP DATABASE " + endpoint_.Setting("dbname"));
    } catch (const std::exception&) {  // it goes with the cluster
    }
  }
  const db::Endpoint& endpoint() const { return endpoint_; }

 private:
  db::Endpoint endpoint_;
};

std::string Apply(const db::Endpoint& endpoint, const DdlChange& change) {
  db::SessionOptions options;
  options.settings = db::Settings::kUsers;
  try {
    const auto session = db::Connect(endpoint, options);
    if (endpoint.engine() == db::Engine::kSqlite) session->Execute("PRAGMA synchronous = off");
    session->Execute(change.sql);
    return change.may_fail ? "it should have failed" : "";
  } catch (const Error& error) {
    return change.may_fail ? "" : error.what();
  }
}

// What is wrong with the diff after `changes`; "" when every change is told and nothing else.
std::string Wrong(const std::vector<CatalogChange>& diff,
                  const std::vector<const DdlChange*>& changes) {
  std::string wrong;
  for (const DdlChange* change : changes) {
    const bool found = std::any_of(diff.begin(), diff.end(), [&](const CatalogChange& c) {
      return c.path == change->path && c.change == change->change;
    });
    if (!found) wrong += "not reported: " + change->path + "\n";
  }
  for (const CatalogChange& c : diff) {
    const bool expected = std::any_of(changes.begin(), changes.end(), [&](const DdlChange* change) {
      return c.path == change->path ||
             std::any_of(change->also.begin(), change->also.end(),
                         [&](const std::string& also) { return MatchesPath(c.path, also); });
    });
    if (!expected) wrong += "reported without a reason: " + ToLine(ToJson(c)) + "\n";
  }
  return wrong;
}

std::vector<const DdlChange*> Chosen(const std::vector<DdlChange>& all, std::size_t most) {
  const auto indexes = *rc::gen::resize(
      static_cast<int>(most),
      rc::gen::unique<std::vector<std::size_t>>(rc::gen::inRange<std::size_t>(0, all.size())));
  std::vector<const DdlChange*> chosen;
  for (const std::size_t i : indexes) chosen.push_back(&all[i]);
  return chosen;
}

struct Template {
  Template() {
    database.Run(understudy::testing::kPostgresSchema);
    const auto session = database.Connect();
    before = TakeCatalog(*session);
    version = session->Server().version;
  }
  understudy::testing::Database database;
  Snapshot before;
  int version = 0;
};

class CatalogDiffPostgres : public ::testing::Test {
 protected:
  void SetUp() override { NEED_POSTGRES(); }
};

RC_GTEST_FIXTURE_PROP(CatalogDiffPostgres, FindsAnyChangesAndNothingElse, ()) {
  static Template prepared;
  std::vector<const DdlChange*> changes = Chosen(understudy::testing::PostgresChanges(), 8);
  std::erase_if(changes, [](const DdlChange* c) { return c->since > prepared.version; });
  const Clone clone(prepared.database.endpoint());
  for (const DdlChange* change : changes) RC_ASSERT(Apply(clone.endpoint(), *change) == "");
  const Snapshot after = TakeCatalog(*db::Connect(clone.endpoint()));
  RC_ASSERT(Wrong(DiffCatalogs(prepared.before, after), changes) == "");
  // A difference of nothing, also through a file.
  RC_ASSERT(DiffCatalogs(after, Snapshot::FromJson(after.ToJson())).empty());
  RC_ASSERT(DiffCatalogs(after, prepared.before).empty() == changes.empty());
}

RC_GTEST_PROP(CatalogDiffSqlite, FindsAnyChangesAndNothingElse, ()) {
  const std::vector<DdlChange>& all = understudy::testing::SqliteChanges();
  std::vector<const DdlChange*> changes = Chosen(all, 8);
  // At most one rebuild of `orders`, and then nothing else on that table.
  const DdlChange* rebuild = nullptr;
  for (const DdlChange* change : changes) {
    if (change->sql.starts_with("CREATE TABLE orders_new")) rebuild = change;
  }
  if (rebuild != nullptr) {
    std::erase_if(changes, [&](const DdlChange* change) {
      return change != rebuild && change->path.find("orders") != std::string::npos;
    });
  }
  const understudy::testing::SqliteFile file;
  file.Run(understudy::testing::kSqliteSchema);
  const Snapshot before = TakeCatalog(*file.Connect());
  for (const DdlChange* change : changes) RC_ASSERT(Apply(file.endpoint(), *change) == "");
  const Snapshot after = TakeCatalog(*file.Connect());
  RC_ASSERT(Wrong(DiffCatalogs(before, after), changes) == "");
  RC_ASSERT(DiffCatalogs(after, before).empty() == changes.empty());
}

}  // namespace
}  // namespace understudy::harness
