#include "cli/invite_terms.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "base/values.h"
#include "base/whole_number.h"

namespace culvert::cli {
namespace {

namespace json = boost::json;

}  // namespace

void InviteTerms::describe(SettingsBuilder& settings, const std::string& when_absent) {
  const auto add_quota = [&](const char* name, const char* member, const char* help) {
    settings.add({.name = name,
                  .help = help,
                  .details = "`default`: as the hub's own setting.",
                  .value_name = "N",
                  .default_text = when_absent,
                  .default_is_words = true,
                  .example = "10",
                  .apply = [this, member](std::string_view text) -> Result<> {
                    const auto number = whole_number<uint32_t>(text);
                    if (!number && text != "default")
                      return fail(ErrorCode::kInvalid, "expected a whole number or \"default\"");
                    quotas_[member] = number;
                    return {};
                  }});
  };
  add_quota("max-hostnames", "max_hostnames", "the most hostnames that its agents serve at a time");
  add_quota("max-tcp-ports", "max_tcp_ports", "the most TCP ports that it may claim");
  add_quota("max-udp-ports", "max_udp_ports", "the most UDP ports that it may claim");
  add_quota("max-agents", "max_agents", "the most agents that hold a lease at a time");
  add_quota("max-connections", "max_connections", "the most public connections at one time, at each edge");
  add_quota("max-new-connections", "max_new_connections",
            "how many public connections may begin in a second, and as many at once, at each edge");
  add_quota("max-udp-flows", "max_udp_flows", "the most flows of all of its UDP ports, at each edge");
  settings.add({.name = "max-bandwidth",
                .help = "bytes a second of its connections, both directions together, and as many of its UDP "
                        "ports, at each edge",
                .details = "From 1k to 4G. `default`: as the hub's own setting.",
                .value_name = "BYTES",
                .default_text = when_absent,
                .default_is_words = true,
                .example = "12M",
                .apply = [this](std::string_view text) -> Result<> {
                  auto& quota = quotas_["max_bandwidth"];
                  if (text == "default") {
                    quota.reset();
                    return {};
                  }
                  const auto bytes = parse_byte_count(text);
                  if (!bytes) return std::unexpected(bytes.error());
                  quota = *bytes;
                  return {};
                }});
  settings.add(
      {.name = "allow-custom-domains",
       .help = "whether its tenant may enter hostnames of its own, once the DNS proves them: yes or no",
       .default_text = when_absent,
       .default_is_words = true,
       .example = "yes"},
      allow_custom_domains_);
  settings.add(
      {.name = "ports",
       .help = "the ports that it may claim, as in 25565 or 20000-20099; any: all that the hub allows",
       .details = "A port below 1024 that is named here may be claimed whatever the hub's "
                  "allow-privileged-ports says.",
       .value_name = "PORTS,...",
       .default_text = when_absent,
       .default_is_words = true,
       .example = "25565,20000-20099",
       .form = SettingForm::kList,
       .apply = [this](std::string_view text) -> Result<> {
         if (!ports_) ports_.emplace();
         if (text != "any") ports_->emplace_back(text);
         return {};
       }});
  settings.add({.name = "allow-overlap",
                .help = "whether its hostnames may overlap those of other invites: yes or no",
                .details = "With yes, the most specific of those that cover a name has it."},
               allow_overlap_);
}

void InviteTerms::add_to(json::object& body) const {
  for (const auto& [member, quota] : quotas_)
    body[member] = quota ? json::value(*quota) : json::value(nullptr);
  if (ports_) {
    json::array ports;
    for (const std::string& range : *ports_) ports.push_back(json::string(range));
    body["ports"] = std::move(ports);
  }
  if (allow_custom_domains_) body["allow_custom_domains"] = *allow_custom_domains_;
  if (allow_overlap_ && !body.empty()) body["allow_overlap"] = true;  // it changes nothing by itself
}

}  // namespace culvert::cli
