#pragma once
#include <functional>
#include <memory>

#include "edge/edge.h"
#include "net/event_loop.h"
#include "ops/server.h"

namespace culvert::node {

// Workers of the edge, by whether they answer.
struct WorkerStates {
  size_t answering = 0;
  size_t stuck = 0;
};
void report(const WorkerStates& workers, Metrics& metrics);

// Collects what a node reports of itself: from the control thread, and from every worker on its own thread.
class Observer {
 public:
  // How long a worker may take to answer before it counts as stuck.
  static constexpr Duration kWorkerTime = std::chrono::seconds(2);

  // `report_control` adds the series of the control thread. `loop` is that thread's; the edge outlives the
  // observer.
  Observer(net::EventLoop& loop, edge::Edge& edge, std::function<void(Metrics&)> report_control)
      : loop_(loop), edge_(edge), report_control_(std::move(report_control)) {}

  net::Task<Metrics> metrics();
  // Names the workers that do not answer.
  net::Task<ops::Faults> health();

 private:
  struct Answers;
  net::Task<std::shared_ptr<Answers>> ask_workers();

  net::EventLoop& loop_;
  edge::Edge& edge_;
  std::function<void(Metrics&)> report_control_;
};

}  // namespace culvert::node
