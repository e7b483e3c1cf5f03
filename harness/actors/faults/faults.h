#pragma once

#include <memory>

#include "harness/actors/actor.h"

// One file for each kind of fault from outside, one table in faults.cc.
namespace understudy::harness {

std::unique_ptr<Fault> MakeHoldTransaction(const FaultSpec& spec, const ActorContext& context);

// What every fault tells of itself.
void SayFault(const ActorContext& context, const FaultSpec& spec, std::string_view status,
              bool struck, const std::string& detail, int pid = 0);
const db::Endpoint& EndpointOf(const FaultSpec& spec, const ActorContext& context);

}  // namespace understudy::harness
