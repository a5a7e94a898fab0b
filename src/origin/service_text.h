#pragma once
#include <string_view>
#include <vector>

#include "origin/service.h"
#include "route/picker.h"

namespace culvert::origin {

// The short form "app.example.com=ORIGIN[,terminate|,passthrough][,OPTION]...", with an origin like
// "localhost:3000" or "unix:/run/app.sock", and the options "proxy=v2" or "proxy=none", "tls=NAME" and
// "insecure", "http=" with an origin or "none", and "health=" with "tcp", "tls", "http" or a path.
Result<Service> parse_service(std::string_view text);

// The short form of a static route: that of a service with a hostname, or "tcp/2222=ORIGIN[,OPTION]..." for a
// port; with the further options "priority=" and "weight=".
struct RouteText {
  Service service;
  route::Share share = {};
};
Result<RouteText> parse_route(std::string_view text);

// The short form "ssh=ORIGIN[,port=2222][,OPTION]..."; without a port the hub picks one. A UDP service has an
// origin "HOST:PORT", and of the options only "proxy="; it may have a range, "port=40000-40100", whose ports
// go to as many of the origin from its port on, or with "origin-ports=one" to that.
Result<Service> parse_port_service(route::PortProtocol protocol, std::string_view text);

// A JSON array of {"hostname","origin","tls_mode"?,"proxy_protocol"?}, where tls_mode is a string or {"mode":
// string}, and of {"protocol":"tcp" or "udp","name","origin","listen_port"?,"proxy_protocol"?}, where
// listen_port is a number, or for "udp" a range like "40000-40100", which may have "origin_ports", "each" or
// "one"; each may have "origin_server_name", and with it "origin_tls", "origin_ca_file", "origin_cert_file"
// and "origin_key_file", and "health", a string or {"check","path"?,"interval"?,"timeout"?,"fall"?,"rise"?},
// but for "udp"; one with passthrough "http_origin", an origin or "none". kInvalid names the entry, the
// member and what is allowed; unknown members and duplicates are errors.
Result<std::vector<Service>> parse_services(std::string_view json);

}  // namespace culvert::origin
