#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "cli/listing.h"
#include "cli/operator_command.h"

namespace culvert::cli {

// A command that makes one call about one thing that the hub has, which a word of the command line names.
struct NamedCommandInfo {
  CommandInfo command;  // with a positional
  std::string method;
  std::string path;       // ends with a slash, and the word follows
  std::string body = {};  // JSON
  // The word is an invite's id, its tenant's, or the name of an invite.
  bool names_invite = true;
  std::string done = {};             // what people are told before the word; empty: the answer is shown
  std::vector<Column> columns = {};  // of the answer
};

class NamedCommand final : public OperatorCommand {
 public:
  explicit NamedCommand(NamedCommandInfo info);
  Result<> resolve(const Arguments& arguments, const Environment& environment) override;
  Result<> run() override;
  ExitStatus failure_status() const override;

 private:
  const NamedCommandInfo info_;
  OutputOptions output_;
  std::string word_;
  bool is_unknown_ = false;
};

// The id of the invite that `word` means: an id of an invite or a tenant is returned as it is, and a name is
// looked up in the listing. kNotFound: no invite is called so; kConflict: several are, the message has their
// ids.
Result<std::string> find_invite(std::string_view word, const Fetch& fetch);

// The word that names an invite, for commands that look it up.
Positional invite_word();
// The word that names an edge.
Positional edge_word();

// What is shown of an invite.
const std::vector<Column>& invite_columns();

}  // namespace culvert::cli
