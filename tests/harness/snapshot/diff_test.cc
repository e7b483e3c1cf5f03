#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "harness/snapshot/snapshot.h"

namespace understudy::harness {
namespace {

using Properties = std::map<std::string, std::string>;

Snapshot Of(std::vector<CatalogObject> objects) {
  Snapshot snapshot;
  snapshot.engine = "postgres";
  snapshot.objects = std::move(objects);
  return snapshot;
}

// The changes of one object's properties, as "property worse|info".
std::vector<std::string> Changes(const std::string& kind, Properties left, Properties right) {
  std::vector<std::string> all;
  for (const CatalogChange& change :
       DiffCatalogs(Of({{kind + ":public.x", kind, std::move(left)}}),
                    Of({{kind + ":public.x", kind, std::move(right)}}))) {
    EXPECT_EQ(change.change, "changed");
    EXPECT_EQ(change.path, kind + ":public.x#" + change.property);
    all.push_back(change.property + (change.severity == Severity::kWorse ? " worse" : " info"));
  }
  return all;
}

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(DiffCatalogs, SequencesGoForwardInTheDirectionOfTheirIncrement) {
  const auto value = [](const char* last, const char* called, const char* increment) {
    return Properties{{"last_value", last}, {"is_called", called}, {"increment", increment}};
  };
  EXPECT_THAT(Changes("sequence", value("5", "yes", "1"), value("9", "yes", "1")),
              ElementsAre("last_value info"));
  EXPECT_THAT(Changes("sequence", value("9", "yes", "1"), value("5", "yes", "1")),
              ElementsAre("last_value worse"));
  EXPECT_THAT(Changes("sequence", value("-5", "yes", "-1"), value("-9", "yes", "-1")),
              ElementsAre("last_value info"));
  EXPECT_THAT(Changes("sequence", value("-9", "yes", "-1"), value("-5", "yes", "-1")),
              ElementsAre("last_value worse"));
  // The same last value, not called: the next one is handed out a second time.
  EXPECT_THAT(Changes("sequence", value("5", "yes", "1"), value("5", "no", "1")),
              ElementsAre("last_value worse"));
  // 5 called and 6 not called both give 6 next.
  EXPECT_THAT(Changes("sequence", value("6", "no", "1"), value("5", "yes", "1")),
              ElementsAre("last_value info"));
  EXPECT_THAT(Changes("sequence", value("9223372036854775807", "yes", "1"),
                      value("9223372036854775806", "yes", "1")),
              ElementsAre("last_value worse"));
}

TEST(DiffCatalogs, AGrantLostIsWorseAndAGrantMoreIsNot) {
  const auto grants = [](const char* text) { return Properties{{"grants", text}}; };
  EXPECT_THAT(Changes("table", grants("alice: INSERT, SELECT; bob: SELECT"),
                      grants("alice: SELECT; bob: INSERT, SELECT")),
              ElementsAre("grants worse"));
  EXPECT_THAT(Changes("table", grants("alice: SELECT"), grants("alice: SELECT; public: SELECT")),
              ElementsAre("grants info"));
  EXPECT_THAT(Changes("table", grants("alice: SELECT"), grants("alice: SELECT*")),
              ElementsAre("grants info"));
  EXPECT_THAT(Changes("table", grants("alice: SELECT*"), grants("alice: SELECT")),
              ElementsAre("grants worse"));
  EXPECT_THAT(Changes("table", grants("alice: SELECT"), grants("none")),
              ElementsAre("grants worse"));
}

TEST(DiffCatalogs, ASerialThatBecomesAnIdentityLostNothing) {
  EXPECT_THAT(Changes("column", {{"default", "nextval('s'::regclass)"}}, {{"identity", "always"}}),
              ElementsAre("default info", "identity info"));
  EXPECT_THAT(Changes("column", {{"identity", "always"}}, {}), ElementsAre("identity worse"));
}

TEST(DiffCatalogs, AKeyThatForbidsLessIsWorse) {
  const auto key = [](const char* text) {
    return Properties{{"type", "unique"}, {"definition", text}};
  };
  EXPECT_THAT(Changes("constraint", key("UNIQUE (a)"), key("UNIQUE (a, b)")),
              ElementsAre("definition worse"));
  EXPECT_THAT(Changes("constraint", key("UNIQUE (a, b)"), key("UNIQUE (a)")),
              ElementsAre("definition info"));
  EXPECT_THAT(Changes("constraint", key("UNIQUE NULLS NOT DISTINCT (a)"), key("UNIQUE (a)")),
              ElementsAre("definition worse"));
}

// The name says nothing of what a constraint lets through.
TEST(DiffCatalogs, AKeyOverOtherColumnsIsWorse) {
  const auto key = [](const char* text) {
    return Properties{{"type", "unique"}, {"definition", text}};
  };
  EXPECT_THAT(Changes("constraint", key("UNIQUE (a)"), key("UNIQUE (b)")),
              ElementsAre("definition worse"));
  EXPECT_THAT(Changes("constraint", key("UNIQUE (a)"), key("UNIQUE (a) INCLUDE (b)")),
              ElementsAre("definition info"));
}

TEST(DiffCatalogs, ACheckIsWorseUnlessItAsksForMore) {
  const auto check = [](const char* text) {
    return Properties{{"type", "check"}, {"definition", text}};
  };
  const char* const before = "CHECK ((total >= 0))";
  EXPECT_THAT(Changes("constraint", check(before), check("CHECK ((total >= '-100'::integer))")),
              ElementsAre("definition worse"));
  EXPECT_THAT(
      Changes("constraint", check(before), check("CHECK (((total >= 0) OR (total IS NULL)))")),
      ElementsAre("definition worse"));
  EXPECT_THAT(
      Changes("constraint", check(before), check("CHECK (((total >= 0) AND (total < 100)))")),
      ElementsAre("definition info"));
  EXPECT_THAT(Changes("constraint", check("CHECK (((total >= 0) AND (total < 100)))"),
                      check("CHECK ((total < 100))")),
              ElementsAre("definition worse"));
  // What a change of the column's type makes of the text.
  EXPECT_THAT(Changes("constraint", check(before), check("CHECK ((total >= (0)::numeric))")),
              ElementsAre("definition info"));
}

TEST(DiffCatalogs, AnIndexOfFewerRowsOrColumnsIsWorse) {
  const auto index = [](const char* unique, const std::string& tail) {
    return Properties{{"unique", unique},
                      {"definition", "CREATE INDEX i ON public.t USING btree " + tail}};
  };
  EXPECT_THAT(Changes("index", index("yes", "(a)"), index("yes", "(a) WHERE (b > 0)")),
              ElementsAre("definition worse"));
  EXPECT_THAT(Changes("index", index("yes", "(a)"), index("yes", "(a, b)")),
              ElementsAre("definition worse"));
  EXPECT_THAT(Changes("index", index("no", "(a)"), index("no", "(b)")),
              ElementsAre("definition worse"));
  EXPECT_THAT(Changes("index", index("no", "(a) WHERE (b > 0)"), index("no", "(a, c)")),
              ElementsAre("definition info"));
  EXPECT_THAT(Changes("index", {{"partial", "no"}}, {{"partial", "yes"}}),
              ElementsAre("partial worse"));
}

TEST(DiffCatalogs, ATriggerThatFiresLessIsWorse) {
  const auto trigger = [](const std::string& when, const std::string& tail) {
    return Properties{{"definition", "CREATE TRIGGER x BEFORE " + when + " ON public.t FOR EACH " +
                                         tail + " EXECUTE FUNCTION f()"}};
  };
  EXPECT_THAT(Changes("trigger", trigger("INSERT OR UPDATE", "ROW"), trigger("INSERT", "ROW")),
              ElementsAre("definition worse"));
  EXPECT_THAT(Changes("trigger", trigger("UPDATE", "ROW"), trigger("UPDATE OF a", "ROW")),
              ElementsAre("definition worse"));
  EXPECT_THAT(
      Changes("trigger", trigger("UPDATE", "ROW"), trigger("UPDATE", "ROW WHEN (new.a > 0)")),
      ElementsAre("definition worse"));
  EXPECT_THAT(Changes("trigger", trigger("UPDATE", "ROW"), trigger("INSERT OR UPDATE", "ROW")),
              ElementsAre("definition info"));
}

TEST(DiffCatalogs, AForeignKeyWithAnotherActionOrTargetIsWorse) {
  const auto key = [](const char* text) {
    return Properties{{"type", "foreign key"}, {"definition", text}};
  };
  const char* const before = "FOREIGN KEY (a) REFERENCES public.t(id) ON DELETE RESTRICT";
  EXPECT_THAT(Changes("constraint", key(before), key("FOREIGN KEY (a) REFERENCES public.t(id)")),
              ElementsAre("definition worse"));
  EXPECT_THAT(Changes("constraint", key(before),
                      key("FOREIGN KEY (a) REFERENCES public.u(id) ON DELETE RESTRICT")),
              ElementsAre("definition worse"));
}

TEST(DiffCatalogs, ANewColumnDoesNotReorderAndASwapDoes) {
  const auto order = [](const char* text) { return Properties{{"column_order", text}}; };
  EXPECT_THAT(Changes("table", order("a, b"), order("a, c, b, d")), IsEmpty());
  EXPECT_THAT(Changes("table", order("a, b"), order("b")), IsEmpty());
  EXPECT_THAT(Changes("table", order("a, b"), order("b, c, a")), ElementsAre("column_order info"));
}

TEST(DiffCatalogs, AValidatedConstraintIsBetterAndALostOneWorse) {
  EXPECT_THAT(Changes("constraint", {{"validated", "no"}}, {{"validated", "yes"}}),
              ElementsAre("validated info"));
  EXPECT_THAT(Changes("constraint", {{"validated", "yes"}}, {{"validated", "no"}}),
              ElementsAre("validated worse"));
  EXPECT_THAT(Changes("constraint", {{"triggers_off", "t f disabled"}}, {}),
              ElementsAre("triggers_off info"));
}

TEST(DiffCatalogs, EnumLabelsMayGrowAndNotBeLostOrTurnRound) {
  const auto labels = [](const char* text) { return Properties{{"labels", text}}; };
  EXPECT_THAT(Changes("enum", labels("'a', 'b'"), labels("'a', 'x, y', 'b'")),
              ElementsAre("labels info"));
  EXPECT_THAT(Changes("enum", labels("'a', 'b'"), labels("'b', 'a'")), ElementsAre("labels worse"));
  EXPECT_THAT(Changes("enum", labels("'a', 'b'"), labels("'a'")), ElementsAre("labels worse"));
}

TEST(Snapshot, SurvivesItsFile) {
  Snapshot snapshot =
      Of({{"table:public.t", "table", {{"owner", "me"}, {"comment", "\xC3\xA9\n"}}}});
  snapshot.endpoint = "postgresql:///x";
  snapshot.version = "15.18";
  snapshot.taken_at = "2026-11-21T01:02:03.456Z";
  snapshot.tables = {{"public.t", 12, "00ff", {{"id", "11"}}}};
  snapshot.not_checked = {{"large objects (2)", "their content is not compared"}};
  const TemporaryFolder folder;
  WriteSnapshotFile(folder.path() / "a.snapshot", snapshot);
  const Snapshot read = ReadSnapshotFile(folder.path() / "a.snapshot");
  EXPECT_EQ(read.ToJson(), snapshot.ToJson());
  EXPECT_EQ(read.tables.at(0).columns.at("id"), "11");
  EXPECT_EQ(read.objects.at(0).properties.at("comment"), "\xC3\xA9\n");
}

TEST(Snapshot, RefusesWhatIsNoSnapshot) {
  for (const char* text : {"{}", "{\"format\": \"understudy-report/1\"}", "[1]",
                           "{\"format\": \"understudy-snapshot-file/1\", \"endpoint\": 3}"}) {
    try {
      Snapshot::FromJson(ParseJson(text, "x"));
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kInvalidSpec) << text;
    }
  }
}

TEST(Snapshot, IsDescribedALineAnObject) {
  const Json json = SnapshotJson(Of({
      {"column:public.t.a",
       "column",
       {{"type", "text"},
        {"nullability", "not null"},
        {"default", "'x'::text"},
        {"storage", "extended"}}},
      {"index:public.i",
       "index",
       {{"definition", "CREATE INDEX i\n ON t"},
        {"valid", "no"},
        {"ready", "yes"},
        {"clustered", "no"}}},
  }));
  EXPECT_EQ(json.at("format"), "understudy-snapshot/1");
  EXPECT_EQ(json.at("objects")[0].at("path"), "column:public.t.a");
  EXPECT_EQ(json.at("objects")[0].at("definition"), "text; default 'x'::text; not null");
  EXPECT_EQ(json.at("objects")[1].at("definition"), "CREATE INDEX i ON t; not valid");
}

}  // namespace
}  // namespace understudy::harness
