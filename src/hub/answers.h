#pragma once
#include <string>
#include <string_view>

#include "base/secret.h"
#include "http/exchange.h"
#include "http/message.h"
#include "http/signature.h"

// The forms that all answers of the hub's API have.
namespace culvert::hub {

// `body` is a JSON object.
http::Response json_response(int status, std::string body);

// {"status":"ok","MEMBER":"SECRET",...}: the secret needs no escapes, and is kept out of a json::object,
// which is not wiped. `rest` is a JSON object with the other members, not empty.
std::string with_secret(std::string_view member, const SecretString& secret, std::string_view rest);

// The error envelope {"error":{"code","message","hint"}} that every failure answers with. `message` says what
// is wrong and behind a semicolon what to do: that becomes the hint.
http::Response error_response(int status, std::string_view code, std::string_view message);
// The same with a Retry-After field of one second.
http::Response retry_response(int status, std::string_view code, std::string_view message);

// The field that names a request, in it and in its answer.
inline constexpr std::string_view kRequestId = "x-request-id";
// As a value in a line of the log: the name of the request that it is about.
std::string request_id(const http::Exchange& exchange);

// 401: the request is signed for another instance of the hub than the one that this guard names.
http::Response sign_again_response(const http::ReplayGuard& replays);

}  // namespace culvert::hub
