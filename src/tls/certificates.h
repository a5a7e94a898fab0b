#pragma once
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "base/clock.h"
#include "base/result.h"
#include "tls/tls.h"

namespace culvert::tls {

// What the node serves for each name: a certificate of a public CA where there is one, and otherwise a leaf
// of the internal CA, made when first asked for and kept. Thread-safe.
class Certificates {
 public:
  // The least recently used leaf makes room; another costs one P-256 signature.
  static constexpr size_t kMaxLeaves = 1024;

  // `clock` is asked from the threads that ask for leaves.
  Certificates(std::unique_ptr<InternalCa> ca, WallClock clock)
      : ca_(std::move(ca)), clock_(std::move(clock)) {}

  // One of a public CA for this hostname or wildcard, in place of the one before; bounding them is the
  // caller's.
  void put(const std::string& name, IdentityPtr identity);
  // The internal CA serves it from now on.
  void remove(const std::string& name);

  // For a hostname, a wildcard or an IP literal. Ask for route patterns, never for names that clients
  // choose: they would fill the cache. Renewed when less than a third of its life is left.
  Result<IdentityPtr> leaf(const std::string& name);
  const std::string& root_pem() const { return ca_->certificate_pem(); }
  size_t size() const;  // leaves of the internal CA

 private:
  struct Leaf {
    IdentityPtr identity;
    UnixTime issued_at;
    UnixTime renew_at;
    uint64_t last_use;
  };

  std::unique_ptr<InternalCa> ca_;
  WallClock clock_;
  mutable std::mutex mutex_;
  std::unordered_map<std::string, Leaf> leaves_;
  std::unordered_map<std::string, IdentityPtr> public_;
  uint64_t uses_ = 0;
};

}  // namespace culvert::tls
