#pragma once
#include <cstddef>

#include "base/clock.h"

namespace culvert::hub {

// How long what waits for the database waits, and how much of it there may be.
struct StoreOptions {
  // For a lock: a backup or an administrator's shell holds it for moments. For a connection to a server.
  Duration busy_time = std::chrono::seconds(2);
  // A caller of the store, in all. Below hubapi::HubClient's patience, so that the client is told.
  Duration answer_time = std::chrono::seconds(10);
  // Between tries to store revocations that the database refused.
  Duration retry = std::chrono::seconds(10);
  // Between looks at whether the database is still there, and whether other hubs have changed something that
  // no notification told of; each write looks as well.
  Duration check_interval = std::chrono::seconds(10);
  // Between tries to find out what became of a commit whose connection was lost.
  Duration repeat = std::chrono::milliseconds(500);
  // For what is under way when the store is closed.
  Duration close_time = std::chrono::seconds(5);
  // Entries of the audit log that are kept: the newest. By number and not by age, so that a clock that is
  // wrong for a moment takes nothing away. An entry has some 500 bytes.
  size_t audit_entries = 100'000;
  Duration prune_interval = std::chrono::hours(1);
  // Commands that wait for the next commit: at most one for each connection to the hub.
  size_t max_waiting = 1024;
};

}  // namespace culvert::hub
