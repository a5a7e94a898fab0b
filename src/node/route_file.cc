#include "node/route_file.h"

#include <optional>

#include "base/file.h"

namespace culvert::node {
namespace {

constexpr size_t kMaxFile = 1024UL * 1024 * 1024;

}  // namespace

Result<> RouteFile::load(hubapi::RouteReplica& replica) {
  is_appendable_ = false;
  auto content = read_file(path_, kMaxFile);
  if (!content) return std::unexpected(content.error());
  std::string_view rest = as_text(*content);
  size_t good = 0;  // bytes up to the last seal
  std::optional<size_t> snapshot;
  while (true) {
    const size_t end = rest.find('\n');
    if (end == std::string_view::npos) break;
    auto taken = replica.take(rest.substr(0, end));
    if (!taken) {
      return fail(ErrorCode::kInvalid, "{} is damaged: {}; it is fetched again from the hub", path_.native(),
                  taken.error().message);
    }
    rest.remove_prefix(end + 1);
    if (!replica.is_at_seal()) continue;
    good = content->size() - rest.size();
    if (!snapshot && replica.seal()) snapshot = good;
  }
  replica.restart();
  if (!replica.seal()) return fail(ErrorCode::kInvalid, "{} holds no routes", path_.native());
  if (good < content->size()) {
    auto cut = truncate_file(path_, good);
    if (!cut) return cut;
  }
  snapshot_ = snapshot.value_or(0);
  appended_ = good - snapshot_;
  is_appendable_ = true;
  return {};
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
