#include "net/dns_channel.h"

// What newer releases call deprecated is all that c-ares 1.18 has.
#define CARES_NO_DEPRECATED
#include <ares.h>
#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <mutex>

#include "net/ready_socket.h"

namespace culvert::net {
namespace {

using Millis = std::chrono::milliseconds;

void init_library() {
  static std::once_flag once;  // ares_library_init is not thread-safe
  std::call_once(once, [] { ares_library_init(ARES_LIB_INIT_ALL); });
}

DnsAnswer::Status status_of(int status) {
  switch (status) {
    case ARES_SUCCESS:
    case ARES_ENODATA:
      return DnsAnswer::Status::kEmpty;
    case ARES_ENOTFOUND:
    case ARES_EBADNAME:
      return DnsAnswer::Status::kMissing;
    case ARES_ETIMEOUT:
      return DnsAnswer::Status::kTimeout;
    default:
      return DnsAnswer::Status::kFailed;
  }
}

DnsAnswer to_answer(int status, const ares_addrinfo* found) {
  DnsAnswer answer;
  answer.status = status_of(status);
  if (answer.status == DnsAnswer::Status::kFailed) answer.reason = ares_strerror(status);
  if (status != ARES_SUCCESS || found == nullptr) return answer;
  int ttl = std::numeric_limits<int>::max();
  for (const auto* alias = found->cnames; alias; alias = alias->next) ttl = std::min(ttl, alias->ttl);
  for (const auto* node = found->nodes; node; node = node->ai_next) {
    ttl = std::min(ttl, node->ai_ttl);
    const SocketAddr address = SocketAddr::from_sockaddr(node->ai_addr).with_port(0);
    if (answer.addresses.size() < DnsChannel::kMaxAddresses &&
        std::ranges::find(answer.addresses, address) == answer.addresses.end())
      answer.addresses.push_back(address);
  }
  if (answer.addresses.empty()) return answer;
  answer.status = DnsAnswer::Status::kFound;
  answer.ttl = std::chrono::seconds(std::max(ttl, 0));
  return answer;
}

DnsTexts to_texts(int status, const unsigned char* reply, int size) {
  ares_txt_ext* found = nullptr;
  if (status == ARES_SUCCESS) status = ares_parse_txt_reply_ext(reply, size, &found);
  DnsTexts answer{.status = status_of(status), .texts = {}, .reason = {}};
  if (answer.status == DnsAnswer::Status::kFailed) answer.reason = ares_strerror(status);
  for (const auto* part = found; part; part = part->next) {
    if (part->record_start != 0) {
      if (answer.texts.size() == DnsChannel::kMaxTexts) break;
      answer.texts.emplace_back();
    }
    answer.texts.back().append(reinterpret_cast<const char*>(part->txt), part->length);
  }
  if (found) ares_free_data(found);
  if (!answer.texts.empty()) answer.status = DnsAnswer::Status::kFound;
  return answer;
}

}  // namespace

struct DnsChannel::Impl {
  Impl(EventLoop& owner, ResolvConf conf) : loop(owner), timer(owner) {
    limit_wait(conf, kMaxWait);
    for (const SocketAddr& server : conf.servers)
      servers += fmt::format("{}{}", servers.empty() ? "" : ", ", server.to_string());
    init_library();
    open(conf);
  }

  void open(const ResolvConf& conf) {
    // All that c-ares would read from files is given, so that its versions behave alike: 1.18 knows neither
    // `timeout` nor `attempts` of resolv.conf.
    ares_options options{};
    char lookups[] = "b";  // name servers only
    char no_file[] = "/dev/null";
    options.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES;
    options.timeout = static_cast<int>(std::chrono::duration_cast<Millis>(conf.timeout).count());
    options.tries = static_cast<int>(conf.attempts);
    options.ndots = 0;
    options.lookups = lookups;
    options.resolvconf_path = no_file;
    options.sock_state_cb = [](void* self, ares_socket_t fd, int readable, int writable) {
      static_cast<Impl*>(self)->watch(fd, readable != 0, writable != 0);
    };
    options.sock_state_cb_data = this;
    int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_NDOTS | ARES_OPT_DOMAINS |
               ARES_OPT_LOOKUPS | ARES_OPT_RESOLVCONF | ARES_OPT_SOCK_STATE_CB |
               (conf.rotate ? ARES_OPT_ROTATE : ARES_OPT_NOROTATE);
#ifdef ARES_OPT_QUERY_CACHE
    mask |= ARES_OPT_QUERY_CACHE;  // with a size of 0: the resolver has its own cache
#endif
    init_status = ares_init_options(&channel, &options, mask);
    if (init_status != ARES_SUCCESS) return;
    std::string list = servers;
    std::erase(list, ' ');
    init_status = ares_set_servers_ports_csv(channel, list.c_str());
  }

  ~Impl() {
    closing = true;
    if (channel) ares_destroy(channel);
  }

  // A duplicate is watched, because c-ares closes its own descriptor.
  struct Watched {
    Watched(EventLoop& loop, int fd) : socket(loop, fd) {}
    ReadySocket socket;
    bool read = false, write = false;  // what c-ares wants
    bool waiting_read = false, waiting_write = false;
  };

  void watch(int fd, bool read, bool write) {
    if (!read && !write) {
      sockets.erase(fd);
      return;
    }
    auto& watched = sockets[fd];
    if (!watched) {
      const int duplicate = fcntl(fd, F_DUPFD_CLOEXEC, 0);
      if (duplicate < 0) return;  // out of descriptors: the question times out
      watched = std::make_unique<Watched>(loop, duplicate);
    }
    watched->read = read;
    watched->write = write;
    if (watched->socket.is_open()) arm(fd, *watched);
  }

  void arm(int fd, Watched& watched) {
    if (watched.read && !watched.waiting_read) {
      watched.waiting_read = true;
      watched.socket.when_readable([this, fd, &watched] {
        watched.waiting_read = false;
        process(watched.read ? fd : ARES_SOCKET_BAD, ARES_SOCKET_BAD, fd);
      });
    }
    if (watched.write && !watched.waiting_write) {
      watched.waiting_write = true;
      watched.socket.when_writable([this, fd, &watched] {
        watched.waiting_write = false;
        process(ARES_SOCKET_BAD, watched.write ? fd : ARES_SOCKET_BAD, fd);
      });
    }
  }

  // May destroy the socket, and with it the callback's captures.
  void process(ares_socket_t readable, ares_socket_t writable, int fd) {
    ares_process_fd(channel, readable, writable);
    const auto still = sockets.find(fd);
    if (still != sockets.end() && still->second && still->second->socket.is_open()) arm(fd, *still->second);
    set_timer();
  }

  void set_timer() {
    timeval left{};
    if (ares_timeout(channel, nullptr, &left) == nullptr) {
      timer.cancel();
      return;
    }
    // A millisecond more: c-ares rounds, and must find its deadline passed.
    const Duration delay = std::chrono::seconds(left.tv_sec) + std::chrono::microseconds(left.tv_usec);
    timer.after(delay + Millis(1), [this] {
      ares_process_fd(channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
      set_timer();
    });
  }

  struct Question {
    Impl* impl;
    Callback callback;
  };

  static void answered(void* argument, int status, int, ares_addrinfo* found) {
    const std::unique_ptr<Question> question(static_cast<Question*>(argument));
    DnsAnswer answer = to_answer(status, found);
    if (found) ares_freeaddrinfo(found);
    --question->impl->pending;
    if (!question->impl->closing) question->callback(std::move(answer));
  }

  struct TextsQuestion {
    Impl* impl;
    TextsCallback callback;
  };

  static void texts_answered(void* argument, int status, int, unsigned char* reply, int size) {
    const std::unique_ptr<TextsQuestion> question(static_cast<TextsQuestion*>(argument));
    --question->impl->pending;
    if (!question->impl->closing) question->callback(to_texts(status, reply, size));
  }

  EventLoop& loop;
  Timer timer;
  std::string servers;
  ares_channel channel = nullptr;
  int init_status = ARES_SUCCESS;
  std::map<int, std::unique_ptr<Watched>> sockets;
  size_t pending = 0;
  bool closing = false;
};

DnsChannel::DnsChannel(EventLoop& loop, const ResolvConf& conf) : impl_(std::make_unique<Impl>(loop, conf)) {}
DnsChannel::~DnsChannel() = default;

void DnsChannel::ask(const std::string& name, int family, Callback callback) {
  if (impl_->init_status != ARES_SUCCESS) {
    callback({.status = DnsAnswer::Status::kFailed,
              .addresses = {},
              .ttl = {},
              .reason = ares_strerror(impl_->init_status)});
    return;
  }
  ares_addrinfo_hints hints{};
  // Unsorted: sorting would open a socket for each address. The dialler tries both families anyway.
  hints.ai_flags = ARES_AI_NOSORT;
  hints.ai_family = family;
  hints.ai_socktype = SOCK_STREAM;
  ++impl_->pending;
  auto question = std::make_unique<Impl::Question>(impl_.get(), std::move(callback));
  ares_getaddrinfo(impl_->channel, (name + ".").c_str(), nullptr, &hints, &Impl::answered,
                   question.release());
  impl_->set_timer();
}

void DnsChannel::ask_texts(const std::string& name, TextsCallback callback) {
  if (impl_->init_status != ARES_SUCCESS)
    return callback({.texts = {}, .reason = ares_strerror(impl_->init_status)});
  ++impl_->pending;
  auto question = std::make_unique<Impl::TextsQuestion>(impl_.get(), std::move(callback));
  constexpr int kInternet = 1, kTxt = 16;  // RFC 1035, 3.2
  ares_query(impl_->channel, (name + ".").c_str(), kInternet, kTxt, &Impl::texts_answered,
             question.release());
  impl_->set_timer();
}

size_t DnsChannel::pending() const { return impl_->pending; }
bool DnsChannel::is_usable() const { return impl_->init_status == ARES_SUCCESS; }
const std::string& DnsChannel::servers() const { return impl_->servers; }

}  // namespace culvert::net
