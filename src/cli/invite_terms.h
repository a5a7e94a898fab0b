#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/settings.h"

namespace boost::json {
class object;
}

namespace culvert::cli {

// What `invite create` and `invite edit` say of a tenant's ports and quotas.
class InviteTerms {
 public:
  // `when_absent`: what a term is that is not given, in words.
  void describe(SettingsBuilder& settings, const std::string& when_absent);

  // Adds the members of the call's body.
  void add_to(boost::json::object& body) const;

 private:
  std::map<std::string, std::optional<uint64_t>> quotas_;  // by member; nullopt: as the hub's default
  std::optional<bool> allow_custom_domains_;
  std::optional<std::vector<std::string>> ports_;  // empty: every one that the hub allows
  bool allow_overlap_ = false;
};

}  // namespace culvert::cli
