#pragma once
#include "base/clock.h"
#include "base/descriptor.h"
#include "base/result.h"

// Waiting for descriptors on a thread that may block. Everything that has a loop waits with it instead.
namespace culvert {

// Ends a wait() of another thread. May be used by several threads at once.
class Wakeup {
 public:
  // kIo: there is no descriptor left.
  static Result<Wakeup> make();
  void wake() const;
  int descriptor() const { return event_.get(); }

 private:
  explicit Wakeup(Descriptor event) : event_(std::move(event)) {}
  Descriptor event_;
};

enum class Ready : uint8_t { kNothing, kDescriptor, kWakeup };
// Until `descriptor` can be read (or written to as well, with `or_written`), has failed, or `wakeup`, which
// may be nullptr, was woken; for `patience` at most.
Ready wait(int descriptor, bool or_written, Duration patience, const Wakeup* wakeup = nullptr);

}  // namespace culvert
