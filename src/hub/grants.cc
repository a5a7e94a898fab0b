#include "hub/grants.h"

namespace culvert::hub {
namespace {

std::string reversed(std::string_view name) {
  std::string out;
  out.reserve(name.size() + 1);
  while (true) {
    const size_t dot = name.rfind('.');
    out += name.substr(dot + 1);
    out += '.';
    if (dot == std::string_view::npos) return out;
    name = name.substr(0, dot);
  }
}

}  // namespace

void Grants::add(const route::HostPattern& pattern, const InviteId& holder) {
  grants_.emplace(reversed(pattern.text()), Grant{pattern, holder});
}

void Grants::remove(const route::HostPattern& pattern, const InviteId& holder) {
  auto [grant, end] = grants_.equal_range(reversed(pattern.text()));
  for (; grant != end; ++grant) {
    if (grant->second.holder == holder) {
      grants_.erase(grant);
      return;
    }
  }
}

// Among those of the pattern itself, and of the wildcards that it is below.
const Grants::Grant* Grants::find_above(const std::string& key,
                                        const std::function<bool(const Grant&)>& visit) const {
  const auto among = [&](const std::string& same) -> const Grant* {
    auto [grant, end] = grants_.equal_range(same);
    for (; grant != end; ++grant) {
      if (visit(grant->second)) return &grant->second;
    }
    return nullptr;
  };
  if (const Grant* same = among(key)) return same;
  // From the longest suffix, which is all but the first label, to the shortest.
  for (size_t dot = key.rfind('.', key.size() - 2); dot != std::string::npos && dot > 0;
       dot = key.rfind('.', dot - 1)) {
    const std::string above = key.substr(0, dot + 1) + "*.";
    if (above == key) continue;
    if (const Grant* wider = among(above)) return wider;
  }
  return nullptr;
}

const Grants::Grant* Grants::find_owner(const route::HostPattern& wanted,
                                        const std::function<bool(const Grant&)>& counts) const {
  return find_above(reversed(wanted.text()), counts);
}

const Grants::Grant* Grants::find_overlap(const route::HostPattern& wanted,
                                          const std::function<bool(const Grant&)>& visit) const {
  const std::string key = reversed(wanted.text());
  if (const Grant* found = find_above(key, visit)) return found;
  if (!wanted.is_wildcard()) return nullptr;
  // And what is below it.
  const std::string suffix = key.substr(0, key.size() - 2);
  for (auto grant = grants_.lower_bound(suffix); grant != grants_.end() && grant->first.starts_with(suffix);
       ++grant) {
    const bool is_apex = grant->first.size() == suffix.size();
    const bool is_same = grant->first == key;
    if (!is_apex && !is_same && visit(grant->second)) return &grant->second;
  }
  return nullptr;
}

}  // namespace culvert::hub
