#include "base/check.h"
#include "route/snapshot.h"

using namespace culvert;
using namespace culvert::route;

namespace {

void check_pair(const HostPattern& a, const HostPattern& b) {
  CHECK(a.overlaps(b) == b.overlaps(a));
  CHECK(a.overlaps(b) == (a.grants(b) || b.grants(a)));
  CHECK(!(a.grants(b) && b.grants(a)) || a == b);
  if (!b.is_wildcard() && a.matches(b.text())) CHECK(a.grants(b));
  // A grant ends at a label: the part in front of the suffix is whole labels.
  if (a.is_wildcard() && a.grants(b)) {
    const std::string_view suffix = std::string_view(a.text()).substr(2);
    CHECK(b.text().size() > suffix.size() && b.text().ends_with(suffix));
    CHECK(b.text()[b.text().size() - suffix.size() - 1] == '.');
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr size_t kMaxPatterns = 16;  // the checks look at every pair
  auto patterns = parse_host_patterns(as_text({data, size}));
  if (!patterns) {
    CHECK(!patterns.error().message.empty());
    return 0;
  }
  CHECK(!patterns->empty());
  if (patterns->size() > kMaxPatterns) return 0;

  static const PublicKey tenant = SecretKey::from_seed(Bytes(32, 1))->public_key();
  std::vector<Route> routes;
  for (const HostPattern& a : *patterns) {
    CHECK(a.text().size() <= 253);
    CHECK(HostPattern::parse(a.text()) == a);
    CHECK(a.grants(a) && a.overlaps(a));
    for (const HostPattern& b : *patterns) check_pair(a, b);
    routes.push_back(
        {.match = a, .tenant = tenant, .tls_mode = TlsMode::kPassthrough, .targets = {{tenant}}});
  }
  const SnapshotPtr snapshot = Snapshot::of(std::move(routes), 1);
  for (const HostPattern& host : *patterns) {
    const Route* route = snapshot->match(host.text());
    // A pattern of a route is found under its own name; a wildcard is no name.
    CHECK(host.is_wildcard() ? route == nullptr : route != nullptr && route->match == host);
    const std::string below = "x." + host.text();
    const Route* wildcard = snapshot->match(below);
    CHECK(wildcard == nullptr || wildcard->match.hostname()->matches(below));
  }
  return 0;
}
