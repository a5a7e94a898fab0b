#pragma once
#include <boost/intrusive/set.hpp>

#include "base/clock.h"

namespace culvert::net {

// The deadlines of one loop, the earliest first, those of one moment in the order in which they were set.
// Inside net/ only.
class Deadlines {
 public:
  // One deadline. It leaves the queue when it is destroyed.
  class Entry
      : public boost::intrusive::set_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
   public:
    Entry() = default;
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;
    virtual ~Entry() = default;

    TimePoint when() const { return when_; }
    bool is_set() const { return is_linked(); }

   private:
    friend class Deadlines;
    // It is out of the queue, may be set again, and may destroy itself.
    virtual void on_expired() = 0;

    TimePoint when_{};
  };

  bool is_empty() const { return queue_.empty(); }
  // TimePoint::max() when there is none.
  TimePoint next() const { return queue_.empty() ? TimePoint::max() : queue_.begin()->when_; }

  void set(Entry& entry, TimePoint when) {
    drop(entry);
    entry.when_ = when;
    queue_.insert(entry);
  }
  static void drop(Entry& entry) {
    if (entry.is_linked()) entry.unlink();
  }

  // Runs what is due; what is set meanwhile is for the next time. False: nothing was due.
  bool run(TimePoint now) {
    Queue due;  // what is dropped or destroyed meanwhile leaves it
    while (!queue_.empty() && queue_.begin()->when_ <= now) {
      Entry& entry = *queue_.begin();
      entry.unlink();
      due.insert(entry);
    }
    const bool any = !due.empty();
    while (!due.empty()) {
      Entry& entry = *due.begin();
      entry.unlink();
      entry.on_expired();
    }
    return any;
  }

 private:
  struct Earlier {
    bool operator()(const Entry& a, const Entry& b) const { return a.when_ < b.when_; }
  };
  using Queue = boost::intrusive::multiset<Entry, boost::intrusive::compare<Earlier>,
                                           boost::intrusive::constant_time_size<false>>;

  Queue queue_;
};

}  // namespace culvert::net
