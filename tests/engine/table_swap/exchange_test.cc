#include "engine/table_swap/exchange.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "engine/base/clock.h"
#include "engine/base/error.h"
#include "tests/support/server.h"

namespace understudy::table_swap {
namespace {
using testing::Database;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* kUser = "public";

// A database in service with a shadow that somebody else has built beside it, exchanged by hand.
class Swapped {
 public:
  explicit Swapped(const std::string& sql) {
    database_.Run(
        "CREATE SCHEMA understudy_shadow_public; CREATE SCHEMA understudy_backup_public;");
    database_.Run(sql);
    session_ = database_.Connect();
    in_ = ListMovables(*session_, {"understudy_shadow_public"});
    for (const Movable& object : ListMovables(*session_, {kUser})) {
      for (const Movable& other : in_) {
        Movable there = MovedTo(other, kUser);
        const std::string shadow = "understudy_shadow_public.";
        if (const auto at = there.signature.find(shadow); at != std::string::npos) {
          there.signature.replace(at, shadow.size(), "public.");
        }
        if (there.Key() == object.Key()) out_.push_back(object);
      }
    }
  }
  db::Session& session() { return *session_; }
  const Database& database() { return database_; }

  ExchangeRequest Forth() {
    ExchangeRequest request;
    request.schemas = {NamesBeside(kUser)};
    request.out = out_;
    request.in = in_;
    request.from_source = true;
    return request;
  }
  // REQUIRES: exchanged forth.
  ExchangeRequest Back(const std::vector<Dependent>& keys) {
    ExchangeRequest request;
    request.schemas = {NamesBeside(kUser)};
    request.back = true;
    request.keys = keys;
    request.out = ListMovables(*session_, {kUser});
    std::erase_if(request.out, [&](const Movable& object) {
      return std::ranges::none_of(in_, [&](const Movable& x) { return x.oid == object.oid; });
    });
    request.in = ListMovables(*session_, {"understudy_backup_public"});
    return request;
  }
  Exchange Do(ExchangeRequest request, bool commit = true) {
    Exchange exchange(*session_, std::move(request));
    EXPECT_THAT(exchange.refused(), IsEmpty());
    exchange.MakeAlike(*session_);
    db::Transaction transaction(*session_);
    session_->Execute(exchange.LockIncomingSql());
    session_->Execute(exchange.LockOutgoingSql());
    exchange.CheckUnchanged(*session_);
    exchange.Apply(*session_, [](std::string_view) {});
    if (commit) transaction.Commit();
    for (const KeyFinish& finish : exchange.finishes()) {
      for (const std::string& sql : finish.validate) session_->Execute(sql);
      for (const std::string& sql : finish.join) session_->Execute(sql);
    }
    return exchange;
  }
  std::string Scalar(const std::string& sql) { return session_->Scalar(sql).TextOr("NULL"); }
  std::string Sequence(const std::string& name) {
    return Scalar("SELECT last_value || ' ' || is_called FROM " + name);
  }

 private:
  Database database_;
  std::unique_ptr<db::Session> session_;
  std::vector<Movable> out_;
  std::vector<Movable> in_;
};

constexpr const char* kTwoTables = R"(
CREATE TABLE public.parent (id serial PRIMARY KEY, name text);
CREATE TABLE public.child (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                           parent_id integer REFERENCES public.parent);
INSERT INTO public.parent (name) VALUES ('old');
INSERT INTO public.child (parent_id) VALUES (1);
CREATE TABLE understudy_shadow_public.parent (id serial PRIMARY KEY, name text, more text);
CREATE TABLE understudy_shadow_public.child (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                           parent_id integer);
INSERT INTO understudy_shadow_public.parent VALUES (1, 'new');
INSERT INTO understudy_shadow_public.child (parent_id) VALUES (1);
)";

// hard-case 31 (all at once), 42 (names stay).
TEST(Exchange, PutsTheShadowInServiceAndTheOldTablesAside) {
  NEED_POSTGRES();
  Swapped swapped(kTwoTables);
  swapped.Do(swapped.Forth());
  EXPECT_EQ(swapped.Scalar("SELECT name FROM public.parent"), "new");
  EXPECT_EQ(swapped.Scalar("SELECT name FROM understudy_backup_public.parent"), "old");
  EXPECT_THAT(ListMovables(swapped.session(), {"understudy_shadow_public"}), IsEmpty());
  EXPECT_EQ(swapped.Scalar("SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class "
                           "WHERE relnamespace = 'public'::regnamespace"),
            "child child_id_seq child_pkey parent parent_id_seq parent_pkey");
}

// hard-cases 38, 39: a serial whose sequence belongs to a column, an identity, a sequence that goes
// down, one that has never been called.
TEST(Exchange, LetsEverySequenceGoOnWhereTheFurtherOneStands) {
  NEED_POSTGRES();
  Swapped swapped(std::string(kTwoTables) + R"(
CREATE SEQUENCE public.down INCREMENT -1 MINVALUE -1000 MAXVALUE 0 START 0;
SELECT setval('public.down', -50);
CREATE SEQUENCE understudy_shadow_public.down INCREMENT -1 MINVALUE -1000 MAXVALUE 0 START 0;
SELECT setval('understudy_shadow_public.down', -7);
CREATE SEQUENCE public.fresh START 5; CREATE SEQUENCE understudy_shadow_public.fresh START 5;
CREATE SEQUENCE public.ahead; CREATE SEQUENCE understudy_shadow_public.ahead;
SELECT setval('public.ahead', 3); SELECT setval('understudy_shadow_public.ahead', 900);
CREATE SEQUENCE public.restarted; CREATE SEQUENCE understudy_shadow_public.restarted;
SELECT setval('public.restarted', 70, false);
SELECT setval('public.parent_id_seq', 41); SELECT setval('public.child_id_seq', 12);
)");
  swapped.Do(swapped.Forth());
  EXPECT_EQ(swapped.Sequence("public.parent_id_seq"), "41 true");
  EXPECT_EQ(swapped.Sequence("public.child_id_seq"), "12 true");
  EXPECT_EQ(swapped.Sequence("public.down"), "-50 true");
  EXPECT_EQ(swapped.Sequence("public.fresh"), "5 false");
  EXPECT_EQ(swapped.Sequence("public.ahead"), "900 true");
  EXPECT_EQ(swapped.Sequence("public.restarted"), "70 false");
  swapped.session().Execute("INSERT INTO public.parent (name) VALUES ('next')");
  EXPECT_EQ(swapped.Scalar("SELECT id FROM public.parent WHERE name = 'next'"), "42");
}

// hard-case 132: a client that waits in nextval while the sequence moves gets its value from the
// old sequence, by its OID, after the commit.
TEST(Exchange, GivesNoValueTwiceToClientsThatWaitOnASequence) {
  NEED_POSTGRES();
  Swapped swapped(std::string(kTwoTables) + "SELECT setval('public.parent_id_seq', 41);");
  Exchange exchange(swapped.session(), swapped.Forth());
  db::Transaction transaction(swapped.session());
  swapped.session().Execute(exchange.LockOutgoingSql());
  // LOCK TABLE does not stop nextval.
  const auto other = swapped.database().Connect();
  EXPECT_EQ(other->Scalar("SELECT nextval('public.parent_id_seq')").text, "42");
  std::string waited;
  std::thread client;
  exchange.Apply(swapped.session(), [&](std::string_view stage) {
    if (stage != "out" || client.joinable()) return;
    client =
        std::thread([&] { waited = other->Scalar("SELECT nextval('public.parent_id_seq')").text; });
    const auto watcher = swapped.database().Connect();
    while (watcher->Scalar("SELECT count(*) FROM pg_locks WHERE NOT granted").AsInteger() == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  });
  transaction.Commit();
  client.join();
  EXPECT_EQ(waited, "43");
  EXPECT_GT(swapped.session().Scalar("SELECT nextval('public.parent_id_seq')").AsInteger(), 43);
}

TEST(Sequences, RefuseAValueThatTheNewDefinitionDoesNotAllow) {
  EXPECT_THROW(Furthest({40000, true}, 1, {1, false}, 1, 1, 32767, false, 0, "s"), Error);
  const SequenceValue end =
      Furthest({INT64_MAX, true}, 1, {1, false}, 1, 1, INT64_MAX, false, 9, "s");
  EXPECT_EQ(end.value, INT64_MAX);
  EXPECT_TRUE(end.called);
  // Of two that will give the same next, the value in service is kept as it was written.
  EXPECT_FALSE(Furthest({5, false}, 1, {4, true}, 1, 1, 100, false, 0, "s").called);
}

constexpr const char* kOutside = R"(
CREATE SCHEMA other;
CREATE TABLE other.orders (id integer PRIMARY KEY, parent_id integer CONSTRAINT orders_parent_fkey
  REFERENCES public.parent ON DELETE CASCADE DEFERRABLE, self integer REFERENCES other.orders,
  n integer DEFAULT nextval('public.parent_id_seq'));
COMMENT ON CONSTRAINT orders_parent_fkey ON other.orders IS 'of the parent';
CREATE TABLE other.loose (parent_id integer);
INSERT INTO other.loose VALUES (99);
ALTER TABLE other.loose ADD FOREIGN KEY (parent_id) REFERENCES public.parent NOT VALID;
CREATE TABLE other.country (code text PRIMARY KEY);
CREATE VIEW other.names WITH (security_barrier = true) AS
  SELECT p.id, p.name, c.id AS child FROM public.parent p JOIN public.child c ON c.parent_id = p.id;
CREATE VIEW other.deeper AS SELECT name FROM other.names;
COMMENT ON VIEW other.names IS 'who';
CREATE FUNCTION other.text_body() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM public.parent';
CREATE RULE log_it AS ON INSERT TO other.orders DO ALSO UPDATE public.parent SET name = name WHERE false;
CREATE POLICY seen ON other.orders USING (EXISTS (SELECT FROM public.parent p WHERE p.id = parent_id));
)";

std::vector<std::string> Texts(const std::vector<Dependent>& dependents) {
  std::vector<std::string> texts;
  for (const Dependent& dependent : dependents) texts.push_back(dependent.Text());
  return texts;
}

// hard-cases 46, 47: what is outside follows to the new tables, and nothing is left on the backup.
TEST(Exchange, RebuildsWhatDependsOnTheTablesFromOutside) {
  NEED_POSTGRES();
  Swapped swapped(std::string(kTwoTables) + kOutside);
  const Exchange exchange = swapped.Do(swapped.Forth());
  EXPECT_THAT(Texts(exchange.dependents()),
              ElementsAre("default other.orders.n", "policy seen on other.orders",
                          "rule log_it on other.orders", "view other.names",
                          "foreign key loose_parent_id_fkey on other.loose",
                          "foreign key orders_parent_fkey on other.orders"));
  const auto backup = ListMovables(swapped.session(), {"understudy_backup_public"});
  EXPECT_THAT(StillDepending(swapped.session(), backup), IsEmpty());
  EXPECT_EQ(swapped.Scalar("SELECT name FROM other.deeper"), "new");
  EXPECT_EQ(swapped.Scalar("SELECT obj_description('other.names'::regclass)"), "who");
  EXPECT_EQ(swapped.Scalar("SELECT reloptions FROM pg_class WHERE oid = 'other.names'::regclass"),
            "{security_barrier=true}");
  EXPECT_EQ(swapped.Scalar("SELECT string_agg(conname || ':' || convalidated || ':' || "
                           "confrelid::regclass || ':' || condeferrable, ' ' ORDER BY conname) "
                           "FROM pg_constraint WHERE conrelid IN ('other.orders'::regclass, "
                           "'other.loose'::regclass) AND contype = 'f'"),
            "loose_parent_id_fkey:false:public.parent:false "
            "orders_parent_fkey:true:public.parent:true orders_self_fkey:true:other.orders:false");
  EXPECT_EQ(swapped.Scalar("SELECT obj_description(oid) FROM pg_constraint WHERE conname = "
                           "'orders_parent_fkey'"),
            "of the parent");
}

// hard-case 47: a body of SQL is bound by OID, unlike one of text.
TEST(Exchange, RebindsBodiesOfSqlThereAndBack) {
  NEED_POSTGRES();
  Swapped swapped(std::string(kTwoTables) + "CREATE SCHEMA other;");
  if (swapped.session().Server().major() < 14) GTEST_SKIP() << "bodies of SQL came with 14";
  swapped.session().Execute(
      "CREATE FUNCTION other.body() RETURNS text LANGUAGE sql STABLE BEGIN ATOMIC "
      "SELECT name FROM public.parent; END; COMMENT ON FUNCTION other.body() IS 'who'");
  const std::string about =
      "SELECT concat_ws(' ', other.body(), provolatile, obj_description(oid)) FROM pg_proc WHERE "
      "oid = 'other.body()'::regprocedure";
  EXPECT_EQ(swapped.Scalar(about), "old s who");
  const Exchange exchange = swapped.Do(swapped.Forth());
  EXPECT_THAT(Texts(exchange.dependents()), ElementsAre("function other.body()"));
  EXPECT_EQ(swapped.Scalar(about), "new s who");
  EXPECT_THAT(StillDepending(swapped.session(),
                             ListMovables(swapped.session(), {"understudy_backup_public"})),
              IsEmpty());
  swapped.Do(swapped.Back(exchange.dropped_keys()));
  EXPECT_EQ(swapped.Scalar(about), "old s who");
}

// A row of a table that is out of service must not hold back a DELETE of production.
TEST(Exchange, TakesForeignKeysToTheOutsideOffTheBackupAndPutsThemBack) {
  NEED_POSTGRES();
  Swapped swapped(
      "CREATE SCHEMA other; CREATE TABLE other.country (code text PRIMARY KEY);"
      "INSERT INTO other.country VALUES ('np');"
      "CREATE TABLE public.town (id integer PRIMARY KEY, code text CONSTRAINT town_code_fkey "
      "REFERENCES other.country); INSERT INTO public.town VALUES (1, 'np');"
      "CREATE TABLE understudy_shadow_public.town (id integer PRIMARY KEY, code text);");
  const Exchange exchange = swapped.Do(swapped.Forth());
  EXPECT_THAT(Texts(exchange.dropped_keys()),
              ElementsAre("foreign key town_code_fkey on public.town"));
  swapped.session().Execute("DELETE FROM other.country; INSERT INTO other.country VALUES ('np')");
  swapped.Do(swapped.Back(exchange.dropped_keys()));
  EXPECT_EQ(swapped.Scalar("SELECT convalidated || ' ' || conrelid::regclass FROM pg_constraint "
                           "WHERE conname = 'town_code_fkey'"),
            "true public.town");
}

// hard-case 47: what cannot be rebuilt is named.
TEST(Exchange, NamesWhatItCannotRebuild) {
  NEED_POSTGRES();
  Swapped swapped(std::string(kTwoTables) + R"(
CREATE SCHEMA other;
CREATE MATERIALIZED VIEW other.sums AS SELECT count(*) FROM public.parent;
CREATE FUNCTION other.rows(p public.parent) RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE TABLE other.whole (p public.parent);
)");
  const Exchange exchange(swapped.session(), swapped.Forth());
  std::vector<std::string> names;
  for (const Unmovable& refused : exchange.refused()) names.push_back(refused.object);
  EXPECT_THAT(names, ElementsAre("function other.rows(public.parent)",
                                 "materialized view other.sums", "table other.whole"));
}

// hard-cases 48, 51: owners, grants (on columns too), comments, row security, replica identity.
TEST(Exchange, LeavesOwnersGrantsCommentsAndRowSecurityAsTheyWere) {
  NEED_POSTGRES();
  const Database roles;
  roles.Run("DROP ROLE IF EXISTS us_app, us_owner; CREATE ROLE us_app; CREATE ROLE us_owner");
  {
    Swapped swapped(std::string(kTwoTables) + R"(
GRANT CREATE, USAGE ON SCHEMA public TO us_owner;
GRANT CREATE, USAGE ON SCHEMA understudy_shadow_public TO us_owner;
ALTER TABLE public.parent OWNER TO us_owner;
GRANT SELECT, INSERT ON public.parent TO us_app WITH GRANT OPTION;
REVOKE DELETE ON public.parent FROM us_owner;
GRANT UPDATE (name) ON public.parent TO PUBLIC;
GRANT USAGE ON SEQUENCE public.parent_id_seq TO us_app;
GRANT DELETE ON understudy_shadow_public.parent TO us_app;
COMMENT ON TABLE public.parent IS 'the parents';
COMMENT ON COLUMN public.parent.name IS 'what they are called';
COMMENT ON COLUMN understudy_shadow_public.parent.more IS 'stays';
ALTER TABLE public.parent ENABLE ROW LEVEL SECURITY; ALTER TABLE public.parent FORCE ROW LEVEL SECURITY;
CREATE POLICY mine ON public.parent AS RESTRICTIVE FOR UPDATE TO us_app, us_owner
  USING (id IN (SELECT parent_id FROM public.child)) WITH CHECK (name <> '');
COMMENT ON POLICY mine ON public.parent IS 'why';
ALTER TABLE public.parent REPLICA IDENTITY FULL;
ALTER TABLE public.child REPLICA IDENTITY USING INDEX child_pkey;
CREATE STATISTICS public.related ON id, name FROM public.parent;
CREATE STATISTICS understudy_shadow_public.related ON id, name FROM understudy_shadow_public.parent;
ALTER STATISTICS public.related OWNER TO us_owner;
)");
    const std::string about = R"(
SELECT concat_ws(E'\n', relowner::regrole,
  (SELECT stxowner::regrole FROM pg_statistic_ext WHERE stxrelid = c.oid), relacl, relrowsecurity, relforcerowsecurity, relreplident,
  obj_description(c.oid, 'pg_class'), col_description(c.oid, 2),
  (SELECT string_agg(attname || attacl::text, ',') FROM pg_attribute WHERE attrelid = c.oid AND attacl IS NOT NULL),
  (SELECT relacl FROM pg_class WHERE oid = pg_get_serial_sequence(c.oid::regclass::text, 'id')::regclass),
  (SELECT relreplident FROM pg_class WHERE oid = 'public.child'::regclass),
  (SELECT string_agg(concat_ws(' ', policyname, permissive, roles, cmd, qual, with_check), ',') FROM pg_policies),
  (SELECT obj_description(oid, 'pg_policy') FROM pg_policy WHERE polrelid = c.oid))
FROM pg_class c WHERE oid = 'public.parent'::regclass)";
    const std::string before = swapped.Scalar(about);
    const Exchange exchange(swapped.session(), swapped.Forth());
    EXPECT_GT(
        MakeAlike(swapped.session(), exchange.relations(), exchange.routines(), exchange.fidelity())
            .size(),
        5U);
    EXPECT_THAT(MakeAlike(swapped.session(), exchange.relations(), exchange.routines(),
                          exchange.fidelity()),
                IsEmpty());
    swapped.Do(swapped.Forth());
    // The policies of both tables are listed; those of the backup are not what is asked for.
    swapped.session().Execute("DROP POLICY mine ON understudy_backup_public.parent");
    EXPECT_EQ(swapped.Scalar(about), before);
    EXPECT_EQ(swapped.Scalar("SELECT col_description('public.parent'::regclass, 3)"), "stays");
    // The policy reads the new child, not the one in the backup.
    EXPECT_THAT(StillDepending(swapped.session(),
                               ListMovables(swapped.session(), {"understudy_backup_public"})),
                IsEmpty());
    swapped.session().Execute("DROP OWNED BY us_app, us_owner CASCADE");
  }
  roles.Run("DROP ROLE us_app, us_owner");
}

// hard-case 52: membership goes over, with its columns and its filter.
TEST(Exchange, ExchangesThePublishedTables) {
  NEED_POSTGRES();
  Swapped swapped(std::string(kTwoTables) +
                  "SET client_min_messages = error; CREATE PUBLICATION pub FOR TABLE "
                  "public.child, public.parent (id, name) WHERE (id > 0);");
  if (swapped.session().Server().major() < 15) GTEST_SKIP() << "column lists came with 15";
  const std::string about =
      "SELECT string_agg(concat_ws(' ', schemaname, tablename, attnames, rowfilter), ',' ORDER BY "
      "tablename) FROM pg_publication_tables";
  const std::string before = swapped.Scalar(about);
  swapped.Do(swapped.Forth());
  EXPECT_EQ(swapped.Scalar(about), before);
  EXPECT_EQ(swapped.Scalar("SELECT string_agg(prrelid::regclass::text, ',' ORDER BY 1) FROM "
                           "pg_publication_rel"),
            "public.child,public.parent");
}

// hard-case 49: the state of each trigger.
TEST(Exchange, SwitchesTriggersAndRulesToTheirStates) {
  NEED_POSTGRES();
  Swapped swapped(std::string(kTwoTables) + R"(
CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER a BEFORE INSERT ON understudy_shadow_public.parent FOR EACH ROW EXECUTE FUNCTION public.f();
CREATE TRIGGER b BEFORE INSERT ON understudy_shadow_public.parent FOR EACH ROW EXECUTE FUNCTION public.f();
CREATE TRIGGER c BEFORE INSERT ON understudy_shadow_public.parent FOR EACH ROW EXECUTE FUNCTION public.f();
CREATE TRIGGER d BEFORE INSERT ON understudy_shadow_public.parent FOR EACH ROW EXECUTE FUNCTION public.f();
CREATE RULE r AS ON DELETE TO understudy_shadow_public.child DO INSTEAD NOTHING;
ALTER TABLE understudy_shadow_public.parent DISABLE TRIGGER USER;
ALTER TABLE understudy_shadow_public.child DISABLE RULE r;
)");
  ExchangeRequest request = swapped.Forth();
  const db::TableName parent{"public", "parent"};
  request.triggers = {{parent, "a", false, 'O'},
                      {parent, "b", false, 'A'},
                      {parent, "c", false, 'R'},
                      {parent, "d", false, 'D'},
                      {{"public", "child"}, "r", true, 'O'}};
  swapped.Do(request);
  EXPECT_EQ(
      swapped.Scalar("SELECT string_agg(tgname || tgenabled::text, ' ' ORDER BY tgname) FROM "
                     "pg_trigger WHERE tgrelid = 'public.parent'::regclass AND NOT tgisinternal"),
      "aO bA cR dD");
  EXPECT_EQ(swapped.Scalar("SELECT ev_enabled FROM pg_rewrite WHERE rulename = 'r'"), "O");
}

// hard-case 46: keys that waited for the exchange, added NOT VALID and validated behind it.
TEST(Exchange, AddsTheKeysThatWaited) {
  NEED_POSTGRES();
  Swapped swapped(kTwoTables);
  ExchangeRequest request = swapped.Forth();
  DeferredForeignKey key;
  key.table = {"public", "child"};
  key.name = "child_parent_id_fkey";
  key.definition = "FOREIGN KEY (parent_id) REFERENCES public.parent(id) ON DELETE CASCADE";
  key.comment = "it's a key";
  request.keys = KeysOf({key});
  EXPECT_THAT(request.keys[0].attach, HasSubstr("NOT VALID"));
  swapped.Do(request);
  EXPECT_EQ(swapped.Scalar("SELECT convalidated || ' ' || confrelid::regclass || ' ' || "
                           "obj_description(oid) FROM pg_constraint WHERE conname = "
                           "'child_parent_id_fkey' AND conrelid = 'public.child'::regclass"),
            "true public.parent it's a key");
}

// hard-case 23: a change between the reading and the locks is noticed under the locks.
TEST(Exchange, NoticesWhatChangedBeforeTheLocks) {
  NEED_POSTGRES();
  const auto changed = [](const std::string& ddl) -> std::string {
    Swapped swapped(std::string(kTwoTables) + kOutside);
    const Exchange exchange(swapped.session(), swapped.Forth());
    swapped.database().Run(ddl);
    db::Transaction transaction(swapped.session());
    try {
      swapped.session().Execute(exchange.LockOutgoingSql());
      exchange.CheckUnchanged(swapped.session());
    } catch (const Error& error) {
      return error.message();
    }
    return "";
  };
  EXPECT_EQ(changed("CREATE TABLE public.unrelated ()"), "");
  EXPECT_THAT(changed("CREATE VIEW other.more AS SELECT id FROM public.parent"),
              HasSubstr("was changed"));
  EXPECT_THAT(
      changed("CREATE OR REPLACE VIEW other.names AS SELECT p.id, 'x' AS name, c.id AS child "
              "FROM public.parent p, public.child c"),
      HasSubstr("was changed"));
  EXPECT_THAT(changed("ALTER TABLE other.orders DROP CONSTRAINT orders_parent_fkey"),
              HasSubstr("was changed"));
  for (const char* ddl :
       {"GRANT SELECT ON public.parent TO PUBLIC", "COMMENT ON COLUMN public.parent.name IS 'x'",
        "CREATE INDEX ON public.child (parent_id)",
        "ALTER TABLE public.parent ALTER name SET DEFAULT ''", "TRUNCATE public.child",
        "ALTER SEQUENCE public.parent_id_seq INCREMENT 2",
        "ALTER TABLE public.parent ALTER name SET NOT NULL",
        "CREATE FUNCTION public.f(public.parent) RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "ALTER TABLE public.parent DISABLE TRIGGER ALL"}) {
    EXPECT_THAT(changed(ddl), HasSubstr("was changed")) << ddl;
  }
  EXPECT_EQ(changed("ANALYZE public.parent; INSERT INTO public.parent (name) VALUES ('x')"), "");
  EXPECT_THAT(changed("ALTER TABLE public.child RENAME TO kid"), HasSubstr("child"));
  EXPECT_THAT(changed("ALTER TABLE public.child ADD COLUMN c text REFERENCES other.country"),
              HasSubstr("was changed"));
}

// hard-case 61: forth and back leaves the catalog as it was.
TEST(Exchange, GoesBackToExactlyWhatWas) {
  NEED_POSTGRES();
  Swapped swapped(std::string(kTwoTables) + kOutside);
  const std::string about = R"(
SELECT string_agg(t, E'\n' ORDER BY t) FROM (
  SELECT concat_ws(' ', oid, relname, relnamespace::regnamespace, relacl, relowner, relkind) AS t FROM pg_class
    WHERE relnamespace::regnamespace::text IN ('public', 'other')
  UNION ALL SELECT concat_ws(' ', conname, conrelid::regclass, confrelid::oid, convalidated, pg_get_constraintdef(oid))
    FROM pg_constraint WHERE connamespace::regnamespace::text IN ('public', 'other')
  UNION ALL SELECT pg_get_viewdef('other.names'::regclass)
  UNION ALL SELECT concat_ws(' ', classid::regclass, refclassid::regclass, refobjid, deptype) FROM pg_depend
    WHERE refobjid IN ('public.parent'::regclass, 'public.child'::regclass)
  UNION ALL SELECT concat_ws(' ', 'seq', last_value, is_called) FROM public.parent_id_seq) x)";
  const std::string before = swapped.Scalar(about);
  const Exchange forth = swapped.Do(swapped.Forth());
  EXPECT_NE(swapped.Scalar(about), before);
  swapped.Do(swapped.Back(forth.dropped_keys()));
  EXPECT_EQ(swapped.Scalar(about), before);
}

}  // namespace
}  // namespace understudy::table_swap
