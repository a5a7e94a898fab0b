#pragma once
#include <optional>
#include <set>

#include "edge/carried.h"
#include "edge/context.h"
#include "edge/opening.h"
#include "edge/origin_carrier.h"
#include "edge/public_connection.h"
#include "edge/tunnels.h"

namespace culvert::edge {

// Gives public connections of one worker to agents, or to origins beside the edge: picks one, moves the
// connection to the worker that has the tunnel, opens a stream or a connection to the origin, tries another
// where one does not answer, and carries the bytes to the end.
class Carrier {
 public:
  // The references outlive it; `scratch` outlives everything that it carries.
  Carrier(WorkerContext& context, Tunnels& tunnels, Admission& admission, MutableBytes scratch)
      : context_(context),
        tunnels_(tunnels),
        admission_(admission),
        scratch_(scratch),
        origins_(context, scratch) {}
  Carrier(const Carrier&) = delete;

  // Until it is carried, moved or refused. Nothing is missing but an agent: `host` or `port`, and `kind`, are
  // those of a route, and TLS is ended where its mode says so.
  net::Task<> give_to_agent(PublicConnection connection);
  // One for which another worker picked a tunnel of this worker.
  net::Task<> adopt(PublicConnection connection);
  // After the routes changed: cuts what they no longer give to its agent.
  void recheck(const route::Delta& changes);
  // Connections that go to origins beside the edge, or are to.
  size_t local_connections() const { return local_.size() + origins_.reaching(); }
  // Ends these.
  void cut_local();
  // What its pumps have moved; from any thread.
  tunnel::PumpCounters moved() const { return moved_.get(); }

 private:
  const route::Route* route_of(const PublicConnection& connection) const;
  bool has_other_agent(const PublicConnection& connection) const;
  bool has_better_agent(const PublicConnection& connection) const;
  bool take_tenant(PublicConnection& connection, const route::Route& route);
  net::Task<std::optional<PublicConnection>> try_agent(PublicConnection connection, SessionPtr session);
  net::Task<std::optional<PublicConnection>> try_origin(PublicConnection connection);
  net::Task<std::optional<PublicConnection>> answer_challenge(PublicConnection connection);
  std::optional<PublicConnection> take_back(PublicConnection connection, const Opening& opening);
  void move_to_worker(PublicConnection connection);
  void carry(PublicConnection connection, const route::Route& route, Opening::Taken opened);
  void ended(uint64_t id, tunnel::PumpResult result);
  bool may_fail_over(const PublicConnection& connection, const tunnel::PumpResult& result) const;
  OriginRefusal refusal_of(const PublicConnection& connection, endpoint::AppCode code) const;
  void count_refused(const PublicConnection& connection);
  net::Task<> refuse_known(PublicConnection connection, Bytes answer);
  net::Task<> refuse_unanswered(PublicConnection connection);
  std::optional<TimePoint> waits_for_agents(const PublicConnection& connection) const;

  WorkerContext& context_;
  Tunnels& tunnels_;
  Admission& admission_;
  const MutableBytes scratch_;  // enough for a pump to fill many packets with one read
  tunnel::MovedBytes moved_;
  OriginCarrier origins_;
  Carried carried_;
  std::set<uint64_t> local_;  // those of carried_ that go to origins beside the edge
};

}  // namespace culvert::edge
