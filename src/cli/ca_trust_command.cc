#include <algorithm>

#include "base/file.h"
#include "base/limits.h"
#include "base/text.h"
#include "ca/root_fetch.h"
#include "cli/command.h"
#include "cli/confirmation.h"
#include "cli/data_dir.h"
#include "cli/foreground.h"
#include "cli/output.h"
#include "cli/trust_store.h"
#include "node/node.h"

namespace culvert::cli {
namespace {

constexpr size_t kMaxRoot = 64 * 1024;
constexpr Duration kFetchTime = std::chrono::seconds(20);

CommandInfo command_info() {
  return {.name = "ca trust",
          .summary = "Make this system trust the root of an internal CA: says what it does, and asks",
          .examples =
              "  sudo culvert ca trust\n"
              "  sudo culvert ca trust --root ca.pem\n"
              "  sudo culvert ca trust --url https://ca.lab.example.com:14000/directory\n"
              "  sudo culvert ca trust --remove\n",
          .positional = std::nullopt,
          .switches = {{.flag = "yes", .help = "do it without asking"},
                       {.flag = "remove", .help = "trust the root no more"}}};
}

net::Task<> fetch_into(net::EventLoop& loop, std::string url, Result<std::string>& out) {
  out = co_await ca::fetch_root(loop, std::move(url), loop.now() + kFetchTime);
}

// As a shell takes it for one word.
std::string shell_word(const std::string& text) {
  constexpr std::string_view kPlain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-:=";
  if (!text.empty() && text.find_first_not_of(kPlain) == text.npos) return text;
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

Setting text_setting(std::string name, std::string help, std::string value_name, std::string default_text,
                     std::string example, std::string variable, std::string& target) {
  return {
      .name = std::move(name),
      .help = std::move(help),
      .value_name = std::move(value_name),
      .default_text = std::move(default_text),
      .default_is_words = true,
      .example = std::move(example),
      .variable = std::move(variable),
      .apply = store(target, [](std::string_view text) -> Result<std::string> { return std::string(text); })};
}

class CaTrustCommand final : public Command {
 public:
  CaTrustCommand() : Command(command_info()), settings_(info().name) {
    SettingsBuilder builder = settings_.builder();
    data_dir_.describe(builder);
    node::describe_ca_directory(builder, places_.ca_directory);
    builder.section("ca");
    builder.add(text_setting("root", "PEM file with the root certificate", "FILE",
                             "that of the data directory", "ca.pem", "CULVERT_CA_ROOT", root_));
    builder.add(text_setting("url", "URL of a `culvert ca serve` that the root is fetched from", "URL",
                             "none", "https://ca.lab.example.com:14000/directory", "CULVERT_CA_URL", url_));
    Setting fingerprint = text_setting(
        "fingerprint", "SHA-256 fingerprint that the root has to have", "HEX", "none",
        "5E:2B:6B:4A:1B:8C:2F:6D:33:0B:4E:9A:77:AF:0C:51:D4:E2:90:8B:16:3C:A5:F7:28:69:BD:01:CE:43:7F:98",
        "CULVERT_CA_FINGERPRINT", fingerprint_);
    fingerprint.details =
        "`culvert ca serve` prints it. A host between here and the URL can send another root: "
        "without it, compare what is shown before you agree.";
    fingerprint.apply = [this](std::string_view text) -> Result<> {
      auto digest = tls::parse_fingerprint(text);
      if (!digest) return std::unexpected(digest.error());
      expected_ = *digest;
      fingerprint_ = text;
      return {};
    };
    builder.add(std::move(fingerprint));
  }
  const Settings* settings() const override { return &settings_; }

  Result<> resolve(const Arguments& arguments, const Environment& environment) override {
    auto resolved = settings_.resolve(arguments, environment);
    if (!resolved) return resolved;
    auto path = data_dir_.path(environment);
    if (!path) return std::unexpected(path.error());
    path_ = std::move(*path);
    agrees_ = arguments.has_switch("yes");
    removes_ = arguments.has_switch("remove");
    if (!root_.empty() && !url_.empty()) {
      return fail(ErrorCode::kInvalid, "{} and {}: both say where the root is; keep one of them",
                  settings_.source("root"), settings_.source("url"));
    }
    if (!url_.empty() && agrees_ && !removes_ && !expected_) {
      return fail(ErrorCode::kInvalid,
                  "--yes with {} needs --fingerprint: nobody compares the fingerprint of what is fetched",
                  settings_.source("url"));
    }
    return {};
  }

  Result<> run() override {
    auto root = read_root();
    if (!root) return std::unexpected(root.error());
    if (expected_ && root->digest != *expected_) {
      return fail(ErrorCode::kUnauthorized, "the root has the fingerprint {}, expected {}; do not trust it",
                  root->fingerprint(), fingerprint_);
    }
    auto store = find_trust_store();
    if (!store) {
      return fail(
          ErrorCode::kNotFound,
          "this system has neither update-ca-certificates nor update-ca-trust with its directory: see its "
          "documentation for how a root is added; `culvert ca export` prints the root");
    }
    const auto plan = plan_trust(std::move(*store), std::move(*root), removes_);
    if (!plan) return std::unexpected(plan.error());
    print("{}", plan->text());
    if (!running_as_root())
      return fail(ErrorCode::kUnauthorized, "only root may do this; run: {}", command_for_root(*plan));
    if (!agrees_ && !can_ask()) {
      return fail(
          ErrorCode::kInvalid,
          "standard input is not a terminal, so nobody can be asked; nothing was done. Give --yes to agree "
          "to the above");
    }
    if (!agrees_ && !confirm("Continue?")) return fail(ErrorCode::kClosed, "nothing was done");
    auto done = plan->carry_out();
    if (!done) return done;
    print_line("{}", removes_ ? "done: the root is not trusted any more" : "done: the root is trusted");
    return {};
  }

 private:
  Result<tls::RootCertificate> read_root() {
    auto [pem, source] = read_pem();
    if (!pem) return std::unexpected(pem.error());
    auto root = tls::RootCertificate::from_pem(*pem);
    if (!root) return fail(root.error().code, "{}: {}", source, root.error().message);
    return root;
  }

  // The text, and where it is from.
  std::pair<Result<std::string>, std::string> read_pem() {
    if (!url_.empty()) {
      net::EventLoop loop;
      Result<std::string> fetched;
      if (!run_until_signal(loop, fetch_into(loop, url_, fetched)))
        fetched = fail(ErrorCode::kClosed, "interrupted; nothing was done");
      return {std::move(fetched), url_};
    }
    if (!root_.empty()) {
      auto bytes = read_file(root_, kMaxRoot);
      if (!bytes) return {std::unexpected(bytes.error()), root_};
      return {std::string(as_text(*bytes)), root_};
    }
    auto root = node::read_internal_root(path_, places_);
    if (!root) root = fail(root.error().code, "{}{}", root.error().message, data_dir_.advice());
    return {std::move(root), "the internal CA"};
  }

  // With the same root: root's own data directory is another one.
  std::string command_for_root(const TrustPlan& plan) const {
    std::string out = "sudo culvert ca trust";
    if (removes_) out += " --remove";
    std::error_code ignored;
    if (!url_.empty()) {
      out += fmt::format(" --url {} --fingerprint {}", shell_word(url_), plan.root.fingerprint());
    } else if (!root_.empty()) {
      out += " --root " + shell_word(std::filesystem::absolute(root_, ignored).native());
    } else {
      out += " --data-dir " + shell_word(std::filesystem::absolute(path_, ignored).native());
      if (!places_.ca_directory.empty())
        out += " --ca-dir " + shell_word(std::filesystem::absolute(places_.ca_directory, ignored).native());
    }
    return out;
  }

  Settings settings_;
  DataDir data_dir_;
  std::filesystem::path path_;
  node::FilePlaces places_;
  std::string root_, url_, fingerprint_;
  std::optional<Sha256> expected_;
  bool agrees_ = false, removes_ = false;
};

}  // namespace

std::unique_ptr<Command> make_ca_trust_command() { return std::make_unique<CaTrustCommand>(); }

}  // namespace culvert::cli
