#include <gmock/gmock.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "reports/escape.h"
#include "tests/reports/sample.h"

namespace understudy::reports {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Written(const std::unique_ptr<Writer>& writer, const Report& report) {
  std::ostringstream out;
  writer->Write(report, out);
  return std::move(out).str();
}

// tests/golden/report/NAME; UNDERSTUDY_GOLDEN=write makes it anew.
void ExpectGolden(const std::string& name, const std::string& content) {
  const std::string path = std::string(UNDERSTUDY_SOURCE_DIR) + "/tests/golden/report/" + name;
  if (const char* mode = std::getenv("UNDERSTUDY_GOLDEN"); mode && std::string(mode) == "write") {
    WriteFileWhole(path, content);
  }
  EXPECT_EQ(content, ReadFile(path)) << "if the new form is right: UNDERSTUDY_GOLDEN=write";
}

TEST(Outcome, FailOutranksUnknownOutranksPass) {
  EXPECT_EQ(Worse(Outcome::kPass, Outcome::kUnknown), Outcome::kUnknown);
  EXPECT_EQ(Worse(Outcome::kFail, Outcome::kUnknown), Outcome::kFail);  // hard-case 107
  EXPECT_EQ(Worse(Outcome::kPass, Outcome::kPass), Outcome::kPass);
  for (const auto outcome : {Outcome::kPass, Outcome::kFail, Outcome::kUnknown}) {
    EXPECT_EQ(OutcomeFromName(OutcomeName(outcome)), outcome);
  }
  EXPECT_EQ(OutcomeFromName("green"), Outcome::kUnknown);
}

TEST(Report, WithoutAScenarioIsUnknown) {  // hard-case 106
  Report report = Sample();
  report.scenarios.clear();
  EXPECT_EQ(report.verdict(), Outcome::kUnknown);
}

TEST(Report, CountsFinalVerdictsAndNoWaivedCheck) {
  const Json counts = Sample().counts();
  EXPECT_EQ(counts,
            (Json{{"scenarios", 3}, {"pass", 1}, {"fail", 1}, {"unknown", 1}, {"checks", 7}}));
  EXPECT_EQ(Sample().verdict(), Outcome::kFail);
}

TEST(Report, ReadsBackWhatItWrote) {
  const Json json = Sample().ToJson();
  EXPECT_EQ(Report::FromJson(json).ToJson(), json);
}

TEST(Report, OfAnotherFormatOrFormIsRefused) {
  EXPECT_THROW(Report::FromJson({{"format", "understudy-report/2"}}), Error);
  Json json = Sample().ToJson();
  json["scenarios"][0]["checks"][0].erase("summary");
  try {
    Report::FromJson(json);
    FAIL() << "a check without a summary was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidSpec);
    EXPECT_THAT(error.what(), HasSubstr("/scenarios/0/checks/0"));
  }
}

TEST(ReportSchema, RefusesWhatTheContractDoesNotName) {
  const auto refuses = [](const char* pointer, const Json& value) {
    Json json = Sample().ToJson();
    json[Json::json_pointer(pointer)] = value;
    EXPECT_THROW(ValidateReport(json), Error) << pointer << " = " << value.dump();
  };
  EXPECT_NO_THROW(ValidateReport(Sample().ToJson()));
  refuses("/verdict", "green");
  refuses("/started_at", "yesterday");
  refuses("/counts/pass", 1.5);
  refuses("/scenarios/0/phases/0/phase", "copy");
  refuses("/scenarios/0/steps/0/outcome", "well");
  refuses("/scenarios/0/measurements/latency/lunch", Json::object());
  refuses("/scenarios/0/measurements/locks/0/seen", "somewhere");
  refuses("/scenarios/0/checks/0/examples/0/left/note", "a bare text");
  refuses("/scenarios/0/faults/0/struck", true);
  refuses("/scenarios/0/surprise", 1);
}

TEST(JsonWriter, WritesNothingThatBreaksTheSchema) {
  Report report = Sample();
  report.started_at = "yesterday";
  std::ostringstream out;
  EXPECT_THROW(JsonWriter()->Write(report, out), Error);
  EXPECT_EQ(out.str(), "");
}

TEST(Writers, GiveTheSameBytesForTheSameReport) {
  ExpectGolden("report.json", Written(JsonWriter(), Sample()));
  ExpectGolden("junit.xml", Written(JunitWriter(), Sample()));
  ExpectGolden("report.md", Written(MarkdownWriter(), Sample()));
  ExpectGolden("terminal.txt", Written(TerminalWriter(false), Sample()));
}

TEST(Junit, TellsFailuresErrorsAndSkippedApart) {
  const std::string xml = Written(JunitWriter(), Sample());
  EXPECT_THAT(xml, HasSubstr("<testsuites name=\"understudy\" tests=\"9\" failures=\"2\" "
                             "errors=\"2\" skipped=\"1\""));
  EXPECT_THAT(xml, HasSubstr("<skipped message=\"no need\"/>"));
  EXPECT_THAT(xml, HasSubstr("<error type=\"unknown\" message=\"no container engine\">"));
  // An expected fail that came is a passed case.
  EXPECT_THAT(xml, HasSubstr("classname=\"orders-total-noticed\" name=\"rows\" time=\"0\"/>"));
}

TEST(Junit, ShowsAnExpectationThatWasNotMet) {
  Report report = Sample();
  report.scenarios = {report.scenarios[1]};
  report.scenarios[0].verdict = Outcome::kFail;
  report.scenarios[0].summary = "expected fail, but it is pass";
  report.scenarios[0].checks = {{"rows", Outcome::kPass, "", {}, Json::array(), {}}};
  const std::string xml = Written(JunitWriter(), report);
  EXPECT_THAT(xml, HasSubstr("name=\"verdict\" time=\"0\">\n      <failure"));
}

// hard-case 126
TEST(Forms, EscapeWhateverADatabasePutsIn) {
  const std::string wild = "<b>&\x1b[31m\n\x01`|*@team \xff \xc2\x9b \xe2\x80\xae";
  EXPECT_EQ(EscapeXml(wild), "&lt;b&gt;&amp;\\x1b[31m\n\\x01`|*@team \\xff \\x9b \\u202e");
  EXPECT_EQ(EscapeTerminal(wild), "<b>&\\x1b[31m\\n\\x01`|*@team \\xff \\x9b \\u202e");
  const std::string markdown = EscapeMarkdown(wild);
  EXPECT_THAT(markdown, Not(HasSubstr("<b>")));
  EXPECT_THAT(markdown, Not(HasSubstr("@team")));
  EXPECT_THAT(markdown, HasSubstr("\\`\\|\\*"));
  EXPECT_EQ(MarkdownCode("a`b"), "`` a`b ``");
  for (const auto& form : {Written(JunitWriter(), Sample()), Written(MarkdownWriter(), Sample()),
                           Written(TerminalWriter(false), Sample())}) {
    EXPECT_EQ(form.find('\x1b'), std::string::npos);
    EXPECT_EQ(form.find('\x01'), std::string::npos);
  }
}

TEST(Terminal, ColoursOnlyWhenAsked) {
  EXPECT_THAT(Written(TerminalWriter(true), Sample()), HasSubstr("\x1b[1;31m"));
}

TEST(Markdown, TellsTheVerdictAndTheWorstInTenLines) {
  Report report = Sample();
  for (int i = 0; i < 50; ++i) report.scenarios.push_back(report.scenarios[1]);
  std::istringstream text(Written(MarkdownWriter(), report));
  std::string top;
  std::string line;
  for (int i = 0; i < 10 && std::getline(text, line); ++i) top += line + "\n";
  EXPECT_THAT(top, HasSubstr("# Understudy: FAIL"));
  EXPECT_THAT(top, HasSubstr("53 scenarios: 51 pass, 1 fail, 1 unknown"));
  EXPECT_THAT(top, HasSubstr("public.orders: 2 rows lost"));
  EXPECT_THAT(top, HasSubstr("`no-engine`"));
  EXPECT_THAT(top, HasSubstr("and 48 more"));
}

TEST(RedactValues, TakesOutValuesAndKeepsKeys) {
  Report report = Sample();
  report.scenarios[0].checks[1].summary = "ERROR: x Failing row contains (1, secret).\nnext";
  report.scenarios[0].checks[1].details = {"invalid input syntax for type integer: \"secret\""};
  RedactValues(report);
  const std::string text = Written(JsonWriter(), Report{report.tool,
                                                        report.started_at,
                                                        report.duration_ms,
                                                        report.host,
                                                        nullptr,
                                                        {report.scenarios[0]}});
  EXPECT_THAT(text, Not(HasSubstr("secret")));
  const Json example = report.scenarios[0].checks[0].examples[0];
  EXPECT_EQ(example["key"], (Json{{"id", "17"}}));
  EXPECT_EQ(example["left"]["note"], (Json{{"type", "text"}, {"redacted", 16}}));
  EXPECT_EQ(example["left"]["image"], (Json{{"type", "bytea"}, {"redacted", 2}}));
  EXPECT_TRUE(example["left"]["gone"].is_null());
}

TEST(ReportFiles, AreWrittenWholeOrNotAtAll) {
  const TemporaryFolder folder;
  WriteReportFiles(Sample(), folder.path());
  EXPECT_EQ(ParseJsonFile(folder.path() / "report.json"), Sample().ToJson());
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "junit.xml"));
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "report.md"));

  const TemporaryFolder empty;
  Report broken = Sample();
  broken.scenarios[0].file_sha256 = "none";
  EXPECT_THROW(WriteReportFiles(broken, empty.path()), Error);
  EXPECT_TRUE(std::filesystem::is_empty(empty.path()));
}

}  // namespace
}  // namespace understudy::reports
