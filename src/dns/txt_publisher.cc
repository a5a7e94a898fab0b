#include "dns/txt_publisher.h"

#include "dns/authority.h"

namespace culvert::dns {
namespace {

std::unexpected<Error> outside(const Name& name) {
  return fail(ErrorCode::kInvalid,
              "no zone of this DNS server has {}; let an alias (CNAME) lead from it into one, or use another "
              "provider",
              name.to_string());
}

}  // namespace

net::Task<Result<>> ZonePublisher::put(Name name, std::string value) {
  Zone* zone = authority_.find(name);
  if (zone == nullptr) co_return outside(name);
  co_return zone->put(name, std::move(value));
}

net::Task<Result<>> ZonePublisher::remove(Name name, std::string value) {
  Zone* zone = authority_.find(name);
  if (zone == nullptr) co_return outside(name);
  zone->remove(name, value);
  co_return Result<>();
}

}  // namespace culvert::dns
