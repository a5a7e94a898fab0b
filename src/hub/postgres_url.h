#pragma once
#include <map>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/secret.h"

namespace culvert::hub {

// Where a PostgreSQL database is: what libpq takes as a URL, checked so that no message of libpq can show its
// password.
class PostgresUrl {
 public:
  // postgres://USER:PASSWORD@HOST:PORT/DATABASE?OPTION=VALUE; what is left out is as libpq has it. kInvalid
  // says what is wrong, without the text.
  static Result<PostgresUrl> parse(std::string_view text);

  const std::string& text() const { return text_.expose(); }
  // The database and its host, for people: `"culvert" at db.example.com:5432`.
  const std::string& name() const { return name_; }
  // `message` of libpq as it may be shown.
  std::string without_secrets(std::string message) const;

 private:
  SecretString text_;
  std::string name_;
  SecretString password_;
};

}  // namespace culvert::hub
