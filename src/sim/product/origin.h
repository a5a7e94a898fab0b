#pragma once
#include <set>
#include <string>

#include "base/key.h"
#include "net/tcp.h"
#include "route/route.h"
#include "tls/tls.h"

// Tests only: a service behind an agent.
namespace culvert::sim {

// Sends back what it gets, until the client ends; answers an HTTP request, which is how an agent proves that
// it is reached. Behind passthrough it speaks TLS. Lives on one loop; join() before it goes.
class Origin {
 public:
  Origin(net::EventLoop& loop, route::TlsMode mode, const SecretKey& key);
  Origin(const Origin&) = delete;

  uint16_t port() const { return listener_->local_addr().port(); }
  void stop();
  bool has_ended() const { return tasks_.size() == 0; }
  // Connections on which it began to send something back; HTTP requests not among them.
  size_t echoes() const { return echoes_; }

 private:
  net::Task<> accept_all();
  net::Task<> serve(std::unique_ptr<net::ByteStream> socket);
  net::Task<> echo(net::ByteStream& stream);

  net::EventLoop& loop_;
  tls::IdentityPtr identity_;  // nullptr: plain
  std::unique_ptr<net::TcpListener> listener_;
  std::set<net::ByteStream*> open_;
  bool is_stopping_ = false;
  size_t echoes_ = 0;
  net::TaskGroup tasks_;
};

}  // namespace culvert::sim
