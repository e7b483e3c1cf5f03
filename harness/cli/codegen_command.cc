#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cctype>
#include <iostream>
#include <memory>

#include "engine/base/file.h"
#include "engine/catalog/sqlite_schema.h"
#include "engine/codegen/codegen.h"
#include "harness/cli/program.h"

namespace understudy::cli {
namespace {

struct Options {
  std::string schema;
  std::string output;
  std::string name_space = "db";
};

int Codegen(const Options& options) {
  for (const char c : options.name_space) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '_' && c != ':') {
      throw UsageError("--namespace " + options.name_space + ": a C++ namespace is needed");
    }
  }
  const auto evaluated = catalog::EvaluateSqliteSchema(ReadFile(options.schema), options.schema);
  const std::string header = codegen::GenerateHeader(
      evaluated.schema, {.name_space = options.name_space,
                         .source = std::filesystem::path(options.schema).filename().string()});
  if (options.output.empty() || options.output == "-") {
    std::cout << header;
  } else {
    WriteFileWhole(options.output, header);
  }
  return kPass;
}

}  // namespace

void AddCodegen(CLI::App& app, Program& program) {
  CLI::App* verb =
      app.add_subcommand("codegen", "Write C++ types and typed queries for an SQLite schema");
  auto options = std::make_shared<Options>();
  verb->add_option("SCHEMA", options->schema, "schema.sql, with -- @query annotations")->required();
  verb->add_option("-o,--output", options->output, "The header to write (default: stdout)");
  verb->add_option("--namespace", options->name_space, "Of what is written (default: db)");
  verb->footer(
      "Annotations stand inside the parentheses of CREATE TABLE, or on the first line after CREATE "
      "VIEW … AS:\n  -- @query select-all | select-by COL… | select-one-by COL… | select-like COL "
      "|\n"
      "            select-by-or-insert COL… | update-by COL… | delete-by COL… | insert-or-ignore\n"
      "            [order COL [desc]]\n"
      "Example:\n  understudy codegen schema.sql -o db.h");
  verb->callback([&program, options] { program.run = [options] { return Codegen(*options); }; });
}

}  // namespace understudy::cli
