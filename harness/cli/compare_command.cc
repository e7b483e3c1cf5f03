#include "harness/cli/compare_command.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>
#include <optional>

#include "engine/base/error.h"
#include "engine/db/identifier.h"
#include "harness/cli/program.h"
#include "harness/compare/compare.h"
#include "harness/compare/digest.h"
#include "harness/snapshot/snapshot.h"

namespace understudy::cli {
namespace {

using harness::CompareResult;
using harness::Comparison;
using harness::Snapshot;

// One argument: a database, or what was stored of one.
struct Subject {
  std::string name;  // redacted
  std::optional<db::Endpoint> endpoint;
  std::optional<Snapshot> stored;
};

Subject Parse(const std::string& text) {
  Subject subject;
  subject.name = text;
  const std::string store = "snapshots.sqlite#";
  if (const auto at = text.rfind(store); at != std::string::npos) {
    const std::string file = text.substr(0, at + store.size() - 1);
    const std::string which = text.substr(at + store.size());
    const auto colon = which.rfind(':');
    if (colon == std::string::npos) {
      throw UsageError(text + ": after # stands NAME:DATABASE, as in snapshots.sqlite#before:main");
    }
    db::SessionOptions options;
    options.read_only = true;
    const auto session = db::Connect(db::Endpoint::Sqlite(file), options);
    const auto content = session->MaybeScalar(
        "SELECT content FROM snapshots WHERE name = ?1 AND database = ?2",
        {db::Value::Text(which.substr(0, colon)), db::Value::Text(which.substr(colon + 1))});
    if (!content || content->is_null()) {
      std::string there;
      for (const db::Row& row :
           session->Query("SELECT name || ':' || database FROM snapshots ORDER BY 1").rows) {
        there += (there.empty() ? "" : ", ") + row[0].text;
      }
      throw Error(ErrorKind::kInvalidSpec,
                  file + " holds no snapshot " + which + "; it holds: " + there);
    }
    subject.stored = Snapshot::FromJson(ParseJson(content->text, text));
  } else if (text.ends_with(".snapshot")) {
    subject.stored = harness::ReadSnapshotFile(text);
  } else {
    try {
      subject.endpoint = db::Endpoint::Parse(text);
    } catch (const Error& error) {
      throw UsageError(std::string(error.what()) +
                       "; a stored snapshot is FILE.snapshot or "
                       "RUN/SCENARIO/snapshots.sqlite#NAME:DATABASE");
    }
    subject.name = subject.endpoint->Redacted();
  }
  return subject;
}

Snapshot Catalog(const Subject& subject) {
  if (subject.stored) return *subject.stored;
  db::SessionOptions options;
  options.read_only = true;
  const auto session = db::Connect(*subject.endpoint, options);
  return harness::TakeCatalog(*session);
}

Comparison CompareTheRows(const Subject& left, const Subject& right,
                          const harness::CompareOptions& options) {
  if (left.endpoint && right.endpoint) {
    return harness::CompareRows(*left.endpoint, *right.endpoint, options);
  }
  const auto digests = [&](const Subject& subject) {
    if (subject.stored) return *subject.stored;
    Snapshot snapshot;
    snapshot.engine = db::EngineName(subject.endpoint->engine());
    harness::DigestTables(*subject.endpoint, options.jobs, snapshot);
    return snapshot;
  };
  return harness::CompareDigests(digests(left), digests(right), options);
}

bool MatchesOne(const std::vector<std::string>& globs, const db::TableName& name) {
  return std::ranges::any_of(globs, [&](const std::string& glob) {
    return db::MatchesGlob(name.Display(), glob) || db::MatchesGlob(name.name, glob);
  });
}

// The table that a catalog object stands for or is a part of; none: a function, a view, a schema.
std::optional<db::TableName> TableOf(const harness::CatalogObject& object) {
  const auto colon = object.path.find(':');
  if (const auto it = object.properties.find("table"); it != object.properties.end()) {
    const std::vector<std::string> parts = db::ParseDottedName(it->second, false);
    if (parts.size() == 2) return db::TableName{parts[0], parts[1]};
  }
  const std::vector<std::string> parts = db::ParseDottedName(object.path.substr(colon + 1), false);
  const bool itself = object.kind == "table" || object.kind == "foreign-table";
  const bool part = object.kind == "column" || object.kind == "constraint" ||
                    object.kind == "trigger" || object.kind == "policy" || object.kind == "rule";
  if ((itself && parts.size() == 2) || (part && parts.size() == 3)) {
    return db::TableName{parts[0], parts[1]};
  }
  return std::nullopt;
}

// --table and --exclude choose what is compared of the catalog as they choose whose rows are.
void KeepAsked(Snapshot& catalog, const CompareArguments& arguments) {
  std::erase_if(catalog.objects, [&](const harness::CatalogObject& object) {
    const std::optional<db::TableName> table = TableOf(object);
    if (!table) return !arguments.tables.empty();
    return (!arguments.tables.empty() && !MatchesOne(arguments.tables, *table)) ||
           MatchesOne(arguments.exclude, *table);
  });
}

// A typed value without what it holds: how long it is.
Json Redacted(const Json& value) {
  if (!value.is_object() || !value.contains("text")) return value;
  const Json& text = value.at("text");
  const std::size_t bytes = text.is_string() ? text.get_ref<const std::string&>().size() : 0;
  return {{"type", value.at("type")}, {"redacted", bytes}};
}

Json RowJson(const Json& row, bool show_values) {
  if (!row.is_object() || show_values) return row;
  Json json = Json::object();
  for (const auto& [column, value] : row.items()) json[column] = Redacted(value);
  return json;
}

// null: not known, since digests alone were compared.
Json Known(std::int64_t count) { return count < 0 ? Json(nullptr) : Json(count); }

Json TableJson(const harness::TableComparison& table, bool show_values) {
  Json columns = Json::object();
  for (const auto& [column, rows] : table.columns) {
    columns[column] = Known(rows);
  }
  Json examples = Json::array();
  for (const harness::RowDifference& one : table.differences) {
    Json example = {{"key", one.key},
                    {"left", RowJson(one.left, show_values)},
                    {"right", RowJson(one.right, show_values)},
                    {"kind", one.kind}};
    if (one.key.is_null()) {
      example["copies_left"] = one.copies_left;
      example["copies_right"] = one.copies_right;
    }
    examples.push_back(std::move(example));
  }
  return {{"table", table.table},
          {"result", CompareResultName(table.result)},
          {"left_rows", table.left_rows},
          {"right_rows", table.right_rows},
          {"missing", Known(table.missing)},
          {"extra", Known(table.extra)},
          {"changed", Known(table.changed)},
          {"columns", std::move(columns)},
          {"examples", std::move(examples)},
          {"why", table.why.empty() ? Json(nullptr) : Json(table.why)}};
}

std::string ValueText(const Json& row, bool show_values) {
  if (row.is_null()) return "-";
  std::string text;
  for (const auto& [column, value] : row.items()) {
    text += (text.empty() ? "" : ", ") + column + " = ";
    if (value.is_null()) {
      text += "NULL";
    } else if (show_values) {
      text +=
          value.at("type").get<std::string>() + " '" + value.at("text").get<std::string>() + "'";
    } else {
      const Json hidden = Redacted(value);
      text +=
          hidden.at("type").get<std::string>() + " of " + hidden.at("redacted").dump() + " bytes";
    }
  }
  return text;
}

void PrintTable(const harness::TableComparison& table, bool show_values, std::ostream& out) {
  out << CompareResultName(table.result) << "  " << table.table << "  " << table.left_rows
      << " rows";
  if (table.left_rows != table.right_rows) out << " against " << table.right_rows;
  if (table.missing + table.extra + table.changed > 0) {
    out << "; missing " << table.missing << ", extra " << table.extra << ", changed "
        << table.changed;
    std::string columns;
    for (const auto& [column, rows] : table.columns) {
      columns += (columns.empty() ? "" : ", ") + column + " in " + std::to_string(rows);
    }
    if (!columns.empty()) out << " (" << columns << ")";
  }
  out << "\n";
  if (!table.why.empty()) out << "    " << table.why << "\n";
  for (const harness::RowDifference& one : table.differences) {
    out << "    " << one.kind << " ";
    if (one.key.is_null()) {
      out << "a row, " << one.copies_left << " times on the left, " << one.copies_right
          << " on the right";
    } else {
      out << ToLine(one.key);
    }
    out << "\n        left:  " << ValueText(one.left, show_values)
        << "\n        right: " << ValueText(one.right, show_values) << "\n";
  }
}

}  // namespace

int CompareCommand(const CompareArguments& arguments, std::ostream& out) {
  const Subject left = Parse(arguments.left);
  const Subject right = Parse(arguments.right);
  harness::CompareOptions options;
  options.tables = arguments.tables;
  options.exclude = arguments.exclude;
  options.examples = arguments.examples;
  options.jobs = arguments.jobs;
  options.second_digest = arguments.second_digest;
  options.stop = [] { return Interrupted(); };

  Comparison rows;
  bool different = false;
  bool unknown = false;
  Json not_checked = Json::array();
  if (!arguments.catalog_only) {
    rows = CompareTheRows(left, right, options);
    different = rows.result == CompareResult::kDifferent;
    unknown = rows.result == CompareResult::kUnknown;
    not_checked = rows.not_checked;
    if (options.second_digest && (left.stored || right.stored)) {
      not_checked.push_back(
          {{"what", "second digest"}, {"why", "a stored snapshot holds one digest only"}});
    }
    if (rows.tables.empty()) not_checked.push_back({{"what", "rows"}, {"why", "no table"}});
  } else {
    not_checked.push_back({{"what", "rows"}, {"why", "--catalog-only"}});
  }
  Json catalog = Json::array();
  if (!arguments.rows_only) {
    Snapshot left_catalog = Catalog(left);
    Snapshot right_catalog = Catalog(right);
    KeepAsked(left_catalog, arguments);
    KeepAsked(right_catalog, arguments);
    if (!arguments.tables.empty()) {
      not_checked.push_back(
          {{"what", "catalog objects that are no part of one table"}, {"why", "--table"}});
    }
    if (left_catalog.engine != right_catalog.engine) {
      not_checked.push_back(
          {{"what", "catalog"},
           {"why",
            "one side is PostgreSQL and the other SQLite: their catalogs have no one form"}});
      unknown = unknown || arguments.catalog_only;
    } else {
      for (const harness::CatalogChange& change :
           harness::DiffCatalogs(left_catalog, right_catalog)) {
        if (!harness::IsOurs(change.path)) catalog.push_back(harness::ToJson(change));
      }
      for (const Snapshot* side : {&left_catalog, &right_catalog}) {
        for (const harness::NotChecked& note : side->not_checked) {
          const Json json = {{"what", note.what}, {"why", note.why}};
          if (std::find(not_checked.begin(), not_checked.end(), json) == not_checked.end()) {
            not_checked.push_back(json);
          }
        }
      }
    }
  } else {
    not_checked.push_back({{"what", "catalog"}, {"why", "--rows-only"}});
  }
  different = different || !catalog.empty();
  const CompareResult result = different ? CompareResult::kDifferent
                               : unknown ? CompareResult::kUnknown
                                         : CompareResult::kEqual;
  if (arguments.json) {
    Json tables = Json::array();
    for (const auto& table : rows.tables) {
      tables.push_back(TableJson(table, arguments.show_values));
    }
    out << ToText({{"format", "understudy-compare/1"},
                   {"result", CompareResultName(result)},
                   {"left", left.name},
                   {"right", right.name},
                   {"tables", std::move(tables)},
                   {"catalog", std::move(catalog)},
                   {"not_checked", std::move(not_checked)}});
  } else {
    for (const auto& table : rows.tables) PrintTable(table, arguments.show_values, out);
    for (const Json& change : catalog) {
      out << change.at("change").get<std::string>() << "  " << change.at("path").get<std::string>();
      const Json& from = change.at("left");
      const Json& to = change.at("right");
      if (change.at("change") == "changed") {
        out << ": " << (from.is_string() ? from.get<std::string>() : from.dump()) << " -> "
            << (to.is_string() ? to.get<std::string>() : to.dump());
      }
      out << "\n";
    }
    for (const Json& note : not_checked) {
      out << "not checked: " << note.at("what").get<std::string>() << ": "
          << note.at("why").get<std::string>() << "\n";
    }
    out << "Result: " << CompareResultName(result) << " (" << rows.tables.size() << " tables, "
        << rows.rows_compared << " rows, " << catalog.size() << " catalog changes)\n";
  }
  if (result == CompareResult::kDifferent) return kFail;
  return result == CompareResult::kEqual ? kPass : kUnknown;
}

void AddCompare(CLI::App& app, Program& program) {
  CLI::App* verb =
      app.add_subcommand("compare", "Compare two databases, or stored snapshots, down to the rows");
  auto arguments = std::make_shared<CompareArguments>();
  verb->add_option("LEFT", arguments->left,
                   "An endpoint, FILE.snapshot, or RUN/SCENARIO/snapshots.sqlite#NAME:DATABASE")
      ->required();
  verb->add_option("RIGHT", arguments->right, "The same")->required();
  verb->add_option("--table", arguments->tables, "Only tables that match GLOB (repeatable)")
      ->type_name("GLOB")
      ->allow_extra_args(false);
  verb->add_option("--exclude", arguments->exclude, "Not the tables that match GLOB (repeatable)")
      ->type_name("GLOB")
      ->allow_extra_args(false);
  verb->add_option("--examples", arguments->examples, "Differing rows to show per table")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  verb->add_option("--jobs", arguments->jobs, "Sessions per side")
      ->check(CLI::Range(1, 16))
      ->capture_default_str();
  CLI::Option* rows = verb->add_flag("--rows-only", arguments->rows_only, "Not the catalogs");
  verb->add_flag("--catalog-only", arguments->catalog_only, "Not the rows")->excludes(rows);
  verb->add_flag("--second-digest", arguments->second_digest,
                 "Compare by a second, independent hash as well");
  verb->add_flag("--show-values", arguments->show_values, "Show values of rows");
  AddJsonFlag(*verb, program);
  verb->footer(
      "Example:\n  understudy compare postgresql:///old postgresql:///new --table 'public.*'\n"
      "Exit: 0 equal, 1 different, 2 something could not be compared and nothing differs.");
  verb->callback([&program, arguments] {
    program.run = [&program, arguments] {
      arguments->json = program.json;
      return CompareCommand(*arguments, std::cout);
    };
  });
}

}  // namespace understudy::cli
