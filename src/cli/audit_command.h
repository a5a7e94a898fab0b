#pragma once
#include <functional>
#include <optional>
#include <string>

#include "cli/operator_command.h"

namespace culvert::cli {

// culvert audit list: as a list, or with --follow line by line, for as long as it runs.
class AuditListCommand final : public OperatorCommand {
 public:
  AuditListCommand();
  Result<> resolve(const Arguments& arguments, const Environment& environment) override;
  Result<> run() override;

  // The path of the call, with what was given to choose entries by.
  std::string path() const;

 private:
  Result<> follow();

  std::string filter_;  // "&actor=ops"
  std::optional<Duration> since_;
  std::optional<UnixTime> from_;  // since_ before the start of the command
  bool follows_ = false;
  OutputOptions output_;
};

// The entries of one answer, or of several that follow one another, the oldest first, and the number behind
// which the next ones come.
struct AuditPiece {
  std::vector<std::string> entries;  // JSON objects
  uint64_t newest = 0;
};
// All entries that GET `path` has, page by page. Errors: those of `fetch`; kInvalid, it is no answer of a
// hub.
Result<AuditPiece> fetch_audit(const std::string& path, const Fetch& fetch);

// An entry as one line for people, one of JSON, or one document of YAML.
Result<std::string> format_audit_entry(std::string_view json, OutputFormat format);

}  // namespace culvert::cli
