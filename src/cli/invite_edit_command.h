#pragma once
#include <optional>
#include <string>
#include <vector>

#include "cli/invite_terms.h"
#include "cli/operator_command.h"
#include "route/hostname.h"

namespace culvert::cli {

// culvert invite edit
class InviteEditCommand final : public OperatorCommand {
 public:
  InviteEditCommand();
  Result<> resolve(const Arguments& arguments, const Environment& environment) override;
  Result<> run() override;

  // The body of the call.
  std::string request_json() const;

 private:
  // Hostnames of one flag, which may be given several times.
  struct Hostnames {
    std::string text;
    std::vector<route::HostPattern> patterns;
    Result<> add(std::string_view more);
  };

  std::string word_;
  std::optional<std::string> name_;
  Hostnames hostnames_, added_, removed_;
  std::optional<std::optional<std::chrono::seconds>> expires_in_;  // the inner nullopt: never
  InviteTerms terms_;
  OutputOptions output_;
};

}  // namespace culvert::cli
