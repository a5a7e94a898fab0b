#pragma once
#include <string_view>

namespace culvert::hub {

// docs/openapi.json: the description of the API, OpenAPI 3.1.
std::string_view openapi_json();

}  // namespace culvert::hub
