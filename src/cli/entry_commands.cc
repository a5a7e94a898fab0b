#include "cli/entry_commands.h"

#include <boost/json/serialize.hpp>

#include "base/json.h"
#include "cli/output.h"
#include "hubapi/hub_client.h"

namespace culvert::cli {
namespace {

namespace json = boost::json;
using Op = hubapi::EntryChange::Op;

constexpr const char* kDelete = "delete";
// Other changes of the same tenant that come in between.
constexpr int kTries = 5;

const std::vector<Column>& entry_columns() {
  static const std::vector<Column> columns = {{"HOSTNAME", "hostname"},
                                              {"TLS", "tls_mode", Show::kText, "any"},
                                              {"PROOF", "proof"},
                                              {"SINCE", "since", Show::kTime},
                                              {"IN FORCE", "in_force", Show::kYesNo}};
  return columns;
}

net::Task<> call_hub(hubapi::HubClient& hub, std::string method, std::string path, std::string body,
                     SecretKey key, std::string tag, Result<std::string>& answer) {
  answer = co_await hub.call_tenant(std::move(method), std::move(path), std::move(body), key, std::move(tag));
}

}  // namespace

Result<> TenantCommand::read_token() {
  auto token = source_.read(settings_, {});
  if (!token) return std::unexpected(token.error());
  token_.emplace(std::move(*token));
  return {};
}

Result<std::string> TenantCommand::call(std::string method, std::string path, std::string body,
                                        std::string tag) {
  net::EventLoop loop;
  hubapi::HubClient hub(loop, hubapi::parse_hub_urls(token_->hub_urls), token_->hub_key);
  Result<std::string> answer = fail(ErrorCode::kClosed, "the call to the hub was interrupted");
  net::TaskGroup tasks(loop);
  tasks.spawn(call_hub(hub, std::move(method), std::move(path), std::move(body), token_->tenant_key,
                       std::move(tag), answer));
  loop.run();
  failure_status_ = answer ? ExitStatus::kFailed : status_of_call(answer.error().code);
  if (!answer) return fail(answer.error().code, "hub: {}", answer.error().message);
  return answer;
}

Result<uint64_t> TenantCommand::last_sequence() {
  auto answer = call("GET", "/v1/entries", "", hubapi::kEntriesTag);
  if (!answer) return std::unexpected(answer.error());
  auto body = parse_json_object("the hub's answer", *answer);
  if (!body) return std::unexpected(body.error());
  JsonReader reader("the hub's answer", *body);
  const int64_t sequence = reader.integer("sequence", 0, INT64_MAX - 1);
  if (reader.error()) return std::unexpected(*reader.error());
  return static_cast<uint64_t>(sequence);
}

Result<std::string> TenantCommand::submit(hubapi::EntryChange change) {
  for (int tries = 1;; ++tries) {
    auto last = last_sequence();
    if (!last) return std::unexpected(last.error());
    change.sequence = *last + 1;
    auto answer = call("POST", "/v1/entries", hubapi::encode(change), hubapi::kEntryTag);
    if (answer || answer.error().code != ErrorCode::kConflict || tries == kTries) return answer;
    auto now = last_sequence();
    if (!now || *now < change.sequence) return answer;  // it was refused for another reason
  }
}

EntrySubmitCommand::EntrySubmitCommand()
    : TenantCommand(
          {.name = "entry submit",
           .summary = "Give a hostname to one's own tenant, or take it away",
           .examples = "  culvert entry submit app.example.com --token-file token\n"
                       "  culvert entry submit shop.example --tls-mode terminate --token-file token\n"
                       "  culvert entry submit shop.example --delete --token-file token\n",
           .positional = Positional{.name = "HOSTNAME",
                                    .help = "a name that the invite grants, or one whose TXT record "
                                            "_culvert-challenge.HOSTNAME names the tenant"},
           .switches = {{.flag = kDelete, .help = "take the hostname away"}}}) {
  SettingsBuilder builder = settings_.builder();
  source_.describe(builder);
  builder.section("entry");
  builder.add({.name = "tls-mode",
               .help = "the only mode in which agents may serve it: passthrough or terminate",
               .value_name = "MODE",
               .default_text = "any",
               .default_is_words = true,
               .example = "terminate",
               .choices = {"passthrough", "terminate"},
               .apply = [this](std::string_view text) -> Result<> {
                 change_.tls_mode = route::parse_tls_mode(text);
                 if (change_.tls_mode) return {};
                 return fail(ErrorCode::kInvalid, "expected passthrough or terminate");
               }});
  describe(builder, output_);
}

Result<> EntrySubmitCommand::resolve(const Arguments& arguments, const Environment& environment) {
  auto resolved = settings_.resolve(arguments, environment);
  if (!resolved) return resolved;
  auto completed = complete(output_, arguments, environment);
  if (!completed) return completed;
  auto hostname = route::HostPattern::parse(arguments.positional);
  if (!hostname) return fail(ErrorCode::kInvalid, "HOSTNAME: {}", hostname.error().message);
  change_.hostname = std::move(*hostname);
  if (arguments.has_switch(kDelete)) {
    if (change_.tls_mode)
      return fail(ErrorCode::kInvalid, "--tls-mode: does not go with --delete; leave it out");
    change_.op = Op::kDelete;
  }
  return read_token();
}

Result<> EntrySubmitCommand::run() {
  auto answer = submit(change_);
  if (!answer) return std::unexpected(answer.error());
  if (change_.op == Op::kDelete) {
    auto text = format_done(fmt::format("deleted {}", change_.hostname->text()), *answer, output_);
    if (!text) return std::unexpected(text.error());
    print("{}", *text);
    return {};
  }
  auto body = parse_json_object("the hub's answer", *answer);
  if (!body) return std::unexpected(body.error());
  const json::value* entry = body->if_contains("entry");
  if (entry == nullptr || !entry->is_object())
    return fail(ErrorCode::kInvalid, "hub: its answer has no entry. Is it a Culvert hub of this version?");
  auto text = format_object(json::serialize(*entry),
                            {{"hostname", "hostname"},
                             {"TLS", "tls_mode", Show::kText, "any"},
                             {"proof", "proof"},
                             {"since", "since", Show::kTime}},
                            output_);
  if (!text) return std::unexpected(text.error());
  print("{}", *text);
  return {};
}

EntryListCommand::EntryListCommand()
    : TenantCommand({.name = "entry list",
                     .summary = "List the hostnames that one's own tenant gave itself",
                     .examples = "  culvert entry list --token-file token\n"}) {
  SettingsBuilder builder = settings_.builder();
  source_.describe(builder);
  describe(builder, output_);
}

Result<> EntryListCommand::resolve(const Arguments& arguments, const Environment& environment) {
  auto resolved = settings_.resolve(arguments, environment);
  if (!resolved) return resolved;
  auto completed = complete(output_, arguments, environment);
  if (!completed) return completed;
  return read_token();
}

Result<> EntryListCommand::run() {
  auto text = fetch_listing(
      {.member = "entries", .columns = entry_columns()}, "/v1/entries", output_,
      [this](std::string path) { return call("GET", std::move(path), "", hubapi::kEntriesTag); });
  if (!text) return std::unexpected(text.error());
  print("{}", *text);
  return {};
}

TenantLeaveCommand::TenantLeaveCommand()
    : TenantCommand(
          {.name = "tenant leave",
           .summary = "Remove one's own tenant from the hub: its agents are cut off, its token is of no more "
                      "use",
           .examples = "  culvert tenant leave --token-file token\n"}) {
  SettingsBuilder builder = settings_.builder();
  source_.describe(builder);
  describe(builder, output_);
}

Result<> TenantLeaveCommand::resolve(const Arguments& arguments, const Environment& environment) {
  auto resolved = settings_.resolve(arguments, environment);
  if (!resolved) return resolved;
  auto completed = complete(output_, arguments, environment);
  if (!completed) return completed;
  return read_token();
}

Result<> TenantLeaveCommand::run() {
  auto answer = submit({.sequence = 0, .op = Op::kLeave});
  if (!answer) return std::unexpected(answer.error());
  auto text =
      format_done(fmt::format("removed {}", token_->tenant_key.public_key().to_string()), *answer, output_);
  if (!text) return std::unexpected(text.error());
  print("{}", *text);
  return {};
}

std::vector<std::unique_ptr<Command>> make_tenant_commands() {
  std::vector<std::unique_ptr<Command>> commands;
  commands.push_back(std::make_unique<EntrySubmitCommand>());
  commands.push_back(std::make_unique<EntryListCommand>());
  commands.push_back(std::make_unique<TenantLeaveCommand>());
  return commands;
}

}  // namespace culvert::cli
