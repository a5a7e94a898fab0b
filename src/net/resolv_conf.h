#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/socket_addr.h"

// The files that decide how a host resolves names. Text in, values out: reading them is the resolver's part.
namespace culvert::net {

// resolv.conf(5). The wait for one answer is shorter than the customary 5 s unless the file says otherwise:
// with one dead name server of two, it is what each new name costs.
struct ResolvConf {
  std::vector<SocketAddr> servers;  // 127.0.0.1 when the file names none
  std::vector<std::string> search;
  unsigned ndots = 1;
  Duration timeout = std::chrono::seconds(2);
  unsigned attempts = 2;
  bool rotate = false;
};

// Lines that it does not know are skipped, as every resolver does.
ResolvConf parse_resolv_conf(std::string_view text);

// How long a question may stay unanswered: each attempt waits for every server in turn, twice as long as the
// attempt before.
Duration longest_wait(const ResolvConf& conf);

// Fewer attempts, of which two packets remain, and then shorter ones, until that is within `limit`.
void limit_wait(ResolvConf& conf, Duration limit);

// The names to ask for, in order: the name itself and the name below each search domain; all without a final
// dot. A name that ends with a dot is complete.
std::vector<std::string> search_candidates(const ResolvConf& conf, std::string_view name);

// The addresses (port 0) that hosts(5) gives a name, in the file's order, each once; the first 16.
std::vector<SocketAddr> find_in_hosts(std::string_view text, std::string_view name);

}  // namespace culvert::net
