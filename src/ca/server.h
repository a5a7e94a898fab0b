#pragma once
#include <memory>
#include <string>

#include "base/metrics.h"
#include "base/result.h"
#include "ca/options.h"
#include "ca/store.h"
#include "net/event_loop.h"
#include "tls/tls.h"

namespace culvert::ca {

// Serves an Authority over HTTPS and validates the names of its orders. Its own certificate is one of the
// same CA. What clients cause to be logged is bounded. Lives on one loop.
class Server {
 public:
  // Each costs some 100 KiB at worst. Further ones are refused.
  static constexpr size_t kMaxConnections = 256;
  // At once; further ones wait, in the order in which they were asked for.
  static constexpr size_t kMaxValidations = 64;

  // Takes over the loop's resolver when the options name a name server. `store` outlives it. Errors name the
  // setting or the file.
  static Result<std::unique_ptr<Server>> start(net::EventLoop& loop, const Options& options,
                                               std::unique_ptr<tls::InternalCa> root, Store& store);
  virtual ~Server() = default;

  virtual SocketAddr local_addr() const = 0;  // with the port that was taken
  virtual std::string url(std::string_view path) const = 0;
  virtual std::string directory_url() const = 0;
  virtual void report(Metrics& metrics) const = 0;
  // Ends what is open.
  virtual net::Task<> stop() = 0;
};

// The series of a server, all of them zero: for the reference.
void describe_metrics(Metrics& metrics);

}  // namespace culvert::ca
