#include "harness/actors/faults/faults.h"

#include "engine/base/error.h"

namespace understudy::harness {
namespace {

struct KnownFault {
  std::string_view kind;
  std::unique_ptr<Fault> (*make)(const FaultSpec&, const ActorContext&);
};

constexpr KnownFault kFaults[] = {
    {"hold-transaction", &MakeHoldTransaction},
};

}  // namespace

void SayFault(const ActorContext& context, const FaultSpec& spec, std::string_view status,
              bool struck, const std::string& detail, int pid) {
  Json at = nullptr;
  if (spec.at) {
    at = *spec.at;
  } else if (spec.at_step) {
    at = *spec.at_step;
  } else if (spec.at_ms) {
    at = *spec.at_ms;
  }
  Json event = {{"index", spec.index}, {"kind", spec.kind}, {"on", spec.on},    {"at", at},
                {"struck", struck},    {"status", status},  {"detail", detail}, {"pid", pid}};
  context.ledger.evidence().Add("fault", std::move(event));
}

const db::Endpoint& EndpointOf(const FaultSpec& spec, const ActorContext& context) {
  const auto it = context.databases.find(spec.on);
  if (it == context.databases.end()) {
    throw Error(ErrorKind::kInvalidSpec, "the fault " + spec.kind + " is on '" + spec.on +
                                             "', which is none of the scenario's databases");
  }
  return it->second;
}

std::unique_ptr<Fault> MakeFault(const FaultSpec& spec, const ActorContext& context) {
  std::string known;
  for (const KnownFault& fault : kFaults) {
    if (fault.kind == spec.kind) return fault.make(spec, context);
    known += (known.empty() ? "" : ", ") + std::string(fault.kind);
  }
  throw Error(ErrorKind::kUnsupported,
              "the fault '" + spec.kind +
                  "' cannot be made to strike from outside yet; what can: " + known);
}

}  // namespace understudy::harness
