#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "harness/actors/client.h"
#include "harness/actors/stage.h"

namespace understudy::harness {

// Clients with a thread each, and the event that says how they ended.
class ThreadedWorkload : public Actor {
 public:
  ThreadedWorkload(WorkloadSpec spec, const ActorContext& context);
  ~ThreadedWorkload() override;
  void Start() override;
  void Stop() override;

  // Waits until all clients are through by themselves (`enough`), then stops.
  void Join();
  const std::string& died() const { return died_; }

 protected:
  // Makes the clients; sets tables_, skipped_, writes_.
  virtual void Cast(std::vector<std::unique_ptr<Client>>& clients) = 0;
  virtual bool Enough() const { return false; }
  ClientSetup Setup(std::size_t client) const;
  const db::Endpoint& endpoint() const;

  WorkloadSpec spec_;
  ActorContext context_;
  std::size_t first_number_;
  Json tables_ = Json::array();
  Json skipped_ = Json::array();
  Json writes_ = Json::array();  // tables that change outside the ledger

 private:
  void Say(std::string_view status);

  std::atomic<bool> stop_ = false;
  bool started_ = false;
  bool stopped_ = false;
  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<std::thread> threads_;
  std::string died_, died_code_;
};

std::unique_ptr<Actor> MakePgbench(const WorkloadSpec& spec, const ActorContext& context);

}  // namespace understudy::harness
