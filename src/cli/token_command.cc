#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "base/encoding.h"
#include "cli/command.h"
#include "cli/listing.h"
#include "cli/output.h"
#include "cli/token_source.h"

namespace culvert::cli {
namespace {

CommandInfo command_info() {
  return {.name = "token inspect",
          .summary = "Check a token and print what it contains, without its secrets",
          .examples =
              "  culvert token inspect --token-file token\n"
              "  CULVERT_TOKEN=cvt_inv_1... culvert token inspect\n"
              "  culvert token inspect --token-file token -o json\n"};
}

// Without its secrets.
std::string to_json(const hubapi::InviteToken& token) {
  boost::json::array urls;
  for (const std::string& url : token.hub_urls) urls.push_back(boost::json::string(url));
  return boost::json::serialize(boost::json::object{{"invite_id", to_base64url(token.invite_id)},
                                                    {"hub_key", token.hub_key.to_string()},
                                                    {"hub_urls", std::move(urls)}});
}

class TokenInspectCommand final : public Command {
 public:
  TokenInspectCommand() : Command(command_info()), settings_(info().name) {
    SettingsBuilder builder = settings_.builder();
    source_.describe(builder);
    describe(builder, output_);
  }
  const Settings* settings() const override { return &settings_; }

  Result<> resolve(const Arguments& arguments, const Environment& environment) override {
    auto resolved = settings_.resolve(arguments, environment);
    if (!resolved) return resolved;
    auto token = source_.read(settings_, {});
    if (!token) return std::unexpected(token.error());
    facts_ = to_json(*token);
    return complete(output_, arguments, environment);
  }

  Result<> run() override {
    auto text = format_object(
        facts_, {{"invite", "invite_id"}, {"hub key", "hub_key"}, {"hub URLs", "hub_urls", Show::kList}},
        output_);
    if (!text) return std::unexpected(text.error());
    print("{}", *text);
    return {};
  }

 private:
  Settings settings_;
  TokenSource source_;
  OutputOptions output_;
  std::string facts_;  // JSON
};

}  // namespace

std::unique_ptr<Command> make_token_inspect_command() { return std::make_unique<TokenInspectCommand>(); }

}  // namespace culvert::cli
