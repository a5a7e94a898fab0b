#pragma once
#include <optional>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/operator_access.h"
#include "route/hostname.h"

namespace culvert::cli {

// culvert invite create
class InviteCreateCommand final : public Command {
 public:
  InviteCreateCommand();
  Result<> resolve(const Arguments& arguments, const Environment& environment) override;
  Result<> run() override;
  const Settings* settings() const override { return &settings_; }

  std::string when_output_is_lost() const override;

  // The body of the call.
  std::string request_json() const;

 private:
  Settings settings_;
  OperatorAccess access_;
  std::string name_;
  std::string hostnames_text_;
  std::vector<route::HostPattern> hostnames_;
  std::optional<std::chrono::seconds> expires_in_;
  std::string created_id_;
  bool as_json_ = false;
};

// culvert invite list
class InviteListCommand final : public Command {
 public:
  InviteListCommand();
  Result<> resolve(const Arguments& arguments, const Environment& environment) override;
  Result<> run() override;
  const Settings* settings() const override { return &settings_; }

 private:
  Settings settings_;
  OperatorAccess access_;
  bool as_json_ = false;
};

// culvert invite revoke
class InviteRevokeCommand final : public Command {
 public:
  InviteRevokeCommand();
  Result<> resolve(const Arguments& arguments, const Environment& environment) override;
  Result<> run() override;
  const Settings* settings() const override { return &settings_; }

 private:
  Settings settings_;
  OperatorAccess access_;
  std::string id_;
};

// What is printed of an invite: facts for people, one a line, which go to standard error, and the token,
// which goes to standard output alone, so that `invite create > token` makes a token file.
struct CreatedInvite {
  std::string id;
  std::vector<std::string> facts;
  std::string token;
};
// kInvalid when the answer is not an invite's.
Result<CreatedInvite> read_created_invite(std::string_view answer_json);

// The rows of one page of invites, without a heading, and the id to go on after when there are more.
struct InvitePage {
  std::vector<std::vector<std::string>> rows;
  std::optional<std::string> next;
};
Result<InvitePage> read_invite_page(std::string_view answer_json);

}  // namespace culvert::cli
