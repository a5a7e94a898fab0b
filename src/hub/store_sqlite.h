#pragma once
#include <filesystem>
#include <memory>

#include "base/random.h"
#include "hub/store.h"
#include "hub/store_options.h"

namespace culvert::hub {

// Invites in one SQLite file. All of them are in memory too, so that reads never wait; a thread of its own
// writes. Blocks until the file is open and read. Errors as of StoreDatabase::open.
Result<std::unique_ptr<Store>> open_sqlite_store(net::EventLoop& loop, const std::filesystem::path& path,
                                                 Random& random, StoreOptions options = {});

}  // namespace culvert::hub
