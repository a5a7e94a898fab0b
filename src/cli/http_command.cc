#include "cli/http_command.h"

#include <algorithm>

#include "agent/hub_silence.h"
#include "agent/refusal.h"
#include "agent/services.h"
#include "base/backoff.h"
#include "base/file.h"
#include "base/limits.h"
#include "cli/output.h"
#include "cli/paths.h"
#include "hubapi/hub_client.h"
#include "hubapi/pet_name.h"

namespace culvert::cli {
namespace {

CommandInfo command_info() {
  return {.name = "http",
          .summary = "Give a local web service a public HTTPS URL",
          .examples =
              "  culvert http 3000 --token-file token\n"
              "  culvert http 3000                         # the token is kept after the first success\n"
              "  culvert http 3000 --hostname app.example.com\n"
              "  culvert http http://192.168.1.20:8080\n",
          .positional = Positional{.name = "TARGET",
                                   .help = "the local service: PORT, HOST:PORT or http://HOST:PORT",
                                   .example = "3000"}};
}

double seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

// A hub that does not answer is waited for, as an agent does; another one in its place is not.
net::Task<> ask_hub(net::EventLoop& loop, hubapi::HubClient& hub, agent::AgentObserver& observer,
                    hubapi::InviteToken token, hubapi::Declaration declaration,
                    Result<hubapi::LeaseAnswer>& answer) {
  Backoff backoff;
  agent::HubSilence silence;
  while (true) {
    answer = co_await hub.declare(token, declaration);
    if (answer || agent::is_refusal(answer.error()) || hub.met_only_others()) break;
    auto elapsed = silence.failed(answer.error().message, loop.now());
    if (elapsed) observer.hub_unreachable(answer.error(), *elapsed);
    co_await net::sleep_for(loop, backoff.next(loop.random()));
  }
  if (hub.met_only_others()) co_return;
  if (auto elapsed = silence.ended(loop.now())) observer.hub_reached(*elapsed);
}

}  // namespace

Result<route::HostPattern> choose_hostname(const std::vector<std::string>& granted,
                                           std::string_view made_up_label) {
  auto is_wildcard = [](const std::string& text) { return text.starts_with("*."); };
  auto exact = std::ranges::find_if_not(granted, is_wildcard);
  if (exact != granted.end()) return route::HostPattern::parse(*exact);
  if (granted.empty())
    return fail(ErrorCode::kInvalid, "hostname: the invite grants none; ask for a new token");
  return route::HostPattern::parse(fmt::format("{}{}", made_up_label, granted.front().substr(1)));
}

HttpCommand::HttpCommand() : Command(command_info()), settings_(info().name) {
  SettingsBuilder builder = settings_.builder();
  token_source_.describe(builder);
  builder.section("http").add(
      {.name = "hostname",
       .help = "the public hostname of the service",
       .value_name = "NAME",
       .default_text = "the first one that the invite grants, or a random one under its wildcard",
       .default_is_words = true,
       .example = "app.example.com",
       .apply = [this](std::string_view text) -> Result<> {
         auto hostname = route::HostPattern::parse(text);
         if (!hostname) return std::unexpected(hostname.error());
         if (hostname->is_wildcard()) {
           return fail(ErrorCode::kInvalid, "{} is a wildcard; give one exact name", culvert::quoted(text));
         }
         hostname_ = std::move(*hostname);
         return {};
       }});
  ops::describe(builder, ops_);
  describe(builder, log_);
}

Result<> HttpCommand::resolve(const Arguments& arguments, const Environment& environment) {
  auto resolved = settings_.resolve(arguments, environment);
  if (!resolved) return resolved;
  auto origin = parse_http_origin(arguments.positional);
  if (!origin) return fail(ErrorCode::kInvalid, "TARGET: {}", origin.error().message);
  origin_ = std::move(*origin);
  auto dir = config_dir(environment);
  if (dir) config_dir_ = std::move(*dir);  // without a home nothing is kept, and --token does
  auto token = token_source_.read(settings_, config_dir_.empty() ? "" : config_dir_ / "token");
  if (!token) return std::unexpected(token.error());
  token_ = std::move(*token);
  return {};
}

// A declaration without services grants nothing and tells what the invite covers.
Result<> HttpCommand::learn_hostname() {
  net::EventLoop loop;
  hubapi::HubClient hub(loop, hubapi::parse_hub_urls(token_->hub_urls), token_->hub_key);
  hubapi::Declaration declaration{
      token_->invite_id, token_->invite_secret, SecretKey::generate(loop.random()).public_key(), {}};
  Result<hubapi::LeaseAnswer> answer = fail(ErrorCode::kClosed, "interrupted");
  if (!run_until_signal(loop, ask_hub(loop, hub, *this, *token_, std::move(declaration), answer))) return {};
  if (!answer) return std::unexpected(answer.error());
  auto hostname = choose_hostname(answer->granted, hubapi::pet_name(loop.random()));
  if (!hostname) return std::unexpected(hostname.error());
  hostname_ = std::move(*hostname);
  return {};
}

void HttpCommand::request(const agent::RequestLine& line) {
  std::string status = line.status == 0 ? "---" : std::to_string(line.status);
  print_line("{}  {:<7} {}  {}  {:.1f} ms", format_clock(loop_->unix_now()), line.method, line.target, status,
             seconds(line.duration) * 1000);
}

bool HttpCommand::service_silent(const agent::Silence& silence) {
  if (!silence.is_the_origin) return AgentObserver::service_silent(silence);
  print_message("waiting for {}: nothing answers there yet", silence.service.origin.to_string());
  return true;
}

void HttpCommand::lost() { print_message("the connection to the edge was lost; reconnecting"); }

void HttpCommand::refused(const agent::HubRefusal& refusal) {
  if (refusal.is_temporary) {
    print_message("{}. Waiting for it; Ctrl-C ends", refusal.error.message);
    return;
  }
  if (was_ready_ && refusal.error.code == ErrorCode::kUnavailable) return;
  refusal_ = refusal.error;
  running_->stop();
}

void HttpCommand::hub_unreachable(const Error& error, Duration elapsed) {
  if (elapsed == Duration::zero()) {
    print_message("{}. Waiting for it; Ctrl-C ends", error.message);
  } else {
    print_message("still waiting for the hub, for {:.0f} s now: {}", seconds(elapsed), error.message);
  }
}

void HttpCommand::hub_reached(Duration elapsed) {
  print_message("the hub answers again, after {:.0f} s", seconds(elapsed));
}

void HttpCommand::clock_differs(const std::string& message) {
  print_message("{}; set the clock that is wrong. Until then this works with the hub's time", message);
}

void HttpCommand::shared(const std::string& hostname, size_t others) {
  print_message(
      "{} other {} of this invite {} {} too: requests are shared among all of them (an agent that was killed "
      "counts for 7 s more). Stop the others, or give --hostname another name",
      others, others == 1 ? "agent" : "agents", others == 1 ? "serves" : "serve", hostname);
}

void HttpCommand::ready(const std::vector<std::string>& urls) {
  if (was_ready_) {
    print_message("connected again");
    return;
  }
  was_ready_ = true;
  print_line("{}  ->  http://{}   (ready in {:.2f} s)", urls.front(), origin_->to_string(),
             seconds(loop_->now() - started_));
  keep_for_next_time();
  if (root_pem_.empty() || config_dir_.empty()) return;
  auto root = config_dir_ / "ca.pem";
  auto saved = replace_file(root, as_bytes(root_pem_), 0644);
  if (!saved) {
    print_message("the node's root certificate was not saved: {}", saved.error().message);
    return;
  }
  print_line("curl --cacert '{}' {}/", root.string(), urls.front());
}

void HttpCommand::misdirected(const std::string& hostname, const std::string& elsewhere,
                              const std::string& public_host) {
  std::string state = elsewhere.empty()
                          ? std::string("has no DNS record yet; point one")
                          : fmt::format("leads to {}, not to the node; point its DNS record", elsewhere);
  print_message("{} {} at {}. Until then add to curl: --connect-to {}::{}:", hostname, state, public_host,
                hostname, public_host);
}

void HttpCommand::keep_for_next_time() {
  if (config_dir_.empty()) {
    print_message(
        "the token is not kept, since neither XDG_CONFIG_HOME nor HOME is set; give it again next "
        "time");
    return;
  }
  auto place = config_dir_ / "token";
  auto saved = save_token(place, *token_);
  if (!saved) {
    print_message("the token was not saved: {}", saved.error().message);
  } else if (!saved->replaced.empty()) {
    print_message("this token is kept in {} for the next time; it replaces {}, which is in {} now",
                  place.string(), saved->replaced, saved->old_place.string());
  } else if (!saved->was_there) {
    print_message("the token is kept in {} for the next time", place.string());
  }
}

Result<> HttpCommand::run() {
  standard_output().start_thread();
  loop_.emplace();
  started_ = loop_->now();
  auto limit = raise_descriptor_limit();
  if (!limit) log_warn("descriptor_limit", "reason={}", culvert::quoted(limit.error().message));
  if (!hostname_) {
    auto learned = learn_hostname();
    if (!learned || !hostname_) return learned;
  }
  agent::Config config{.token = *token_, .services = {}};
  config.services.push_back(
      {hubapi::DeclaredService{*hostname_, route::TlsMode::kTerminate}, {*origin_}, false});
  agent::Agent agent(*loop_, std::move(config), *this);
  running_ = &agent;
  auto served = run_in_foreground(*loop_, agent, ops_);
  if (refusal_) return std::unexpected(*refusal_);
  return served;
}

std::unique_ptr<Command> make_http_command() { return std::make_unique<HttpCommand>(); }

}  // namespace culvert::cli
