// The commands about what a hub has: each is its words, the path of the API and the columns that are shown.
#include "cli/audit_command.h"
#include "cli/edge_edit_command.h"
#include "cli/edge_invite_command.h"
#include "cli/invite_edit_command.h"
#include "cli/named_command.h"
#include "cli/operator_key_command.h"

namespace culvert::cli {
namespace {

NamedCommandInfo invite_show() {
  return {.command = {.name = "invite show",
                      .summary = "Show one invite and its tenant",
                      .examples = "  culvert invite show laptop\n  culvert invite show laptop -o json\n",
                      .positional = invite_word()},
          .method = "GET",
          .path = "/v1/invites/",
          .columns = invite_columns()};
}

NamedCommandInfo invite_revoke() {
  return {.command = {.name = "invite revoke",
                      .summary = "Revoke an invite: its agents are cut off at once",
                      .examples = "  culvert invite revoke laptop\n",
                      .positional = invite_word()},
          .method = "DELETE",
          .path = "/v1/invites/",
          .done = "revoked"};
}

NamedCommandInfo tenant_show() {
  return {.command = {.name = "tenant show",
                      .summary = "Show one tenant and its invite",
                      .examples = "  culvert tenant show laptop\n",
                      .positional = invite_word()},
          .method = "GET",
          .path = "/v1/tenants/",
          .columns = invite_columns()};
}

NamedCommandInfo tenant_suspend() {
  return {.command = {.name = "tenant suspend",
                      .summary = "Refuse a tenant's clients, and keep all it has",
                      .examples = "  culvert tenant suspend laptop\n",
                      .positional = invite_word()},
          .method = "PATCH",
          .path = "/v1/tenants/",
          .body = R"({"suspended":true})",
          .done = "suspended"};
}

NamedCommandInfo tenant_resume() {
  return {.command = {.name = "tenant resume",
                      .summary = "Serve a suspended tenant again",
                      .examples = "  culvert tenant resume laptop\n",
                      .positional = invite_word()},
          .method = "PATCH",
          .path = "/v1/tenants/",
          .body = R"({"suspended":false})",
          .done = "resumed"};
}

NamedCommandInfo tenant_remove() {
  return {.command = {.name = "tenant remove",
                      .summary = "End a tenant for good: its agents are cut off, its names are free",
                      .examples = "  culvert tenant remove laptop\n",
                      .positional = invite_word()},
          .method = "DELETE",
          .path = "/v1/tenants/",
          .done = "removed"};
}

ListCommandInfo tenant_list() {
  return {.command = {.name = "tenant list",
                      .summary = "List the hub's tenants",
                      .examples = "  culvert tenant list\n  culvert tenant list -o json\n"},
          .path = "/v1/tenants",
          .listing = {.member = "tenants",
                      .columns = {{"TENANT", "tenant_id"},
                                  {"NAME", "name"},
                                  {"STATUS", "status", Show::kStatus},
                                  {"HOSTNAMES", "hostnames", Show::kList}}}};
}

ListCommandInfo agent_list() {
  return {.command = {.name = "agent list",
                      .summary = "List the agents that hold a lease",
                      .examples = "  culvert agent list\n  culvert agent list -o json\n"},
          .path = "/v1/agents",
          .listing = {.member = "agents",
                      .columns = {{"AGENT", "agent_id"},
                                  {"INVITE", "invite_name"},
                                  {"CONNECTED", "is_heard", Show::kYesNo},
                                  {"LEASE ENDS IN (S)", "lease_ends_in_secs"}}}};
}

ListCommandInfo certificate_list() {
  return {.command = {.name = "certificate list",
                      .summary = "List the certificates of public CAs, and what is wrong with which",
                      .examples = "  culvert certificate list\n  culvert certificate list -o json\n"},
          .path = "/v1/certificates",
          .listing = {.member = "certificates",
                      .columns = {{"NAME", "name"},
                                  {"STATE", "state", Show::kStatus},
                                  {"ISSUER", "issuer"},
                                  {"ISSUED", "issued_at", Show::kTime},
                                  {"EXPIRES", "expires_at", Show::kTime},
                                  {"NEXT TRY", "next_try_at", Show::kTime},
                                  {"REASON", "reason"}}}};
}

ListCommandInfo claim_list() {
  return {.command = {.name = "claim list",
                      .summary = "List the TCP and UDP ports that tenants have claimed",
                      .examples = "  culvert claim list\n  culvert claim list -o json\n"},
          .path = "/v1/claims",
          .listing = {.member = "claims",
                      .columns = {{"PORT", "port"},
                                  {"SERVICE", "service"},
                                  {"INVITE", "invite_name"},
                                  {"IDLE SINCE", "idle_since", Show::kTime}}}};
}

ListCommandInfo refused_list() {
  return {.command = {.name = "refused list",
                      .summary = "List what agents declare and are refused, and why",
                      .examples = "  culvert refused list\n  culvert refused list -o json\n"},
          .path = "/v1/refused-services",
          .listing = {.member = "refused_services",
                      .columns = {{"FOR", "wanted"},
                                  {"SERVICE", "service", Show::kText, "-"},
                                  {"INVITE", "invite_name"},
                                  {"AGENT", "agent_id"},
                                  {"REASON", "reason"}}}};
}

ListCommandInfo route_list() {
  return {.command = {.name = "route list",
                      .summary = "List the routes that follow from the leases",
                      .examples = "  culvert route list\n  culvert route list -o json\n"},
          .path = "/v1/routes",
          .listing = {.member = "routes",
                      .columns = {{"FOR", "match"},
                                  {"TLS", "tls_mode"},
                                  {"SERVICE", "service"},
                                  {"SUSPENDED", "suspended", Show::kYesNo},
                                  {"TENANT", "tenant_id"},
                                  {"AGENTS", "agents", Show::kList}}}};
}

// Both lists show the same edges: as what was given out, and as what runs.
ListCommandInfo edge_invite_list() {
  return {.command = {.name = "edge-invite list",
                      .summary = "List the tokens of edges that are valid",
                      .examples = "  culvert edge-invite list\n"},
          .path = "/v1/edges",
          .listing = {.member = "edges",
                      .columns = {{"NAME", "name"},
                                  {"REGION", "region"},
                                  {"CREATED", "created_at", Show::kTime},
                                  {"EDGE", "edge_id"}}}};
}

ListCommandInfo edge_list() {
  return {.command = {.name = "edge list",
                      .summary = "List the edges on other hosts, and whether they follow the hub",
                      .examples = "  culvert edge list\n  culvert edge list -o json\n"},
          .path = "/v1/edges",
          .listing = {.member = "edges",
                      .columns = {{"NAME", "name"},
                                  {"REGION", "region"},
                                  {"STATE", "state"},
                                  {"AGENTS", "agents"},
                                  {"VERSION", "version", Show::kText, "-"},
                                  {"ADDRESSES", "addresses", Show::kList}}}};
}

NamedCommandInfo edge_invite_revoke() {
  return {.command = {.name = "edge-invite revoke",
                      .summary = "Revoke the token of an edge: it is cut off at once",
                      .examples = "  culvert edge-invite revoke paris\n",
                      .positional = edge_word()},
          .method = "DELETE",
          .path = "/v1/edges/",
          .names_invite = false,
          .done = "revoked"};
}

ListCommandInfo operator_key_list() {
  return {
      .command = {.name = "operator key list",
                  .summary = "List the operator keys besides that of the node's file",
                  .examples = "  culvert operator key list\n"},
      .path = "/v1/operator-keys",
      .listing = {.member = "keys",
                  .columns = {{"NAME", "name"}, {"ROLE", "role"}, {"CREATED", "created_at", Show::kTime}}}};
}

NamedCommandInfo route_show() {
  return {
      .command = {.name = "route show",
                  .summary = "Show the route that serves a hostname",
                  .examples =
                      "  culvert route show app.example.com\n  culvert route show '*.example.com' -o json\n",
                  .positional =
                      Positional{.name = "HOSTNAME", .help = "a hostname, or the pattern of a route"}},
      .method = "GET",
      .path = "/v1/routes/",
      .names_invite = false,
      .columns = {{"hostname", "hostname"},
                  {"TLS", "tls_mode"},
                  {"tenant", "tenant_id"},
                  {"suspended", "suspended", Show::kYesNo},
                  {"agents", "agents", Show::kList}}};
}

NamedCommandInfo operator_key_revoke() {
  return {.command = {.name = "operator key revoke",
                      .summary = "Revoke an operator key",
                      .examples = "  culvert operator key revoke grafana\n",
                      .positional = Positional{.name = "NAME",
                                               .help = "its name, as `culvert operator key list` shows it"}},
          .method = "DELETE",
          .path = "/v1/operator-keys/",
          .names_invite = false,
          .done = "revoked"};
}

}  // namespace

const std::vector<Column>& invite_columns() {
  static const std::vector<Column> columns = {
      {"invite", "invite_id"},
      {"tenant", "tenant_id"},
      {"name", "name"},
      {"status", "status", Show::kStatus},
      {"hostnames", "hostnames", Show::kList},
      {"custom domains", "allow_custom_domains", Show::kYesNo},
      {"ports", "ports", Show::kList, "any"},
      {"max hostnames", "max_hostnames", Show::kText, "default"},
      {"max TCP ports", "max_tcp_ports", Show::kText, "default"},
      {"max UDP ports", "max_udp_ports", Show::kText, "default"},
      {"max agents", "max_agents", Show::kText, "default"},
      {"max connections", "max_connections", Show::kText, "default"},
      {"max new connections", "max_new_connections", Show::kText, "default"},
      {"max bandwidth", "max_bandwidth", Show::kText, "default"},
      {"max UDP flows", "max_udp_flows", Show::kText, "default"},
      {"created", "created_at", Show::kTime},
      {"expires", "expires_at", Show::kTime, "never"},
  };
  return columns;
}

std::vector<std::unique_ptr<Command>> make_hub_commands() {
  std::vector<std::unique_ptr<Command>> commands;
  commands.push_back(std::make_unique<NamedCommand>(invite_show()));
  commands.push_back(std::make_unique<InviteEditCommand>());
  commands.push_back(std::make_unique<NamedCommand>(invite_revoke()));
  commands.push_back(std::make_unique<ListCommand>(tenant_list()));
  commands.push_back(std::make_unique<NamedCommand>(tenant_show()));
  commands.push_back(std::make_unique<NamedCommand>(tenant_suspend()));
  commands.push_back(std::make_unique<NamedCommand>(tenant_resume()));
  commands.push_back(std::make_unique<NamedCommand>(tenant_remove()));
  commands.push_back(std::make_unique<ListCommand>(agent_list()));
  commands.push_back(std::make_unique<ListCommand>(certificate_list()));
  commands.push_back(std::make_unique<ListCommand>(claim_list()));
  commands.push_back(std::make_unique<ListCommand>(refused_list()));
  commands.push_back(std::make_unique<ListCommand>(route_list()));
  commands.push_back(std::make_unique<NamedCommand>(route_show()));
  commands.push_back(std::make_unique<EdgeInviteCreateCommand>());
  commands.push_back(std::make_unique<ListCommand>(edge_invite_list()));
  commands.push_back(std::make_unique<NamedCommand>(edge_invite_revoke()));
  commands.push_back(std::make_unique<ListCommand>(edge_list()));
  commands.push_back(std::make_unique<EdgeEditCommand>());
  commands.push_back(std::make_unique<AuditListCommand>());
  commands.push_back(std::make_unique<OperatorKeyCreateCommand>());
  commands.push_back(std::make_unique<ListCommand>(operator_key_list()));
  commands.push_back(std::make_unique<NamedCommand>(operator_key_revoke()));
  return commands;
}

}  // namespace culvert::cli
