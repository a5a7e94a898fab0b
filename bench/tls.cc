// TLS load of `make bench`: handshakes, one long answer, and connections that stay.
//
//   bench_tls handshakes IP PORT NAME AT_ONCE SECONDS full|resumed
//   bench_tls bulk IP PORT NAME PATH
//   bench_tls idle IP PORT NAME COUNT PATH
//
// `handshakes` makes new connections all the time, and ends each once its handshake is done; `resumed` with
// the ticket of a first one. `bulk` asks for PATH and reads it to its end. `idle` makes so many connections
// that each ask once, prints "open" and keeps them until it is stopped. Certificates are not
// checked; a server's signature is. Results are one line of JSON.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using Session = std::unique_ptr<SSL_SESSION, decltype(&SSL_SESSION_free)>;

[[noreturn]] void die(const char* what) {
  std::perror(what);
  ERR_print_errors_fp(stderr);
  std::exit(1);
}

struct Server {
  sockaddr_in address{};
  std::string name;
};

// One connection, whose handshake begins at once.
class Connection {
 public:
  Connection(SSL_CTX* context, const Server& server, SSL_SESSION* session, bool blocks)
      : fd_(socket(AF_INET, SOCK_STREAM | (blocks ? 0 : SOCK_NONBLOCK), 0)), ssl_(SSL_new(context)) {
    int on = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const auto* address = reinterpret_cast<const sockaddr*>(&server.address);
    if (connect(fd_, address, sizeof server.address) != 0 && errno != EINPROGRESS) die("connect");
    SSL_set_fd(ssl_, fd_);
    SSL_set_tlsext_host_name(ssl_, server.name.c_str());
    if (session != nullptr) SSL_set_session(ssl_, session);
    SSL_set_connect_state(ssl_);
  }
  ~Connection() {
    SSL_free(ssl_);
    close(fd_);
  }
  Connection(const Connection&) = delete;

  int fd() const { return fd_; }
  SSL* ssl() const { return ssl_; }

  void ask(const std::string& path, const std::string& name) {
    const std::string request = "GET " + path + " HTTP/1.1\r\nHost: " + name + "\r\n\r\n";
    if (SSL_write(ssl_, request.data(), static_cast<int>(request.size())) <= 0) die("request");
  }
  // Reads one answer with a Content-Length: how many bytes its body has.
  uint64_t read_answer() {
    std::string head;
    std::vector<char> part(1 << 18);
    size_t end = std::string::npos;
    while (end == std::string::npos) {
      const int got = SSL_read(ssl_, part.data(), static_cast<int>(part.size()));
      if (got <= 0) die("the head of the answer");
      head.append(part.data(), static_cast<size_t>(got));
      end = head.find("\r\n\r\n");
    }
    for (char& letter : head) letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
    const size_t length = head.find("\r\ncontent-length: ");
    if (!head.starts_with("http/1.1 200") || length == std::string::npos) {
      std::fprintf(stderr, "%s\n", head.substr(0, 200).c_str());
      std::exit(1);
    }
    const uint64_t body = std::strtoull(head.c_str() + length + 18, nullptr, 10);
    for (uint64_t left = body - (head.size() - end - 4); left > 0;) {
      const int got = SSL_read(ssl_, part.data(), static_cast<int>(part.size()));
      if (got <= 0) die("the body of the answer");
      left -= static_cast<uint64_t>(got);
    }
    return body;
  }

 private:
  int fd_;
  SSL* ssl_;
};

// A ticket of the server, which comes behind the handshake.
Session ticket(SSL_CTX* context, const Server& server) {
  Connection first(context, server, nullptr, true);
  if (SSL_connect(first.ssl()) != 1) die("handshake");
  first.ask("/small", server.name);
  (void)first.read_answer();
  SSL_shutdown(first.ssl());  // without it OpenSSL holds the session for broken
  return {SSL_get1_session(first.ssl()), SSL_SESSION_free};
}

int run_handshakes(SSL_CTX* context, const Server& server, size_t at_once, double seconds, bool resumed) {
  Session session{nullptr, SSL_SESSION_free};
  if (resumed) session = ticket(context, server);
  const int poll = epoll_create1(EPOLL_CLOEXEC);
  std::vector<std::unique_ptr<Connection>> connections(at_once);
  const auto open = [&](size_t place) {
    connections[place].reset();
    connections[place] = std::make_unique<Connection>(context, server, session.get(), false);
    epoll_event event{.events = EPOLLIN | EPOLLOUT | EPOLLET, .data = {.u64 = place}};
    if (epoll_ctl(poll, EPOLL_CTL_ADD, connections[place]->fd(), &event) != 0) die("epoll_ctl");
  };
  for (size_t place = 0; place < at_once; ++place) open(place);
  uint64_t done = 0, reused = 0, errors = 0;
  std::array<epoll_event, 64> events;
  const auto began = Clock::now();
  const auto end =
      began + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  while (Clock::now() < end && errors < 1000) {
    const int count = epoll_wait(poll, events.data(), static_cast<int>(events.size()), 100);
    for (int i = 0; i < count; ++i) {
      const size_t place = events[static_cast<size_t>(i)].data.u64;
      SSL* ssl = connections[place]->ssl();
      const int result = SSL_do_handshake(ssl);
      if (result == 1) {
        ++done;
        reused += static_cast<uint64_t>(SSL_session_reused(ssl));
        SSL_shutdown(ssl);
      } else {
        const int error = SSL_get_error(ssl, result);
        if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) continue;
        ++errors;
        ERR_clear_error();
      }
      open(place);
    }
  }
  const double took = std::chrono::duration<double>(Clock::now() - began).count();
  std::printf("{\"rate\": %.1f, \"reused\": %.3f, \"errors\": %llu}\n", static_cast<double>(done) / took,
              done == 0 ? 0.0 : static_cast<double>(reused) / static_cast<double>(done),
              static_cast<unsigned long long>(errors));
  return 0;
}

int run_bulk(SSL_CTX* context, const Server& server, const std::string& path) {
  Connection connection(context, server, nullptr, true);
  if (SSL_connect(connection.ssl()) != 1) die("handshake");
  connection.ask(path, server.name);
  const auto began = Clock::now();
  const uint64_t bytes = connection.read_answer();
  const double took = std::chrono::duration<double>(Clock::now() - began).count();
  std::printf("{\"gbit\": %.3f, \"cipher\": \"%s\"}\n", static_cast<double>(bytes) * 8 / took / 1e9,
              SSL_get_cipher(connection.ssl()));
  return 0;
}

[[noreturn]] void run_idle(SSL_CTX* context, const Server& server, size_t count, const std::string& path) {
  std::vector<std::unique_ptr<Connection>> held;
  for (size_t i = 0; i < count; ++i) {
    held.push_back(std::make_unique<Connection>(context, server, nullptr, true));
    if (SSL_connect(held.back()->ssl()) != 1) die("handshake");
    held.back()->ask(path, server.name);
    (void)held.back()->read_answer();
  }
  std::puts("open");
  std::fflush(stdout);
  while (true) pause();
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view mode = argc > 1 ? argv[1] : "";
  const int wanted = mode == "handshakes" ? 8 : mode == "bulk" ? 6 : mode == "idle" ? 7 : 0;
  if (argc != wanted) {
    std::fputs("usage: see the head of bench/tls.cc\n", stderr);
    return 2;
  }
  Server server{.name = argv[4]};
  server.address.sin_family = AF_INET;
  server.address.sin_port = htons(static_cast<uint16_t>(std::atoi(argv[3])));
  if (inet_pton(AF_INET, argv[2], &server.address.sin_addr) != 1) die(argv[2]);
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nullptr);
  constexpr std::array<unsigned char, 9> kHttp{8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
  SSL_CTX_set_alpn_protos(context, kHttp.data(), kHttp.size());
  if (mode == "handshakes") {
    return run_handshakes(context, server, static_cast<size_t>(std::atoi(argv[5])), std::atof(argv[6]),
                          std::string_view(argv[7]) == "resumed");
  }
  if (mode == "bulk") return run_bulk(context, server, argv[5]);
  run_idle(context, server, static_cast<size_t>(std::atoi(argv[5])), argv[6]);
}
