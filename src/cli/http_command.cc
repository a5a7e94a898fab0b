#include "cli/http_command.h"

#include <algorithm>

#include "agent/services.h"
#include "base/file.h"
#include "base/limits.h"
#include "cli/foreground.h"
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
              "  culvert http 3000 --token cvt_inv_1...\n"
              "  culvert http 3000                         # the token is kept after the first success\n"
              "  culvert http 3000 --hostname app.example.com\n"
              "  culvert http http://192.168.1.20:8080\n",
          .positional =
              Positional{.name = "TARGET", .help = "the local service: PORT, HOST:PORT or http://HOST:PORT"}};
}

double seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

net::Task<> ask_hub(hubapi::HubClient& hub, hubapi::InviteToken token, hubapi::Declaration declaration,
                    Result<hubapi::LeaseAnswer>& answer) {
  answer = co_await hub.declare(std::move(token), std::move(declaration));
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
       .help = "the public hostname",
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
  describe(builder, log_level_);
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
  hubapi::HubClient hub(loop, hubapi::hub_urls(*token_), token_->hub_key);
  SystemRandom random;
  hubapi::Declaration declaration{
      token_->invite_id, token_->invite_secret, SecretKey::generate(random).public_key(), {}};
  Result<hubapi::LeaseAnswer> answer = fail(ErrorCode::kClosed, "interrupted");
  net::TaskGroup tasks(loop);
  tasks.spawn(ask_hub(hub, *token_, std::move(declaration), answer));
  loop.run();
  if (!answer) return std::unexpected(answer.error());
  auto hostname = choose_hostname(answer->granted, hubapi::pet_name(random));
  if (!hostname) return std::unexpected(hostname.error());
  hostname_ = std::move(*hostname);
  return {};
}

void HttpCommand::request(const agent::RequestLine& line) {
  std::string status = line.status == 0 ? "---" : std::to_string(line.status);
  print_line("{}  {:<7} {}  {}  {:.1f} ms", format_clock(unix_now()), line.method, line.target, status,
             seconds(line.duration) * 1000);
}

bool HttpCommand::service_silent(const agent::Silence& silence) {
  if (!silence.is_the_origin) return AgentObserver::service_silent(silence);
  print_message("waiting for {}: nothing answers there yet", agent::origin_text(silence.service));
  return true;
}

void HttpCommand::lost() { print_message("the connection to the edge was lost; reconnecting"); }

void HttpCommand::refused(const Error& error) {
  if (was_ready_ && error.code == ErrorCode::kUnavailable) return;
  refusal_ = error;
  running_->stop();
}

void HttpCommand::ready(const std::vector<std::string>& urls) {
  if (was_ready_) {
    print_message("connected again");
    return;
  }
  was_ready_ = true;
  agent::Service service{*hostname_, origin_->host, origin_->port};
  print_line("{}  ->  http://{}   (ready in {:.2f} s)", urls.front(), agent::origin_text(service),
             seconds(monotonic_now() - started_));
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
  std::error_code ignored;
  bool had_one = std::filesystem::exists(place, ignored);
  auto saved = save_token(place, *token_);
  if (saved && !had_one) print_message("the token is kept in {} for the next time", place.string());
  if (!saved) print_message("the token was not saved: {}", saved.error().message);
}

Result<> HttpCommand::run() {
  set_log_level(log_level_);
  standard_output().start_thread();
  started_ = monotonic_now();
  auto limit = raise_descriptor_limit();
  if (!limit) log_warn("descriptor_limit", "reason={}", culvert::quoted(limit.error().message));
  if (!hostname_) {
    auto learned = learn_hostname();
    if (!learned) return learned;
  }
  net::EventLoop loop;
  agent::Config config{.token = *token_, .services = {}};
  config.services.push_back({*hostname_, origin_->host, origin_->port, route::TlsMode::kTerminate, false});
  agent::Agent agent(loop, std::move(config), *this);
  running_ = &agent;
  auto served = run_in_foreground(loop, agent);
  if (refusal_) return std::unexpected(*refusal_);
  return served;
}

std::unique_ptr<Command> make_http_command() { return std::make_unique<HttpCommand>(); }

}  // namespace culvert::cli
