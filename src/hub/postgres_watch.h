#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <thread>

#include "hub/postgres_connection.h"
#include "hub/record_database.h"

namespace culvert::hub {

// Listens for the commits of other hubs, on a thread and over a connection of its own, and connects again by
// itself.
class PostgresWatch final : public CommitWatch {
 public:
  static constexpr const char* kListen = "LISTEN culvert_commit";
  // Between two tries to connect.
  static constexpr Duration kPause = std::chrono::seconds(1);
  // At its end, for a try to connect that is under way.
  static constexpr Duration kCloseTime = std::chrono::seconds(3);

  PostgresWatch(const PostgresUrl& url, const PostgresConnection::Times& times,
                std::function<void(std::optional<uint64_t>)> on_commit);
  ~PostgresWatch() override;

 private:
  struct Shared;
  static void run(const std::shared_ptr<Shared>& shared);

  std::shared_ptr<Shared> shared_;
  std::thread thread_;
};

}  // namespace culvert::hub
