#pragma once
#include "base/backoff.h"
#include "base/result.h"

namespace culvert::agent {

// Whether a failed declaration is the hub's final word, which only a person can change: the invite is
// revoked, expired or unknown, or the declaration is wrong. An unreachable or busy hub has refused nothing.
inline bool is_refusal(const Error& error) {
  return error.code == ErrorCode::kUnauthorized || error.code == ErrorCode::kNotFound ||
         error.code == ErrorCode::kInvalid || error.code == ErrorCode::kConflict;
}

// The cap of the back-off between declarations. A refusal counts until a declaration succeeds: a hub that is
// away or limits a rate in between has taken nothing back.
class RetryCap {
 public:
  Duration after(const Error& error) {
    refused_ = refused_ || is_refusal(error);
    return refused_ ? Backoff::kRefusedCap : Backoff::kCap;
  }
  void reset() { refused_ = false; }

 private:
  bool refused_ = false;
};

}  // namespace culvert::agent
