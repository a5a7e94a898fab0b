#pragma once
#include <string>
#include <vector>

#include "acme/manager.h"
#include "net/event_loop.h"
#include "route/snapshot.h"

namespace culvert::node {

// Where a node has its certificates of public CAs from. Lives on the control loop.
class NodeCertificates {
 public:
  virtual ~NodeCertificates() = default;

  // After the routes changed, and in place of all that were there.
  virtual void follow(const route::Delta& changes) = 0;
  virtual void replace(const route::Snapshot& routes) = 0;

  virtual void start() = 0;
  // The node serves only until its connections have ended.
  virtual void drain() {}
  // Orders that run are given up.
  virtual void close() = 0;
  virtual net::Task<> closed() = 0;

  // What is wrong with which name, and when it is tried again.
  virtual std::vector<std::string> faults() const = 0;
  virtual acme::Manager::Totals totals() const = 0;
};

}  // namespace culvert::node
