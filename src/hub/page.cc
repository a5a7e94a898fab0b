#include "hub/page.h"

#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>
#include <utility>

#include "hub/answers.h"

namespace culvert::hub {

bool Page::add(std::string_view entry, std::string key) {
  is_full_ = count_ == kMaxEntries || (count_ > 0 && entries_.size() + 1 + entry.size() > kMaxBytes);
  if (is_full_) return false;
  if (count_++ > 0) entries_ += ',';
  entries_ += entry;
  last_ = std::move(key);
  return true;
}

void Page::go_on_behind(std::string key) {
  if (is_full_) return;
  is_full_ = true;
  last_ = std::move(key);
}

http::Response Page::answer(std::string_view member, std::string_view rest) const {
  std::string body = R"({"status":"ok")";
  if (rest != "{}") body.append(",").append(rest.substr(1, rest.size() - 2));
  if (is_full_) body.append(R"(,"next":)").append(boost::json::serialize(boost::json::string(last_)));
  body.append(",\"").append(member).append("\":[").append(entries_).append("]}");
  return json_response(200, std::move(body));
}

}  // namespace culvert::hub
