#pragma once
#include <memory>

#include "base/random.h"
#include "base/secret.h"
#include "hub/postgres_connection.h"
#include "hub/record_database.h"

namespace culvert::hub {

// Records in the schema "culvert" of a PostgreSQL database, which several hubs may share. Connects again by
// itself when the server was away.
class PostgresDatabase final : public RecordDatabase {
 public:
  static constexpr int kSchemaVersion = 1;

  // Makes the schema when it is missing, once for all hubs that start at once. Errors name the database and
  // its host, never the password: kInvalid for a URL that is none, a newer schema, an encoding other than
  // UTF-8; kIo when it cannot be reached, or refuses.
  static Result<std::unique_ptr<PostgresDatabase>> open(std::string_view url, Random& random,
                                                        const PostgresConnection::Times& times);

  ByteView hash_key() const override { return hash_key_.expose(); }
  Result<Content> load() override;
  Result<CommitOutcome> commit(uint64_t at, const Batch& batch, uint64_t id) override;
  Result<CommitOutcome> newer(uint64_t after) override;
  Result<std::vector<AuditEntry>> audit(std::optional<uint64_t> before, size_t limit) override;
  Result<bool> prune_audit(size_t keep) override;
  Result<Archive> read_archive() override;
  Result<> write_archive(const Archive& archive, bool only_if_empty) override;
  // Removes what was removed kRemovedFor commits ago; one hub at a time does.
  Result<> check() override;
  std::unique_ptr<CommitWatch> watch(std::function<void(std::optional<uint64_t>)> on_commit) override;

 private:
  PostgresDatabase(PostgresUrl url, const PostgresConnection::Times& times)
      : url_(std::move(url)), times_(times) {}
  Result<> connect();
  // Runs a statement that only reads, or that may run twice, also over a connection that was lost since the
  // last one.
  Result<PostgresRows> run(const char* sql,
                           std::initializer_list<std::optional<std::string_view>> values = {});
  Result<PostgresRows> run_once(const char* sql,
                                std::initializer_list<std::optional<std::string_view>> values = {});
  Result<int> schema_version();
  Result<> make_schema(Random& random);
  Result<> migrate(Random& random);
  Result<> load_hash_key();
  Result<> check_key(std::string_view digest) const;
  Result<> replace(const Archive& archive, bool only_if_empty);
  std::unexpected<Error> failed(const char* verb, const Error& error) const;

  const PostgresUrl url_;
  const PostgresConnection::Times times_;
  SecretBytes<kHashKeySize> hash_key_;
  std::unique_ptr<PostgresConnection> connection_;
  bool is_refusing_ = false;  // the last write failed
};

}  // namespace culvert::hub
