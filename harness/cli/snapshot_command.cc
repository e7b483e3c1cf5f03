#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "engine/base/clock.h"
#include "engine/base/error.h"
#include "harness/cli/program.h"
#include "harness/compare/digest.h"
#include "harness/snapshot/snapshot.h"

namespace understudy::cli {
namespace {

struct SnapshotArguments {
  std::string endpoint;
  std::string file;
  int jobs = 2;
};

int SnapshotCommand(const SnapshotArguments& arguments, bool json, std::ostream& out) {
  const db::Endpoint endpoint = [&] {
    try {
      return db::Endpoint::Parse(arguments.endpoint);
    } catch (const Error& error) {
      throw UsageError(error.what());
    }
  }();
  harness::Snapshot snapshot;
  {
    db::SessionOptions options;
    options.read_only = true;
    const auto session = db::Connect(endpoint, options);
    snapshot = harness::TakeCatalog(*session);
  }
  snapshot.endpoint = endpoint.Redacted();
  snapshot.engine = db::EngineName(endpoint.engine());
  if (snapshot.taken_at.empty()) snapshot.taken_at = UtcNow();
  harness::DigestTables(endpoint, arguments.jobs, snapshot);
  if (!arguments.file.empty()) harness::WriteSnapshotFile(arguments.file, snapshot);
  if (json) {
    out << ToText(harness::SnapshotJson(snapshot));
    return kPass;
  }
  std::int64_t rows = 0;
  for (const harness::TableDigest& table : snapshot.tables) {
    rows += table.rows;
    if (arguments.file.empty()) {
      out << table.digest << "  " << table.rows << "  " << table.table << "\n";
    }
  }
  for (const harness::NotChecked& note : snapshot.not_checked) {
    out << "not checked: " << note.what << ": " << note.why << "\n";
  }
  out << snapshot.tables.size() << " tables, " << rows << " rows, " << snapshot.objects.size()
      << " catalog objects";
  if (!arguments.file.empty()) {
    out << " in " << arguments.file << "\nNext: understudy compare " << arguments.file
        << " ENDPOINT";
  }
  out << "\n";
  return kPass;
}

}  // namespace

void AddSnapshot(CLI::App& app, Program& program) {
  CLI::App* verb =
      app.add_subcommand("snapshot", "Take the catalog and the row digests of a database");
  auto arguments = std::make_shared<SnapshotArguments>();
  verb->add_option("ENDPOINT", arguments->endpoint, "postgresql://…, a conninfo, or an SQLite file")
      ->required();
  verb->add_option("-o,--output", arguments->file, "Write it to FILE.snapshot")
      ->type_name("FILE")
      ->check([](const std::string& file) {
        return file.ends_with(".snapshot") ? std::string()
                                           : "the file's name must end in .snapshot";
      });
  verb->add_option("--jobs", arguments->jobs, "Sessions")
      ->check(CLI::Range(1, 16))
      ->capture_default_str();
  AddJsonFlag(*verb, program);
  verb->footer(
      "Example:\n  understudy snapshot postgresql:///shop -o before.snapshot\n"
      "  understudy compare before.snapshot postgresql:///shop");
  verb->callback([&program, arguments] {
    program.run = [&program, arguments] {
      return SnapshotCommand(*arguments, program.json, std::cout);
    };
  });
}

}  // namespace understudy::cli
