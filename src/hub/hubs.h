#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "hub/record.h"

namespace culvert::hub {

// The hubs that share a database, this one among them, as far as their records tell: each writes one when it
// starts and again every kBeat, and removes it at its end. No clock is compared, and a database that is away
// makes nobody look dead: a hub is removed by another one that has stored kMaxSilence beats of its own since
// the last of that hub. Sans-I/O.
class Hubs {
 public:
  static constexpr std::string_view kKind = "hub";
  static constexpr Duration kBeat = std::chrono::seconds(15);
  static constexpr unsigned kMaxSilence = 4;

  // Before anything is applied: this hub is `self`, and shares the database. Without it, there is one hub.
  void join(std::string self) { self_ = std::move(self); }
  bool is_shared() const { return !self_.empty(); }
  const std::string& self() const { return self_; }
  // Whether the hub `id` is this one or another that has not ended.
  bool lives(std::string_view id) const { return id == self_ || silence_.contains(id); }

  // A record of kKind, as it is in the database from now on.
  void apply(const Record& record);
  // A beat is to be stored: every kBeat.
  void beat() { is_due_ = is_shared(); }
  // What the database does not have yet.
  std::vector<Record> unstored() const;
  // What is to be stored last.
  std::vector<Record> farewell();

 private:
  std::string self_;
  bool is_due_ = false;
  uint64_t beats_ = 0;  // of this hub, stored
  // The other hubs, each with the beats that this one has stored since the last of theirs.
  std::map<std::string, unsigned, std::less<>> silence_;
};

}  // namespace culvert::hub
