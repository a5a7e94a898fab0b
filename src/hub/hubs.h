#pragma once
#include <map>
#include <optional>
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

  // Before anything is applied: this hub is `self`, shares the database, and has this key. Without it, there
  // is one hub.
  void join(std::string self, std::string key = {}) {
    self_ = std::move(self);
    key_ = std::move(key);
  }
  bool is_shared() const { return !self_.empty(); }
  const std::string& self() const { return self_; }
  // Whether the hub `id` is this one or another that has not ended.
  bool lives(std::string_view id) const { return id == self_ || others_.contains(id); }
  size_t count_others() const { return others_.size(); }
  // The key of another hub that has another one and has stored a beat beside this one. Hubs are not started
  // that way (load_as()), but at the same moment, or when one of them could not reach the database.
  std::optional<std::string> other_key() const;
  // In the body of a record; empty: there is none.
  static std::string key_in(std::string_view body);

  // A record of kKind, as it is in the database from now on.
  void apply(const Record& record);
  // A beat is to be stored: every kBeat.
  void beat() { is_due_ = is_shared(); }
  // What the database does not have yet.
  std::vector<Record> unstored() const;
  // What is to be stored last.
  std::vector<Record> farewell();

 private:
  struct Other {
    unsigned silence = 0;  // beats that this hub has stored since the last one of it
    std::string key = {};
    bool has_beaten = false;  // beside this one
  };

  std::string self_;
  std::string key_;
  bool is_due_ = false;
  uint64_t beats_ = 0;  // of this hub, stored
  std::map<std::string, Other, std::less<>> others_;
};

}  // namespace culvert::hub
