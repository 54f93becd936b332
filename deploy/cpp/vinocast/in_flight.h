// The requests that wait for an answer: a fixed number of slots, found by id without hashing or allocating. And how
// they end, and how often which way.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "messages.h"

namespace vinocast::detail {

using Clock = std::chrono::steady_clock;

/// One request that waits. Its callback is moved out when it ends, so it can only end once.
struct Pending {
  std::uint64_t id = 0;  // 0: the slot is free
  Callback done{};
  Clock::time_point submitted{};
  Clock::time_point deadline{};
  std::optional<std::int64_t> timestamp_ms{};
  bool sent = false;   // at least a part of it has been written to the service
  bool ended = false;  // it has timed out, and the service still owes the answer
};

/// Requests taken out under a lock, to be told of it without the lock.
using Ending = std::vector<std::pair<Callback, Reply>>;

/// The reply of a request that ended without the service's.
inline Reply ended_as(Outcome outcome, std::string message) {
  Reply reply;
  reply.outcome = outcome;
  reply.error = {to_string(outcome), std::move(message), "", true};
  return reply;
}

/// The slots. An id is a multiple of the number of slots plus the slot, so a late reply never meets a later request.
class InFlight {
 public:
  explicit InFlight(std::size_t capacity) : slots_(capacity) {
    for (std::size_t slot = capacity; slot > 0; --slot) free_.push_back(slot - 1);
  }

  /// Takes a slot; null when all are taken.
  Pending* add() {
    if (free_.empty()) return nullptr;
    const std::size_t slot = free_.back();
    free_.pop_back();
    slots_[slot].id = ++sequence_ * slots_.size() + slot;
    return &slots_[slot];
  }

  /// The request of that id; null when it is not waiting (any more).
  Pending* find(std::uint64_t id) {
    Pending& pending = slots_[id % slots_.size()];
    return id != 0 && pending.id == id ? &pending : nullptr;
  }

  /// Frees a slot.
  void remove(Pending& pending) {
    free_.push_back(pending.id % slots_.size());
    pending = Pending{};
  }

  /// Ends a request with a reply from the service: completes and counts it. Returns what is to be called with it.
  Callback end(Pending& pending, Reply& reply) {
    reply.id = pending.id;
    reply.timestamp_ms = pending.timestamp_ms;
    reply.round_trip = Clock::now() - pending.submitted;
    count(reply.outcome);
    return std::move(pending.done);
  }

  /// Ends a request without the service.
  void end(Pending& pending, Outcome outcome, const std::string& message, Ending& ending) {
    Reply reply = ended_as(outcome, message);
    Callback done = end(pending, reply);
    ending.emplace_back(std::move(done), std::move(reply));
  }

  void count(Outcome outcome) noexcept {
    switch (outcome) {
      case Outcome::answered: ++counters.answered; break;
      case Outcome::service_error: ++counters.service_errors; break;
      case Outcome::timed_out: ++counters.timed_out; break;
      case Outcome::lost: ++counters.lost; break;
      case Outcome::overloaded: ++counters.overloaded; break;
      case Outcome::unavailable: ++counters.unavailable; break;
    }
  }

  std::size_t size() const noexcept { return slots_.size() - free_.size(); }

  Counters counters{};

  /// Calls `visit(Pending&)` for each request, which may remove it.
  template <typename Visit>
  void for_each(Visit&& visit) {
    for (Pending& pending : slots_) {
      if (pending.id != 0) visit(pending);
    }
  }

 private:
  std::vector<Pending> slots_;
  std::vector<std::size_t> free_;
  std::uint64_t sequence_ = 0;
};

}  // namespace vinocast::detail
