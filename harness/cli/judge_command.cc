#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <memory>

#include "engine/base/error.h"
#include "harness/cli/program.h"
#include "harness/run/judge.h"
#include "reports/report.h"

namespace understudy::cli {

void AddJudge(CLI::App& app, Program& program) {
  CLI::App* verb = app.add_subcommand("judge", "Judge the stored evidence of a run again");
  struct Options {
    std::string run;
    std::string out;
    bool show_values = false;
  };
  auto options = std::make_shared<Options>();
  verb->add_option("RUN", options->run, "The folder of a run (understudy-out/…)")->required();
  verb->add_option("--out", options->out, "Write the report files here instead of into RUN");
  verb->add_flag("--show-values", options->show_values, "Show values of rows");
  AddJsonFlag(*verb, program);
  verb->footer(
      "Example:\n  understudy judge understudy-out/latest\nNeeds no database: the same "
      "evidence gives the same verdicts.");
  verb->callback([&program, options] {
    program.run = [&program, options] {
      reports::Report report = harness::JudgeRun(options->run);
      if (!options->show_values) reports::RedactValues(report);
      const std::filesystem::path out = options->out.empty() ? options->run : options->out;
      std::filesystem::create_directories(out);
      reports::WriteReportFiles(report, out);
      if (program.json) {
        std::cout << ToText(report.ToJson());
      } else {
        reports::TerminalWriter(Colour(STDOUT_FILENO))->Write(report, std::cout);
        std::cout << "Report: " << (out / "report.json").string() << "\n";
      }
      switch (report.verdict()) {
        case reports::Outcome::kPass:
          return kPass;
        case reports::Outcome::kFail:
          return kFail;
        case reports::Outcome::kUnknown:
          break;
      }
      return kUnknown;
    };
  });
}

}  // namespace understudy::cli
