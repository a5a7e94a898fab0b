#pragma once
#include <cstddef>
#include <string>
#include <string_view>

#include "http/message.h"

namespace culvert::hub {

// One page of a list of the API: it ends after kMaxEntries, and before it is longer than kMaxBytes. Where
// there is more, the answer has "next": the value of ?after= for the next page.
class Page {
 public:
  static constexpr size_t kMaxEntries = 500;
  // Half of what our clients accept: the rest of the answer and its head have room.
  static constexpr size_t kMaxBytes = http::kMaxResponseBytes / 2;

  // `entry` is JSON, and `key` leads behind it as ?after=. False: the page is full, and this entry begins the
  // next one. The first entry always has room.
  bool add(std::string_view entry, std::string key);
  bool is_full() const { return is_full_; }

  // More was not looked at: the next page begins behind `key`. A page that is full ends where it ends.
  void go_on_behind(std::string key);

  // 200, with the entries in `member`. `rest` is a JSON object with the other members.
  http::Response answer(std::string_view member, std::string_view rest = "{}") const;

 private:
  std::string entries_;
  size_t count_ = 0;
  std::string last_;  // the key of the last entry
  bool is_full_ = false;
};

}  // namespace culvert::hub
