// The engine's thread as it turns: what the service says, and what takes too long.
#pragma once

#include "supervisor.h"

namespace vinocast::detail {

inline void Supervisor::run() {
  engine_thread_ = std::this_thread::get_id();
  start();
  while (phase_ != Phase::ended) turn();
}

inline void Supervisor::turn() {
  bool has_output = false;
  Time until = stage_timer_;
  bool drain = false;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    drain = close_requested_ && phase_ != Phase::draining;
    has_output = !outbox_.empty() && (phase_ == Phase::ready || phase_ == Phase::draining);
    until = std::min(until, requests_timer_);
  }
  if (drain) {
    begin_to_drain();
    return;
  }

  enum { wake_up, child_ended, child_output, child_log, child_input, sources };
  // poll() skips negative descriptors.
  pollfd polled[sources] = {{wake_.get(), POLLIN, 0},
                            {process_.pidfd(), POLLIN, 0},
                            {process_.stdout_fd(), POLLIN, 0},
                            {process_.stderr_fd(), POLLIN, 0},
                            {has_output ? process_.stdin_fd() : -1, POLLOUT, 0}};
  ::poll(polled, sources, poll_timeout(until));

  if (polled[wake_up].revents != 0) {
    std::uint64_t ignored = 0;
    [[maybe_unused]] const ssize_t count = ::read(wake_.get(), &ignored, sizeof ignored);
  }
  if (polled[child_output].revents != 0) read_replies();
  if (polled[child_log].revents != 0) read_logs();
  if (polled[child_input].revents != 0) {
    const std::lock_guard<std::mutex> lock(mutex_);
    flush_outbox();
  }
  if (process_.running() && (polled[child_ended].revents != 0 || (process_.pidfd() < 0 && process_.ended()))) {
    process_ended();
    return;
  }
  const Time now = Clock::now();
  if (now >= requests_timer()) expire_requests(now);
  if (now >= stage_timer_) stage_over();
  if (phase_ == Phase::draining) close_input_when_written();
}

inline int Supervisor::poll_timeout(Time until) const {
  // Without a pidfd nothing tells of a death that leaves the pipes open.
  constexpr Millis look_around{50};
  Millis longest = process_.running() && process_.pidfd() < 0 ? look_around : Millis(3'600'000);
  const auto left = std::chrono::ceil<Millis>(until - Clock::now());
  return static_cast<int>(std::clamp(left, Millis(0), longest).count());
}

inline void Supervisor::read_replies() {
  const auto result = replies_.fill(process_.stdout_fd());
  take_lines();
  if (result != LineReader::Read::end) return;
  process_.close_stdout();
  stdout_closed_ = true;
  // A dying process closes its output a moment before it has ended; one that goes on living is of no use.
  if (phase_ != Phase::draining) stage_timer_ = std::min(stage_timer_, Clock::now() + Millis(1000));
}

inline void Supervisor::take_lines() {
  const std::uint64_t overlong = replies_.overlong();
  Line line;
  while (replies_.next(line)) take_line(line);
  if (replies_.overlong() != overlong) count_garbage();
}

inline void Supervisor::take_line(const Line& line) {
  simdjson::dom::object object;
  std::uint64_t id = 0;
  if (!reader_.parse(line, object)) {
    count_garbage();
  } else if (!ReplyReader::read_id(object, id)) {
    Reply reply;
    if (ReplyReader::read_pushed(object, reply)) {
      take_pushed(std::move(reply));
    } else if (reply = {}; ReplyReader::read_error_without_id(object, reply)) {
      take_error_without_id(std::move(reply));
    } else {
      count_garbage();
    }
  } else if (id == 0) {
    take_pong(object);
  } else {
    Reply reply;
    if (!ReplyReader::read(object, reply)) {
      reply.outcome = Outcome::service_error;
      reply.error = {"malformed_reply", "the service sent a reply that is not as docs/protocol.md says", "", false};
    }
    take_reply(id, std::move(reply));
  }
}

inline void Supervisor::take_reply(std::uint64_t id, Reply&& reply) {
  Callback done;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    Pending* pending = in_flight_.find(id);
    if (pending == nullptr || !pending->sent) {
      ++in_flight_.counters.garbage_lines;
      return;
    }
    if (pending->ended) {
      ++in_flight_.counters.late_replies;
      in_flight_.remove(*pending);
      return;
    }
    done = in_flight_.end(*pending, reply);
    in_flight_.remove(*pending);
  }
  call(done, std::move(reply));
}

inline void Supervisor::take_pushed(Reply&& reply) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++in_flight_.counters.pushed;
  }
  if (options_.on_forecast) call(options_.on_forecast, std::move(reply));
}

inline void Supervisor::take_error_without_id(Reply&& reply) {
  std::uint64_t only = 0;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::size_t owed = 0;
    in_flight_.for_each([&](const Pending& pending) {
      if (pending.sent && ++owed == 1) only = pending.id;
    });
    if (owed != 1) {
      ++in_flight_.counters.garbage_lines;
      errors_without_id_ = std::min(errors_without_id_ + 1, owed);
      return;
    }
    errors_without_id_ = 0;
  }
  take_reply(only, std::move(reply));
}

inline void Supervisor::read_logs() {
  const auto result = logs_.fill(process_.stderr_fd());
  Line line;
  while (logs_.next(line)) call(options_.on_stderr, std::string_view(line.data, line.size));
  if (result == LineReader::Read::end) process_.close_stderr();
}

inline void Supervisor::flush_outbox() {
  if (process_.stdin_fd() < 0) return;
  outbox_.flush(process_.stdin_fd(), [this](std::uint64_t id) { in_flight_.find(id)->sent = true; });
}

inline Supervisor::Time Supervisor::requests_timer() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return requests_timer_;
}

inline void Supervisor::expire_requests(Time now) {
  Ending ending;
  bool hangs = false;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    requests_timer_ = Time::max();
    in_flight_.for_each([&](Pending& pending) {
      if (!pending.ended && pending.deadline <= now) {
        in_flight_.end(pending, Outcome::timed_out, "no answer in time", ending);
        if (!pending.sent) {
          outbox_.remove(pending.id);
          in_flight_.remove(pending);
          return;
        }
        pending.ended = true;
      }
      const Time next = pending.ended ? pending.deadline + options_.hang_timeout : pending.deadline;
      if (pending.ended && next <= now && errors_without_id_ > 0) {
        --errors_without_id_;
        in_flight_.remove(pending);
      } else if (pending.ended && next <= now) {
        hangs = true;
      } else {
        requests_timer_ = std::min(requests_timer_, next);
      }
    });
  }
  deliver(ending);
  if (hangs && phase_ == Phase::ready) {
    kill_process("owed an answer for " + std::to_string(options_.hang_timeout.count()) +
                 " ms beyond the request's time");
  }
}

inline void Supervisor::count_garbage() {
  const std::lock_guard<std::mutex> lock(mutex_);
  ++in_flight_.counters.garbage_lines;
}

inline void Supervisor::deliver(Ending& ending) const {
  for (auto& [done, reply] : ending) call(done, std::move(reply));
}

inline void Supervisor::tell(const Event& event) const {
  if (options_.on_event) call(options_.on_event, event);
}

}  // namespace vinocast::detail
