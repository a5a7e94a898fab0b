#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/client.h"
#include "hubapi/edge_api.h"
#include "hubapi/edge_certificates.h"
#include "hubapi/hub_clock.h"
#include "hubapi/route_stream.h"
#include "hubapi/token.h"
#include "net/event_loop.h"

namespace culvert::hubapi {

// A hub's API as an edge sees it. Every request is signed by the edge's key, with the hub's time. Lives on
// one loop.
class EdgeClient {
 public:
  static constexpr size_t kMaxAnswer = 64 * 1024;  // but for that with certificates
  // Without a byte of the stream for so long, the hub is gone: three of its signs of life.
  static constexpr Duration kStreamSilence = std::chrono::seconds(30);

  // `run` names this start of the edge's program to the hub.
  EdgeClient(net::EventLoop& loop, const EdgeToken& token, std::string run);
  EdgeClient(const EdgeClient&) = delete;
  ~EdgeClient();

  // All errors: kNotFound, the hub knows no such edge (any more); kUnauthorized, another process speaks for
  // it; kUnavailable, no hub answered or it cannot serve now, the message lists every URL; others as
  // error_from_response().
  //
  // One at a time, on a connection that is kept: as long as it stands, one hub is told all.
  net::Task<Result<EdgeWelcome>> announce(EdgeAnnouncement announcement);
  net::Task<Result<>> report(TunnelReport report);  // kConflict: it does not follow the last one
  // Waits until the hub has something, for some seconds at most. With a client of its own: nothing else gets
  // an answer meanwhile. kInvalid: a hub of an earlier version, which has none.
  net::Task<Result<CertificateUpdate>> certificates(CertificateRequest request);

  // Follows the hub's routes: gives each line to `on_line` until the stream ends, which is an error as well,
  // or `on_line` returns an error. `held` is what the edge has.
  net::Task<Result<>> follow(std::optional<HeldRoutes> held,
                             std::function<Result<>(std::string_view line)> on_line);
  // Ends follow() and what waits for an answer; nothing is asked from then on.
  void close();

 private:
  struct Connection;
  struct Answer {
    int status;
    std::string body;  // empty for a stream that has begun
  };

  net::Task<Result<std::shared_ptr<Connection>>> connect();
  // One exchange on `connection`. A refusal for its signature's time or instance is answered by another
  // signature.
  net::Task<Result<Answer>> exchange_signed(Connection& connection, std::string method, std::string target,
                                            std::string body, size_t max_answer);
  // The answer's body.
  net::Task<Result<std::string>> ask(std::string method, std::string target, std::string body,
                                     size_t max_answer = kMaxAnswer);
  // False: nothing in the answer says that another signature would fare better.
  bool learn(const http::ResponseHead& head, TimePoint asked, UnixTime created);

  net::EventLoop& loop_;
  const std::vector<HubUrl> urls_;
  const PublicKey hub_key_;
  const SecretKey key_;
  const std::string run_;
  HubClock clock_;
  std::string instance_;  // of the hub, as its last answer told
  size_t preferred_ = 0;  // index of the URL that served last
  bool is_closed_ = false;
  std::shared_ptr<Connection> kept_;
  std::shared_ptr<Connection> following_;
};

}  // namespace culvert::hubapi
