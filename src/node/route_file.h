#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "hubapi/route_replica.h"

namespace culvert::node {

// The routes of an edge's hub on the edge's disk: a snapshot and the changes since, in the lines and with the
// seals that the hub sent. The edge serves from it until a hub answers. Calls block for the disk.
class RouteFile {
 public:
  // Nothing is kept at an empty path.
  explicit RouteFile(std::filesystem::path path) : path_(std::move(path)) {}

  // Gives the lines to `replica`, which is fresh. What a crash cut off at the end is left out. Errors:
  // kNotFound, there is none; kIo; kInvalid, it is damaged: `replica` is of no use then.
  Result<> load(hubapi::RouteReplica& replica);
  // The routes are these lines from now on, each with its end. kIo.
  Result<> replace(std::string_view lines);
  // They follow from these as well. kIo: nothing more can be added before replace().
  Result<> append(std::string_view lines);
  void remove();
  // When the routes in it were those of the hub at the latest; nullopt: there is no file.
  std::optional<UnixTime> written_at() const;

  // What was appended is so much that a snapshot should take its place.
  bool is_long() const { return appended_ > kMinLong && appended_ > 2 * snapshot_; }

 private:
  static constexpr size_t kMinLong = 1024 * 1024;

  const std::filesystem::path path_;
  size_t snapshot_ = 0;  // bytes
  size_t appended_ = 0;
  bool is_appendable_ = false;
};

}  // namespace culvert::node
