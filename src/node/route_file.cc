#include "node/route_file.h"

#include <optional>

#include "base/file.h"
#include "hubapi/route_stream.h"

namespace culvert::node {

Result<> RouteFile::load(hubapi::RouteReplica& replica) {
  is_appendable_ = false;
  const auto damaged = [this](std::string_view why) {
    return fail(ErrorCode::kInvalid, "{} is damaged: {}; it is fetched again from the hub", path_.native(),
                why);
  };
  size_t size = 0, good = 0;  // bytes so far, and up to the last seal
  std::optional<size_t> snapshot;
  auto loaded = read_lines(path_, hubapi::kMaxRouteLine, [&](std::string_view line) -> Result<> {
    auto taken = replica.take(line);
    if (!taken) return damaged(taken.error().message);
    size += line.size() + 1;
    if (!replica.is_at_seal()) return {};
    good = size;
    if (!snapshot && replica.seal()) snapshot = good;
    return {};
  });
  if (!loaded && loaded.error().code == ErrorCode::kLimit) return damaged(loaded.error().message);
  if (!loaded) return loaded;
  replica.restart();
  if (!replica.seal()) return fail(ErrorCode::kInvalid, "{} holds no routes", path_.native());
  std::error_code ec;
  if (std::filesystem::file_size(path_, ec) > good || ec) {
    auto cut = truncate_file(path_, good);
    if (!cut) return cut;
  }
  snapshot_ = snapshot.value_or(0);
  appended_ = good - snapshot_;
  is_appendable_ = true;
  return {};
}

std::optional<UnixTime> RouteFile::written_at() const {
  std::error_code failed;
  const auto written = std::filesystem::last_write_time(path_, failed);
  if (failed) return std::nullopt;
  return std::chrono::floor<std::chrono::seconds>(std::chrono::file_clock::to_sys(written));
}

Result<> RouteFile::replace(std::string_view lines) {
  is_appendable_ = false;
  if (path_.empty()) return {};
  auto written = replace_file(path_, as_bytes(lines), 0600);
  if (!written) return written;
  snapshot_ = lines.size();
  appended_ = 0;
  is_appendable_ = true;
  return {};
}

Result<> RouteFile::append(std::string_view lines) {
  if (path_.empty()) return {};
  if (!is_appendable_) return fail(ErrorCode::kIo, "{} has no snapshot to add to", path_.native());
  is_appendable_ = false;
  auto written = append_to_file(path_, as_bytes(lines));
  if (!written) return written;
  appended_ += lines.size();
  is_appendable_ = true;
  return {};
}

void RouteFile::remove() {
  is_appendable_ = false;
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove(path_, ignored);
}

}  // namespace culvert::node
