#pragma once

#include <set>
#include <string>
#include <vector>

#include "harness/evidence/evidence.h"

// The locks of the engine's sessions, from three witnesses: its own account of each transaction
// (`held`), of each statement (`statement`), and the observer's points and samples (`locks`).
namespace understudy::harness {

struct LockSeen {
  std::string object;    // public.orders
  std::string mode;      // AccessExclusiveLock
  double held_ms = 0;    // the longest time at a stretch
  double waited_ms = 0;  // the longest wait for it
  std::string statement;
  bool at_point = false;  // seen at a point or by the engine itself; else by samples only
  bool is_new = false;    // the object was made by the migration: nobody can wait for it
};
// By object and mode, longest first. Locks on the server's own objects are left out.
std::vector<LockSeen> LocksSeen(const Evidence& evidence);

// Whether a lock of this mode keeps writers of the table out.
bool BlocksWriters(const std::string& mode);

}  // namespace understudy::harness
