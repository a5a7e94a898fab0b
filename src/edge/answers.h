#pragma once
#include <memory>
#include <string_view>

#include "base/bytes.h"
#include "endpoint/endpoint.h"
#include "net/byte_stream.h"
#include "tunnel/stream_header.h"

// What the edge itself says to a client when a connection cannot be carried.
namespace culvert::edge {

// A whole HTTP/1.1 response with a plain text that names whose fault it is.
Bytes http_answer(int status, std::string_view text);

Bytes no_agent_answer();
Bytes suspended_answer();
Bytes stream_limit_answer();
Bytes tenant_limit_answer();
// For a client that speaks HTTP where TLS is expected.
Bytes plain_http_answer();

// For a stream of a hostname that the agent reset with `code` before any byte of an answer: a page where we
// ended TLS, otherwise the only thing a TLS client understands. `reason`: what the agent told of its origin,
// or empty.
Bytes refusal_answer(tunnel::StreamKind kind, endpoint::AppCode code, std::string_view reason);

// The same for an origin beside the edge; `reason`: what the edge has seen.
Bytes local_refusal_answer(tunnel::StreamKind kind, endpoint::AppCode code, std::string_view reason);

// Sends a short message and ends the connection so that the client gets to read it. The bounded last act of a
// refused connection: about a second at most.
net::Task<> say_and_close(std::unique_ptr<net::ByteStream> socket, Bytes message);

}  // namespace culvert::edge
