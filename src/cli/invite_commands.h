#pragma once
#include <optional>
#include <string>
#include <vector>

#include "cli/invite_terms.h"
#include "cli/operator_command.h"
#include "route/hostname.h"

namespace culvert::cli {

// culvert invite create
class InviteCreateCommand final : public OperatorCommand {
 public:
  InviteCreateCommand();
  Result<> resolve(const Arguments& arguments, const Environment& environment) override;
  Result<> run() override;

  std::string when_output_is_lost() const override;

  // The body of the call.
  std::string request_json() const;

 private:
  std::string name_;
  std::string hostnames_text_;
  std::vector<route::HostPattern> hostnames_;
  std::optional<std::chrono::seconds> expires_in_;
  InviteTerms terms_;
  std::string created_id_;
  OutputOptions output_;
};

// What is printed of an invite: facts for people, which go to standard error, and the token, which goes to
// standard output alone, so that `invite create > token` makes a token file.
struct CreatedInvite {
  std::string id;
  std::string facts;  // lines
  std::string token;
};
// kInvalid when the answer is not an invite's.
Result<CreatedInvite> read_created_invite(std::string_view answer_json);

// What `invite list` asks for and shows.
ListCommandInfo invite_list_info();

}  // namespace culvert::cli
