#include "node/observer.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <vector>

namespace culvert::node {

void report(const WorkerStates& workers, Metrics& metrics) {
  metrics.gauges("culvert_workers", "Worker threads, by whether they answer.", "state",
                 {{"answering", workers.answering}, {"stuck", workers.stuck}});
}

// Shared with the workers, one of which may answer after the question was given up.
struct Observer::Answers {
  Answers(net::EventLoop& loop, size_t workers) : of_worker(workers), changed(loop) {}

  bool complete() const {
    return std::ranges::all_of(of_worker, [](const auto& answer) { return answer.has_value(); });
  }

  std::vector<std::optional<Metrics>> of_worker;
  net::Notify changed;
};

net::Task<std::shared_ptr<Observer::Answers>> Observer::ask_workers() {
  auto answers = std::make_shared<Answers>(loop_, edge_.workers());
  edge_.ask_workers([&loop = loop_, answers](unsigned worker, Metrics metrics) {
    loop.post([answers, worker, metrics = std::move(metrics)]() mutable {
      answers->of_worker[worker] = std::move(metrics);
      answers->changed.notify();
    });
  });
  const TimePoint deadline = loop_.now() + kWorkerTime;
  while (!answers->complete()) {
    if (!co_await answers->changed.wait_until(deadline)) break;
  }
  co_return answers;
}

net::Task<Metrics> Observer::metrics() {
  const auto answers = co_await ask_workers();
  Metrics all;
  edge_.report(all);
  report_control_(all);
  WorkerStates workers;
  for (const auto& answer : answers->of_worker) {
    if (answer) {
      all.add(*answer);
      ++workers.answering;
    } else {
      ++workers.stuck;
    }
  }
  report(workers, all);
  co_return all;
}

net::Task<ops::Faults> Observer::health() {
  const auto answers = co_await ask_workers();
  ops::Faults faults;
  for (size_t i = 0; i < answers->of_worker.size(); ++i) {
    if (!answers->of_worker[i]) {
      faults.push_back(fmt::format("worker {} has not answered for {} s", i,
                                   std::chrono::duration_cast<std::chrono::seconds>(kWorkerTime).count()));
    }
  }
  co_return faults;
}

}  // namespace culvert::node
