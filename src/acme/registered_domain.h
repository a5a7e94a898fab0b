#pragma once
#include <string>
#include <string_view>

namespace culvert::acme {

// The domain that CAs count certificates by: "example.com" for "app.example.com" and "*.example.com",
// "example.co.uk" for "app.example.co.uk". A rule, not the public suffix list: below suffixes that it does
// not know (duckdns.org, github.io) all names count as one domain, which is stricter than a CA. A budget that
// is too strict delays a certificate; one that is too lax ends in a CA's refusal for a week.
std::string registered_domain(std::string_view name);

}  // namespace culvert::acme
