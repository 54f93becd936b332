// From one process to the next: start, death, restart, end. All but close() runs in the engine's thread.
#pragma once

#include "supervisor.h"

namespace vinocast::detail {

inline void Supervisor::close() {
  if (!at_home()) return;
  if (in_engine_thread()) {
    throw std::logic_error("vinocast: close() was called from a callback");
  }
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    close_requested_ = true;
  }
  wake();
  const std::lock_guard<std::mutex> lock(close_mutex_);
  if (thread_.joinable()) thread_.join();
}

inline void Supervisor::start() {
  std::vector<std::string> arguments{"stdio"};
  arguments.insert(arguments.end(), options_.arguments.begin(), options_.arguments.end());
  ++generation_;
  stdout_closed_ = false;
  ready_since_.reset();
  kill_reason_.clear();
  replies_.reset();
  logs_.reset();
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    try {
      process_.spawn(options_.program, arguments, static_cast<bool>(options_.on_stderr));
      phase_ = Phase::starting;
    } catch (const std::system_error& error) {
      kill_reason_ = std::string(error.what()) + "; put it in PATH, or set Options::program";
    }
  }
  if (!kill_reason_.empty()) {
    restart_or_give_up(kill_reason_, {});
    return;
  }
  // Answered once the default model is ready or has been refused. The pipe is empty: it fits.
  write_some(process_.stdin_fd(), "{\"request_id\":0,\"op\":\"ping\"}\n", {});
  stage_timer_ = Clock::now() + options_.start_timeout;
}

inline void Supervisor::take_pong(const simdjson::dom::object& object) {
  ServiceInfo info;
  if (phase_ != Phase::starting || !ReplyReader::read(object, info)) {
    count_garbage();
    return;
  }
  if (!info.ready) {
    kill_process("refused its default model: " + info.default_model_info().error);
    return;
  }
  info.pid = process_.pid();
  info.generation = generation_;
  const std::string message = "vinocast " + info.version + " is ready, process " + std::to_string(info.pid);
  stage_timer_ = Time::max();
  ready_since_ = Clock::now();
  ever_ready_ = true;
  max_request_bytes_ = info.max_request_bytes;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    service_ = std::move(info);
    phase_ = Phase::ready;
    flush_outbox();
  }
  settled_.notify_all();
  tell({Event::Kind::ready, generation_, message, {}, {}});
}

inline void Supervisor::kill_process(std::string reason) {
  kill_reason_ = std::move(reason);
  stage_timer_ = Time::max();
  process_.signal(SIGKILL);
}

inline void Supervisor::stage_over() {
  switch (phase_) {
    case Phase::starting:
    case Phase::ready:
      kill_process(stdout_closed_ ? "closed its output"
                                  : "was not ready after " + std::to_string(options_.start_timeout.count()) + " ms");
      break;
    case Phase::waiting: start(); break;
    case Phase::draining: push_towards_the_end(); break;
    case Phase::ended: break;
  }
}

inline void Supervisor::process_ended() {
  process_.signal(SIGKILL);  // what a wrapper script left behind would go on writing
  // Bounded by what a pipe holds.
  for (int reads = 0; reads < 64 && process_.stdout_fd() >= 0; ++reads) {
    const auto result = replies_.fill(process_.stdout_fd());
    take_lines();
    if (result != LineReader::Read::some) break;
  }
  for (int reads = 0; reads < 64 && process_.stderr_fd() >= 0; ++reads) {
    const auto result = logs_.fill(process_.stderr_fd());
    Line line;
    while (logs_.next(line)) call(options_.on_stderr, std::string_view(line.data, line.size));
    if (result != LineReader::Read::some) break;
  }
  const bool draining = phase_ == Phase::draining;
  std::string how = kill_reason_;
  Ending ending;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const std::string status = process_.reap();
    if (how.empty()) how = status + (phase_ == Phase::starting ? " before it was ready" : "");
    if (!draining) phase_ = Phase::waiting;
    outbox_.drop_started();
    errors_without_id_ = 0;
    in_flight_.for_each([&](Pending& pending) {
      if (!pending.sent) return;
      if (!pending.ended) in_flight_.end(pending, Outcome::lost, "the service " + how, ending);
      in_flight_.remove(pending);
    });
  }
  if (draining) {
    deliver(ending);
    finish("the engine is closed");
  } else {
    restart_or_give_up(options_.program + " " + how, std::move(ending));
  }
}

inline void Supervisor::restart_or_give_up(const std::string& why, Ending lost) {
  if (ready_since_ && Clock::now() - *ready_since_ >= options_.stable_after) {
    restarts_in_a_row_ = 0;
    backoff_ = options_.first_backoff;
  }
  Event event{Event::Kind::died, generation_, why, {}, backoff_};
  for (const auto& [done, reply] : lost) event.lost.push_back(reply.id);
  deliver(lost);
  if (!ever_ready_ || restarts_in_a_row_ == options_.max_restarts) {
    event.kind = Event::Kind::gave_up;
    event.restart_in = Millis(0);
    tell(event);
    finish(why);
    return;
  }
  tell(event);
  ++restarts_in_a_row_;
  stage_timer_ = Clock::now() + backoff_;
  backoff_ = std::min(backoff_ * 2, options_.max_backoff);
  const std::lock_guard<std::mutex> lock(mutex_);
  phase_ = Phase::waiting;
  ++in_flight_.counters.restarts;
}

inline void Supervisor::begin_to_drain() {
  if (!process_.running()) {
    finish("the engine is closed");
    return;
  }
  const bool ready = phase_ == Phase::ready;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    phase_ = Phase::draining;
    // A service that has yet to load its model is not waited for.
    if (!ready) outbox_.clear();
  }
  drain_stage_ = 0;
  stage_timer_ = Clock::now() + (ready ? options_.drain_timeout : Millis(0));
  close_input_when_written();
}

inline void Supervisor::close_input_when_written() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (outbox_.empty()) process_.close_stdin();
}

inline void Supervisor::push_towards_the_end() {
  constexpr Millis kill_timeout{2000};
  switch (drain_stage_++) {
    case 0:
      process_.signal(SIGTERM);
      stage_timer_ = Clock::now() + options_.terminate_timeout;
      break;
    case 1:
      process_.signal(SIGKILL);
      stage_timer_ = Clock::now() + kill_timeout;
      break;
    default: {
      const std::lock_guard<std::mutex> lock(mutex_);
      process_.abandon();
    }
      finish("the engine is closed");
      break;
  }
}

inline void Supervisor::finish(const std::string& why) {
  Ending ending;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    phase_ = Phase::ended;
    why_ended_ = why;
    outbox_.clear();
    in_flight_.for_each([&](Pending& pending) {
      if (!pending.ended) in_flight_.end(pending, pending.sent ? Outcome::lost : Outcome::unavailable, why, ending);
      in_flight_.remove(pending);
    });
  }
  deliver(ending);
  settled_.notify_all();
}

}  // namespace vinocast::detail
