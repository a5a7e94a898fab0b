#pragma once
#include <optional>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/operator_access.h"
#include "route/hostname.h"

namespace CLI {
class Option;
}

namespace culvert::cli {

// culvert invite create
class InviteCreateCommand final : public Command {
 public:
  explicit InviteCreateCommand(CLI::App& group);
  Result<> resolve(const Environment& environment) override;
  Result<> run() override;

  std::string when_output_is_lost() const override;

  // The body of the call.
  std::string request_json() const;

 private:
  Settings settings_;
  OperatorAccess access_;
  std::string name_;
  std::vector<route::HostPattern> hostnames_;
  std::optional<std::chrono::seconds> expires_in_;
  std::string created_id_;
  CLI::Option* as_json_;
};

// culvert invite list
class InviteListCommand final : public Command {
 public:
  explicit InviteListCommand(CLI::App& group);
  Result<> resolve(const Environment& environment) override;
  Result<> run() override;

 private:
  Settings settings_;
  OperatorAccess access_;
  CLI::Option* as_json_;
};

// culvert invite revoke
class InviteRevokeCommand final : public Command {
 public:
  explicit InviteRevokeCommand(CLI::App& group);
  Result<> resolve(const Environment& environment) override;
  Result<> run() override;

 private:
  Settings settings_;
  OperatorAccess access_;
  CLI::Option* id_;
};

// For people: a block of facts, and the token alone on the last line. kInvalid when the answer is not an
// invite's.
Result<std::string> format_created_invite(std::string_view answer_json);

// The rows of one page of invites, without a heading, and the id to go on after when there are more.
struct InvitePage {
  std::vector<std::vector<std::string>> rows;
  std::optional<std::string> next;
};
Result<InvitePage> read_invite_page(std::string_view answer_json);

}  // namespace culvert::cli
