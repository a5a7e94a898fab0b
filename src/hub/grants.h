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
  // The first grant that overlaps `wanted` and that `counts`; nullptr: none.
  const Grant* find_overlap(const route::HostPattern& wanted,
                            const std::function<bool(const Grant&)>& counts) const;
  size_t size() const { return grants_.size(); }

 private:
  // By the labels from the last to the first, each with a dot behind it: what is below a name follows it. The
  // wildcard *.a.eu is under "eu.a.*.", and before every letter, digit, '-' and '_'.
  std::multimap<std::string, Grant> grants_;
};

}  // namespace culvert::hub
