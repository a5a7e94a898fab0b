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

const Grants::Grant* Grants::find_overlap(const route::HostPattern& wanted,
                                          const std::function<bool(const Grant&)>& counts) const {
  const auto among = [&](const std::string& key) -> const Grant* {
    auto [grant, end] = grants_.equal_range(key);
    for (; grant != end; ++grant) {
      if (counts(grant->second)) return &grant->second;
    }
    return nullptr;
  };
  const std::string key = reversed(wanted.text());
  // The pattern itself, and the wildcards that it is below.
  if (const Grant* same = among(key)) return same;
  for (size_t dot = key.find('.'); dot + 1 < key.size(); dot = key.find('.', dot + 1)) {
    const std::string above = key.substr(0, dot + 1) + "*.";
    if (above == key) continue;
    if (const Grant* wider = among(above)) return wider;
  }
  if (!wanted.is_wildcard()) return nullptr;
  // And what is below it.
  const std::string suffix = key.substr(0, key.size() - 2);
  for (auto grant = grants_.lower_bound(suffix); grant != grants_.end() && grant->first.starts_with(suffix);
       ++grant) {
    const bool is_apex = grant->first.size() == suffix.size();
    if (!is_apex && counts(grant->second)) return &grant->second;
  }
  return nullptr;
}

}  // namespace culvert::hub
