#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "base/result.h"
#include "hub/invite.h"
#include "net/event_loop.h"

namespace culvert::hub {

// The invites, wherever they are stored. Lives on the hub's loop, which no call blocks, but for close(), and
// outlives its tasks, which all end soon after close().
// Operations on one invite take effect in the order of the calls. Errors that every task may return:
// kUnavailable, too much waits already, or no answer came in time; kIo, the database refused (full disk,
// lock, damage); kClosed, the database is no longer the one that was opened, the message says what to do.
// After any of them the memory is as it was. The database is, too, but for a write that had begun when its
// time was over: that one may still be stored, and is applied to the memory when it is.
class Store {
 public:
  static constexpr size_t kMaxInvites = 10'000;

  struct Counters {
    // Of the operations that have to write; each failed one is in one of these.
    uint64_t refused_full = 0;  // max_waiting others were waiting
    uint64_t timed_out = 0;
    uint64_t refused = 0;  // by the database: kIo, kClosed
  };

  virtual ~Store() = default;

  // The key of all secret hashes, 32 bytes, made with the database.
  virtual ByteView hash_key() const = 0;

  // kConflict: a hostname overlaps a live invite of another tenant; the message names pattern and invite.
  // kLimit: kMaxInvites live ones exist. At the cap, the oldest that are not live make room. An invite that
  // was stored although the caller was told of a failure is revoked, because its token was not shown.
  virtual net::Task<Result<>> add_invite(Invite invite, UnixTime now) = 0;
  virtual net::Task<Result<std::optional<Invite>>> find_invite(InviteId id) = 0;
  // At most `limit`, oldest first, beginning behind `after`; kNotFound when `after` is unknown.
  virtual net::Task<Result<std::vector<Invite>>> list_invites(std::optional<InviteId> after,
                                                              size_t limit) = 0;

  // Revokes at once, in memory: from the return of this call on, find_invite() and list_invites() say so.
  // kNotFound: unknown, or revoked and stored already.
  virtual Result<> revoke_now(const InviteId& id) = 0;
  // Makes what revoke_now() did survive a restart. After an error the invite stays revoked, and the store
  // tries again by itself until it succeeds; a restart before that brings the invite back.
  virtual net::Task<Result<>> store_revocation(InviteId id) = 0;

  // Waits for what is under way, for a bounded time, and fails the rest; blocks. What is called afterwards
  // fails.
  virtual void close() = 0;

  const Counters& counters() const { return counters_; }
  // Revocations that are in memory only; more than 0 for longer than a moment needs the operator.
  virtual size_t unstored_revocations() const = 0;

 protected:
  Counters counters_;
};

}  // namespace culvert::hub
