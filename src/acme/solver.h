#pragma once
#include <string>

#include "acme/challenge.h"
#include "base/result.h"
#include "net/event_loop.h"

namespace culvert::acme {

// What answers challenges: the edges on ports 443 and 80, and a name server. On the loop of its issuer.
class Solver {
 public:
  virtual ~Solver() = default;

  // Whether challenges of this type can be answered for this hostname (of a wildcard: what follows "*.").
  virtual bool can_answer(ChallengeType type, const std::string& name) const = 0;
  // Returns when the CA can see the answer, wherever it looks from; the solver bounds how long that takes. A
  // solver that finds that the name does not lead to it fails here: the CA would find the same, and count it.
  virtual net::Task<Result<>> publish(Challenge challenge) = 0;
  // Called once after each publish(), also one that failed or whose task was cancelled. Does not wait.
  virtual void withdraw(const Challenge& challenge) = 0;
};

}  // namespace culvert::acme
