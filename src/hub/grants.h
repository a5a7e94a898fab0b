#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "hub/invite.h"
#include "route/hostname.h"

namespace culvert::hub {

// Who is granted which names, to find what overlaps a pattern in O(labels + what is found), however many
// there are. Sans-I/O.
class Grants {
 public:
  struct Grant {
    route::HostPattern pattern;
    InviteId holder;
  };

  void add(const route::HostPattern& pattern, const InviteId& holder);
  void remove(const route::HostPattern& pattern, const InviteId& holder);
  // Calls `visit` with the grants that overlap `wanted` until it returns true: first with the same pattern,
  // then with the wildcards above it, the longest first, then with what is below it. The one at which it did;
  // nullptr: none.
  const Grant* find_overlap(const route::HostPattern& wanted,
                            const std::function<bool(const Grant&)>& visit) const;
  // The most specific grant of those that cover `wanted` and that `counts`: the same pattern, or the wildcard
  // with the longest suffix. nullptr: none.
  const Grant* find_owner(const route::HostPattern& wanted,
                          const std::function<bool(const Grant&)>& counts) const;
  size_t size() const { return grants_.size(); }

 private:
  const Grant* find_above(const std::string& key, const std::function<bool(const Grant&)>& visit) const;

  // By the labels from the last to the first, each with a dot behind it: what is below a name follows it. The
  // wildcard *.a.eu is under "eu.a.*.", and before every letter, digit, '-' and '_'.
  std::multimap<std::string, Grant> grants_;
};

}  // namespace culvert::hub
