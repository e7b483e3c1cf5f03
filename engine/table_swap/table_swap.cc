#include "engine/table_swap/table_swap.h"

#include "engine/base/digest.h"
#include "engine/base/error.h"
#include "engine/table_swap/swap.h"

namespace understudy::table_swap {
std::vector<capture::CapturedTable> CapturedFrom(const Json& json) {
  std::vector<capture::CapturedTable> tables;
  for (const Json& item : json) tables.push_back(capture::CapturedTable::FromJson(item));
  return tables;
}

Json ReverseJson(const std::vector<capture::CapturedTable>& tables,
                 const catalog::Fingerprint& fingerprint) {
  Json list = Json::array();
  for (const capture::CapturedTable& table : tables) list.push_back(table.ToJson());
  return {{"tables", list}, {"fingerprint", catalog::ToJson(fingerprint)}};
}

TableSwap::TableSwap(core::Context& context)
    : context_(context),
      spec_(context.spec()),
      settings_(Settings::Read(spec_)),
      lock_timeout_(spec_.limits.lock_timeout_ms.value_or(StallLimits::kLockTimeout.count())) {}

// With the migration's name: another one's sessions are left alone.
std::string TableSwap::SessionName() const {
  constexpr std::size_t kLongest = 63;
  std::string name = "understudy-engine table-swap " + spec_.id;
  if (name.size() > kLongest) {
    name = name.substr(0, kLongest - 17) + " " + Sha256Hex(spec_.id).substr(0, 16);
  }
  // Anything else would be replaced by the server.
  for (char& c : name) {
    if (c < ' ' || c > '~') c = '?';
  }
  return name;
}

// A backup that writes are still carried back to is watched by its own migration while the next one
// prepares.
std::string TableSwap::CaptureOwner() const { return Sha256Hex(spec_.id).substr(0, 8); }

TableSwap::SessionPtr TableSwap::Connect(std::chrono::milliseconds lock_timeout) const {
  return db::Connect(
      spec_.Target(),
      {.application_name = SessionName(),
       .lock_timeout = lock_timeout,
       .statement_timeout = std::chrono::milliseconds(spec_.limits.statement_timeout_ms)});
}

TableSwap::Known TableSwap::Read(core::Journal& journal) const {
  Known known;
  known.manifest = Manifest::Load(journal);
  for (const core::JournalEntry& entry : journal.Entries()) {
    if (entry.name == kCaptureEntry) {
      known.capture_off = entry.detail.value("off", false);
      known.capture_installed = !known.capture_off && entry.detail.value("whole", true);
      known.captured = CapturedFrom(entry.detail.at("tables"));
      known.fingerprint = catalog::FingerprintFromJson(entry.detail.at("fingerprint"));
    } else if (entry.name == kBlockedEntry) {
      known.blocked = entry.detail;
    } else if (entry.name == kCutoverEntry) {
      known.cutover = entry.detail;
    } else if (entry.name == kAttemptEntry) {
      known.attempt = entry.detail;
    } else if (entry.name == kDroppedEntry) {
      known.dropped = entry.detail;
    } else if (entry.name == kLastWriteEntry) {
      known.written = entry.detail;
    } else if (entry.name == kFinishedEntry) {
      known.finished = true;
    } else if (entry.name == kRolledBackEntry) {
      known.rolled_back = true;
    } else if (entry.name == kWatchEntry) {
      known.watch = CapturedFrom(entry.detail.at("tables"));
    } else if (entry.name == kReverseEntry) {
      known.reverse_left = CapturedFrom(entry.detail.at("tables"));
      if (!entry.detail.value("off", false)) known.reverse = known.reverse_left;
      known.reverse_fingerprint = catalog::FingerprintFromJson(entry.detail.at("fingerprint"));
    }
  }
  return known;
}

TableSwap::Known TableSwap::ReadOrNothing(db::Session& session) const {
  core::Journal journal(session, spec_.id);
  return journal.Load() ? Read(journal) : Known{};
}

ShadowRequest TableSwap::Request() const {
  ShadowRequest request;
  request.migration_id = spec_.id;
  request.epoch = context_.epoch();
  request.session_name = SessionName();
  request.target = spec_.Target();
  if (settings_.from_source) request.source = spec_.Endpoint("source");
  request.settings = settings_;
  return request;
}

ShadowRequest TableSwap::RequestOfPlan() const {
  ShadowRequest request = Request();
  request.migration_id += " (plan)";
  return request;
}

std::string DroppedText(const std::string& table, const Json& what) {
  return table + ": " + std::to_string(what.at("rows").get<std::int64_t>()) +
         " rows are left out, since what they refer to is not in the new data (\"orphans\": "
         "\"drop\")";
}

Json DependentsJson(const std::vector<Dependent>& dependents) {
  Json list = Json::array();
  for (const Dependent& dependent : dependents) {
    list.push_back({{"kind", dependent.kind},
                    {"object", dependent.object},
                    {"table", {dependent.table.schema, dependent.table.name}},
                    {"detach", dependent.detach},
                    {"attach", dependent.attach},
                    {"finish", dependent.finish.ToJson()}});
  }
  return list;
}

Json FinishesJson(const std::vector<KeyFinish>& finishes) {
  Json list = Json::array();
  for (const KeyFinish& finish : finishes) list.push_back(finish.ToJson());
  return list;
}

std::vector<Dependent> DependentsFrom(const Json& json) {
  std::vector<Dependent> all;
  for (const Json& item : json) {
    all.push_back(
        {item.at("kind").get<std::string>(),
         item.at("object").get<std::string>(),
         {item.at("table").at(0).get<std::string>(), item.at("table").at(1).get<std::string>()},
         item.at("detach").get<std::string>(),
         item.at("attach").get<std::string>(),
         KeyFinish::FromJson(item.at("finish"))});
  }
  return all;
}

core::StrategyInfo Strategy() {
  return {.name = "table-swap",
          .endpoint_keys = {"target", "source"},
          .required = {"target", "schema"},
          .optional = {"source", "schemas", "preserved", "exclude", "columns", "orphans", "reverse",
                       "publications"},
          .make = [](core::Context& context) { return std::make_unique<TableSwap>(context); }};
}

}  // namespace understudy::table_swap
