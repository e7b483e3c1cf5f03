#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/db/endpoint.h"
#include "harness/scenario/scenario.h"

namespace understudy::harness {

// What can be done to a server from outside, where a lease offers it. (The faults that use most of
// these are a later issue; `restart` steps use them now.)
class Power {
 public:
  virtual ~Power() = default;
  virtual void Restart(const std::string& how) = 0;  // fast | immediate | kill
};

// One database of a world. Its destructor gives everything back (never throws). The target of a hot
// copy is a place where nothing is: the migration makes the file, and a reset takes it away again.
class Lease {
 public:
  virtual ~Lease() = default;
  virtual const db::Endpoint& endpoint() const = 0;
  virtual std::string provision() const = 0;  // local | docker | sqlite | external
  virtual std::string version() const = 0;    // "15.18"
  // Whether there is anything at the endpoint: see above.
  bool IsThere() const;
  // A second database on the same server with the same content (empty where nothing is), for held
  // snapshots and probes. REQUIRES: nobody else is connected (PostgreSQL). Error(kConflict) when
  // somebody is, Error(kUnsupported) when this lease cannot (external), with the reason.
  virtual std::unique_ptr<Lease> Clone(const std::string& label) = 0;
  virtual Power* power() { return nullptr; }
  // How a person connects to it (for --keep); no password in it.
  virtual std::string HowToConnect() const = 0;
  // From now on the destructor leaves everything in place.
  virtual void Keep() = 0;
};

struct ProvisionOptions {
  std::string run_id;  // labels everything, so that `clean` finds it
  std::string scenario;
  std::function<void(std::string_view)> progress;  // "loading fixture shop (12 MB)"
  std::function<bool()> stop;
  // A server of its own, whose power() may be cut without hurting another scenario (`restart`
  // steps), and whose roles and settings are its own. Without it local scenarios share one.
  bool needs_power = false;
  // Runs a fixture item {"migrations": DIR, "layout": L, "through": V} on the endpoint: the
  // engine's work, which this room may not know. Without it such an item is Error(kUnsupported).
  std::function<void(const Json& item, const db::Endpoint& endpoint)> run_migrations;
};

// Makes one database: server, fixture or copy, settings, extensions. Errors: kEnvironment (the
// machine lacks something; the message says what and how to get it), kInvalidSpec (fixture files),
// kUnavailable (an external server), kUnsupported (version), each with the place.
// `spec.provision` "auto" = local, then docker.
std::unique_ptr<Lease> Provision(const DatabaseSpec& spec, const ProvisionOptions& options);

// Ends the servers that the leases of this process shared. REQUIRES: no lease is left (what is kept
// stays). Without this call they end with the process.
void EndServers();

// What this machine can do: the items of `doctor --json` {kind, name, version, available, where,
// fix}.
Json Inspect();

// Removes what killed runs left behind: clusters, containers, databases, files whose owner is gone.
// Also what --keep left. Gives a line for each thing removed. Never touches what a living run owns.
std::vector<std::string> CleanLeftovers();

}  // namespace understudy::harness
