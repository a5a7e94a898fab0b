#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/socket_addr.h"
#include "net/event_loop.h"
#include "net/resolv_conf.h"

namespace culvert::net {

struct DnsAnswer {
  // kMissing: the name does not exist. kEmpty: it has no record of this type. kFailed: no usable answer.
  enum class Status { kFound, kEmpty, kMissing, kFailed, kTimeout };

  Status status = Status::kFailed;
  std::vector<SocketAddr> addresses;  // port 0, each once
  Duration ttl{0};                    // the shortest of the records, aliases included
  std::string reason;                 // of kFailed
};

struct DnsTexts {
  DnsAnswer::Status status = DnsAnswer::Status::kFailed;
  std::vector<std::string> texts;  // of TXT records, each with its strings joined (RFC 7208, 3.3)
  std::string reason;              // of kFailed
};

// c-ares on an event loop: asks the name servers of one configuration, all questions side by side. Inside
// net/ only. Destroying it drops the callbacks of unanswered questions.
class DnsChannel {
 public:
  // Addresses of one family beyond these are dropped: no caller would try them all in turn.
  static constexpr size_t kMaxAddresses = 16;
  // Less than any lookup's deadline, so that the questions of a dead name do not outlive it for long and take
  // the place of others.
  static constexpr Duration kMaxWait = std::chrono::seconds(8);
  // TXT records beyond these are dropped: an answer over TCP may have thousands.
  static constexpr size_t kMaxTexts = 64;
  using Callback = std::move_only_function<void(DnsAnswer)>;
  using TextsCallback = std::move_only_function<void(DnsTexts)>;

  DnsChannel(EventLoop& loop, const ResolvConf& conf);
  ~DnsChannel();
  DnsChannel(const DnsChannel&) = delete;
  DnsChannel& operator=(const DnsChannel&) = delete;

  // A (AF_INET) or AAAA (AF_INET6) of a complete name. The callback may run inside the call, and may ask;
  // it must not destroy the channel. It comes within kMaxWait.
  void ask(const std::string& name, int family, Callback callback);
  // TXT; the same holds of the callback.
  void ask_texts(const std::string& name, TextsCallback callback);
  size_t pending() const;  // questions
  // False when c-ares could not be set up, as without memory: every question fails. A new one may succeed.
  bool is_usable() const;
  // For messages: "10.0.0.53:53, 10.0.0.54:53".
  const std::string& servers() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace culvert::net
