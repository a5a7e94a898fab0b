#pragma once
#include <optional>
#include <string>

#include "cli/command.h"
#include "cli/listing.h"
#include "cli/token_source.h"
#include "hubapi/entry.h"
#include "hubapi/token.h"
#include "net/event_loop.h"

namespace culvert::cli {

// A command of a tenant: it calls the hub with what is in the token.
class TenantCommand : public Command {
 public:
  explicit TenantCommand(CommandInfo info) : Command(std::move(info)), settings_(this->info().name) {}

  const Settings* settings() const override { return &settings_; }
  ExitStatus failure_status() const override { return failure_status_; }

 protected:
  // After the settings were resolved.
  Result<> read_token();
  // Signed by the tenant's key; the body of the answer.
  Result<std::string> call(std::string method, std::string path, std::string body, std::string tag);
  // Makes the change with the next sequence number. When another change came first, it is made after that
  // one.
  Result<std::string> submit(hubapi::EntryChange change);

  Settings settings_;
  TokenSource source_;
  std::optional<hubapi::InviteToken> token_;

 private:
  Result<uint64_t> last_sequence();

  ExitStatus failure_status_ = ExitStatus::kFailed;
};

// culvert entry submit
class EntrySubmitCommand final : public TenantCommand {
 public:
  EntrySubmitCommand();
  Result<> resolve(const Arguments& arguments, const Environment& environment) override;
  Result<> run() override;

  // After resolve(); its sequence is not known yet.
  const hubapi::EntryChange& change() const { return change_; }

 private:
  hubapi::EntryChange change_{.sequence = 0, .op = hubapi::EntryChange::Op::kPut};
  OutputOptions output_;
};

// culvert entry list
class EntryListCommand final : public TenantCommand {
 public:
  EntryListCommand();
  Result<> resolve(const Arguments& arguments, const Environment& environment) override;
  Result<> run() override;

 private:
  OutputOptions output_;
};

// culvert tenant leave
class TenantLeaveCommand final : public TenantCommand {
 public:
  TenantLeaveCommand();
  Result<> resolve(const Arguments& arguments, const Environment& environment) override;
  Result<> run() override;

 private:
  OutputOptions output_;
};

}  // namespace culvert::cli
