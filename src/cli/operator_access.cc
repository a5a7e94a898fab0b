#include "cli/operator_access.h"

#include "base/encoding.h"
#include "hubapi/hub_client.h"
#include "net/event_loop.h"
#include "node/node.h"

namespace culvert::cli {
namespace {

constexpr size_t kOperatorKeySize = 32;

net::Task<> call_hub(hubapi::HubClient& hub, std::string method, std::string path, std::string json,
                     SecretString key, Result<std::string>& answer) {
  answer = co_await hub.call_operator(std::move(method), std::move(path), std::move(json), std::move(key));
}

}  // namespace

void OperatorAccess::describe(SettingsBuilder& settings) {
  settings.section("operator");
  settings.add({.name = "hub-url",
                .help = "https URLs of the hub, tried in order",
                .value_name = "URL,...",
                .default_text = "the node on this host",
                .default_is_words = true,
                .example = "https://hub.example.com",
                .form = SettingForm::kList,
                .apply = [this](std::string_view text) -> Result<> {
                  auto url = hubapi::parse_hub_url(text);
                  if (!url) return std::unexpected(url.error());
                  urls_.push_back(std::move(*url));
                  return {};
                }});
  settings.add({.name = "hub-key",
                .help = "the hub's public key, 64 hex characters",
                .value_name = "KEY",
                .default_text = "the node on this host",
                .default_is_words = true,
                .example = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c",
                .apply = [this](std::string_view text) -> Result<> {
                  auto key = PublicKey::parse(text);
                  if (!key) return std::unexpected(key.error());
                  hub_key_ = *key;
                  return {};
                }});
  settings.add(
      {.name = "key",
       .help = "the operator key of the hub",
       .details =
           "It has 43 characters and is in the file `operator.key` of the node's data directory. Flags "
           "can be seen in process lists: prefer the variable, or the file below.",
       .value_name = "SECRET",
       .default_text = "the node on this host",
       .default_is_words = true,
       .example = std::string(43, 'A'),
       .flag = "operator-key",
       .is_secret = true,
       .apply = [this](std::string_view text) -> Result<> {
         auto bytes = from_base64url(text);
         if (!bytes || bytes->size() != kOperatorKeySize) {
           return fail(ErrorCode::kInvalid,
                       "is not an operator key (expected 43 characters A-Z a-z 0-9 - _); copy it from "
                       "operator.key in the node's data directory");
         }
         operator_key_ = SecretString(text);
         return {};
       }});
  node::describe_operator_key_file(settings, "key-file", places_.operator_key);
  data_dir_.describe(settings);
}

Result<> OperatorAccess::find(const Settings& settings, const Environment& environment) {
  operator_key_source_ = settings.source("operator-key");
  if (operator_key_.empty() && !places_.operator_key.empty()) {
    auto key = node::read_operator_key(places_.operator_key);
    if (!key) {
      return fail(key.error().code, "{}: {}", settings.source("operator-key-file"), key.error().message);
    }
    operator_key_ = std::move(*key);
    operator_key_source_ = settings.source("operator-key-file");
  }
  if (!urls_.empty() && hub_key_ && !operator_key_.empty()) return {};
  auto dir = data_dir_.path(environment);
  if (!dir) return std::unexpected(dir.error());
  auto local = node::find_local_node(*dir);
  if (!local) {
    bool nothing_given = urls_.empty() && !hub_key_ && operator_key_.empty();
    if (nothing_given) {
      bool says_what_to_do = local.error().code == ErrorCode::kNotFound;
      return fail(local.error().code,
                  "{}; {}or give --hub-url, --hub-key and --operator-key of a hub elsewhere{}",
                  local.error().message,
                  says_what_to_do ? "" : "give --data-dir the directory of a node on this host, ",
                  data_dir_.advice());
    }
    return fail(
        ErrorCode::kInvalid,
        "{}: is missing; a hub elsewhere needs --hub-url, --hub-key and --operator-key, or their variables",
        urls_.empty() ? "--hub-url (or CULVERT_HUB_URL)"
        : !hub_key_   ? "--hub-key (or CULVERT_HUB_KEY)"
                      : "--operator-key-file or --operator-key (or CULVERT_OPERATOR_KEY)");
  }
  if (!hub_key_) hub_key_ = local->hub_key;
  if (operator_key_.empty()) {
    if (!local->operator_key) {
      return fail(ErrorCode::kInvalid,
                  "{} has no operator.key; give --operator-key-file the file in which the node has it",
                  dir->string());
    }
    operator_key_ = *local->operator_key;
    operator_key_source_ = fmt::format("operator.key in {}", dir->string());
  }
  if (!urls_.empty()) return {};
  for (const std::string& text : local->hub_urls) {
    auto url = hubapi::parse_hub_url(text);
    if (!url)
      return fail(ErrorCode::kInvalid, "hub URL of the node in {}: {}", dir->string(), url.error().message);
    urls_.push_back(std::move(*url));
  }
  if (urls_.empty())
    return fail(ErrorCode::kInvalid, "the node in {} has no URL; start it first", dir->string());
  return {};
}

Result<std::optional<node::LocalEdge>> OperatorAccess::find_local_edge(const Settings& settings,
                                                                       const Environment& environment) {
  for (const char* flag : {"hub-url", "hub-key", "operator-key", "operator-key-file"}) {
    if (settings.given(flag) != nullptr) return std::nullopt;
  }
  auto dir = data_dir_.path(environment);
  if (!dir) return std::unexpected(dir.error());
  return node::find_local_edge(*dir);
}

Result<std::string> OperatorAccess::call(std::string method, std::string path, std::string json) {
  net::EventLoop loop;
  hubapi::HubClient hub(loop, urls_, *hub_key_);
  Result<std::string> answer = fail(ErrorCode::kClosed, "the call to the hub was interrupted");
  net::TaskGroup tasks(loop);
  tasks.spawn(call_hub(hub, std::move(method), std::move(path), std::move(json), operator_key_, answer));
  loop.run();
  failure_status_ = answer ? ExitStatus::kFailed : status_of_call(answer.error().code);
  if (answer) return answer;
  const Error& error = answer.error();
  std::string next_step;
  if (error.code == ErrorCode::kUnavailable && !hub.has_answered()) {
    next_step = ". Is `culvert node` running there? Otherwise check --hub-url";
  } else if (error.code == ErrorCode::kUnauthorized) {
    next_step = fmt::format(". The operator key came from {}", operator_key_source_);
  }
  return fail(error.code, "hub: {}{}", error.message, next_step);
}

}  // namespace culvert::cli
