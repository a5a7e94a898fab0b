#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "cli/operator_command.h"
#include "route/traffic.h"

namespace culvert::cli {

// culvert traffic: what routes, tenants or agents move, once or, with --watch, every 2 s with rates.
class TrafficCommand final : public OperatorCommand {
 public:
  TrafficCommand();
  Result<> resolve(const Arguments& arguments, const Environment& environment) override;
  Result<> run() override;

  // The path of the call.
  std::string path() const;

 private:
  Result<> watch();

  route::TrafficBy by_ = route::TrafficBy::kRoute;
  route::TrafficOrder order_ = route::TrafficOrder::kConnections;
  uint64_t limit_ = 0;  // 0: all of the list; when it is watched, what a terminal shows
  bool watches_ = false;
  OutputOptions output_;
};

// The answer `now` of the hub, whose entries get "bytes_in_per_sec" and "bytes_out_per_sec" where the answer
// `before` has them too, with fewer bytes. kInvalid: one is no answer of a hub.
Result<std::string> add_rates(std::string_view before, std::string_view now);

}  // namespace culvert::cli
