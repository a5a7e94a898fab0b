#pragma once
#include <string>
#include <string_view>

#include "base/clock.h"
#include "http/message.h"

// The forms that all answers of the hub's API have.
namespace culvert::hub {

// `body` is a JSON object.
http::Response json_response(int status, std::string body);

// The error envelope {"error":{"code","message","hint"}} that every failure answers with. `message` says what
// is wrong and behind a semicolon what to do: that becomes the hint.
http::Response error_response(int status, std::string_view code, std::string_view message);
// The same with a Retry-After field of one second.
http::Response retry_response(int status, std::string_view code, std::string_view message);

}  // namespace culvert::hub
