// Keeps a service process running and its requests moving: the engine's one thread, and what callers share with it.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <poll.h>
#include <sys/eventfd.h>

#include "child_process.h"
#include "home_process.h"
#include "in_flight.h"
#include "line_transport.h"
#include "messages.h"
#include "options.h"
#include "reply_reader.h"
#include "wire.h"

namespace vinocast {

/// The service could not be started; the message says why and names the program.
class StartError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

namespace detail {

/// One service process after another, and the requests to them.
///
/// Callers write requests themselves, under the lock; the thread reads replies, ends what takes too long, and starts,
/// restarts and stops processes. It never waits but in poll(), and never calls back with the lock held.
///
/// A forked child has a copy of all this, but neither the thread nor a right to the service: every public function
/// looks at at_home() before it takes a lock, which another thread may have held when the child was forked.
class Supervisor {
  using Time = Clock::time_point;
  using Millis = std::chrono::milliseconds;

 public:
  /// Starts the service and waits until it is ready; throws StartError when it does not get there.
  explicit Supervisor(Options options)
      : options_(std::move(options)),
        wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        replies_(options_.max_reply_bytes),
        logs_(options_.max_reply_bytes),
        backoff_(options_.first_backoff),
        in_flight_(std::max<std::size_t>(options_.max_in_flight, 1)) {
    if (!wake_) throw_errno("eventfd");
    // The engine's thread runs none of the program's signal handlers: it starts with everything blocked.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      thread_ = std::thread(&Supervisor::run, this);
    } catch (...) {
      ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
      throw;
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    std::unique_lock<std::mutex> lock(mutex_);
    settled_.wait(lock, [this] { return phase_ == Phase::ready || phase_ == Phase::ended; });
    if (phase_ == Phase::ready) return;
    lock.unlock();
    thread_.join();
    throw StartError(why_ended_);
  }

  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;
  ~Supervisor() { close(); }

  /// Whether this is the process that made it, not one that was forked since.
  bool at_home() const noexcept { return home_.here(); }

  /// Leaves it to the process that made it: closes a forked child's copies of the descriptors. Nothing is destroyed, as
  /// threads that the child does not have may hold or await any part of it.
  void leave() noexcept {
    process_.abandon();
    wake_.reset();
    // Kept where a leak checker finds it.
    static std::atomic<Supervisor*> last_left{nullptr};
    left_before_ = last_left.exchange(this);
  }

  const Options& options() const noexcept { return options_; }
  /// Whether this is the thread that calls back, in which nothing may wait for a reply.
  bool in_engine_thread() const noexcept { return at_home() && std::this_thread::get_id() == engine_thread_; }

  /// What the service said when it last became ready; nothing in a forked child.
  ServiceInfo service() const {
    if (!at_home()) return {};
    const std::lock_guard<std::mutex> lock(mutex_);
    return service_;
  }

  /// The longest line that the service takes; 0 where it has not said.
  std::size_t max_request_bytes() const noexcept { return max_request_bytes_; }

  /// What was counted so far; nothing in a forked child.
  Counters counters() const {
    if (!at_home()) return {};
    const std::lock_guard<std::mutex> lock(mutex_);
    return in_flight_.counters;
  }

  /// Sends a request, of which `body` is the line behind the id, or refuses it; `done` is called once either way.
  /// Returns the request's id, 0 if it was refused.
  std::uint64_t send(const std::string& body, Time now, Millis timeout, std::optional<std::int64_t> timestamp_ms,
                     Callback done) {
    if (!at_home()) {
      refuse(ended_as(Outcome::unavailable,
                      "this process was forked from the one that made the engine, and has to make "
                      "an engine of its own"),
             now, timestamp_ms, done);
      return 0;
    }
    std::uint64_t id = 0;
    Outcome refused = Outcome::overloaded;
    bool engine_must_look = false;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (close_requested_ || phase_ == Phase::ended) {
        refused = Outcome::unavailable;
      } else if (Pending* pending = in_flight_.add(); pending != nullptr) {
        id = pending->id;
        pending->done = std::move(done);
        pending->submitted = now;
        pending->deadline = now + timeout;
        pending->timestamp_ms = timestamp_ms;
        engine_must_look = write(*pending, body);
        if (pending->deadline < requests_timer_) {
          requests_timer_ = pending->deadline;
          engine_must_look = true;
        }
      }
      if (id == 0) in_flight_.count(refused);
    }
    if (engine_must_look) wake();
    if (id != 0) return id;
    refuse(ended_as(refused, refused == Outcome::overloaded ? "as many requests are in flight as max_in_flight allows"
                                                            : "the engine is closed, or has given up on the service"),
           now, timestamp_ms, done);
    return 0;
  }

  /// Ends a request that is not sent.
  static void refuse(Reply reply, Time now, std::optional<std::int64_t> timestamp_ms, const Callback& done) {
    reply.timestamp_ms = timestamp_ms;
    reply.round_trip = Clock::now() - now;
    done(std::move(reply));
  }

  /// Counts a request that was refused before send().
  void count(Outcome outcome) {
    if (!at_home()) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    in_flight_.count(outcome);
  }

  /// As InferenceEngine::close().
  void close();

 private:
  enum class Phase {
    starting,  // a process runs and has not answered its ping
    ready,
    waiting,   // no process; the next one is started when the pause is over
    draining,  // close() was called; the process is to end
    ended,
  };

  /// Writes a request, or what the pipe takes of it; returns whether the engine's thread has to write the rest.
  bool write(Pending& pending, const std::string& body) {
    char start[longest_head];
    const std::string_view head(start, write_head(start, pending.id));
    std::size_t written = 0;
    if (phase_ == Phase::ready && outbox_.empty()) {
      written = write_some(process_.stdin_fd(), head, body);
      pending.sent = written > 0;
      if (written == head.size() + body.size()) return false;
    }
    outbox_.push(pending.id, head, body, written);
    return phase_ == Phase::ready;
  }

  /// Calls back, in the engine's thread. A child that the callback has forked, and in which it returns, has nothing to
  /// go back to: the thread and the service are its parent's.
  template <typename Function, typename... Arguments>
  void call(const Function& function, Arguments&&... arguments) const {
    function(std::forward<Arguments>(arguments)...);
    if (!at_home()) ::_exit(EXIT_FAILURE);
  }

  void wake() noexcept {
    const std::uint64_t one = 1;
    // Full means that a wake-up is on its way already.
    [[maybe_unused]] const ssize_t ignored = ::write(wake_.get(), &one, sizeof one);
  }

  // What the engine's thread does while a process runs: supervisor_loop.h.
  void run();
  /// Waits for the next thing to happen, and deals with it.
  void turn();
  int poll_timeout(Time until) const;
  void read_replies();
  void take_lines();
  void take_line(const Line& line);
  void take_reply(std::uint64_t id, Reply&& reply);
  /// Hands on a forecast that the service has made by itself.
  void take_pushed(Reply&& reply);
  /// An error without an id answers one of the requests that wait. It is known which where one waits alone; otherwise
  /// the answer is kept, so that the service is not taken for one that hangs.
  void take_error_without_id(Reply&& reply);
  void read_logs();
  /// With the lock.
  void flush_outbox();
  Time requests_timer() const;
  /// Ends the requests whose time is up, finds out whether the service hangs, and sets the timer anew.
  void expire_requests(Time now);
  void count_garbage();
  void deliver(Ending& ending) const;
  void tell(const Event& event) const;

  // From one process to the next: supervisor_stages.h.
  void start();
  void take_pong(const simdjson::dom::object& object);
  void kill_process(std::string reason);
  /// The time that the present phase may take is up.
  void stage_over();
  /// The process is gone: read what it left, end what it had, and arrange for the next one.
  void process_ended();
  /// Delivers the lost requests and plans the next start, or ends for good.
  void restart_or_give_up(const std::string& why, Ending lost);
  void begin_to_drain();
  void close_input_when_written();
  /// SIGTERM, then SIGKILL, then leave it: a killed process that does not end hangs in the kernel.
  void push_towards_the_end();
  /// Ends the engine: nothing is left waiting.
  void finish(const std::string& why);

  const HomeProcess home_;
  const Options options_;
  Descriptor wake_;

  // The engine's thread only.
  LineReader replies_;
  LineReader logs_;
  ReplyReader reader_;
  Time stage_timer_ = Time::max();   // until when the present phase may take
  std::optional<Time> ready_since_;  // of the present process
  bool ever_ready_ = false;          // whether any process has become ready
  std::string kill_reason_;          // why the process was killed from here, if it was
  bool stdout_closed_ = false;
  int drain_stage_ = 0;
  unsigned generation_ = 0;
  unsigned restarts_in_a_row_ = 0;
  Millis backoff_;  // before the next restart

  // Guarded by the lock; phase_, process_ and why_ended_ are changed by the engine's thread alone, which therefore
  // reads them without.
  mutable std::mutex mutex_;
  Phase phase_ = Phase::starting;
  ChildProcess process_;
  InFlight in_flight_;
  Outbox outbox_;
  // Not later than the next moment at which expire_requests() has work. It is left standing when requests are answered
  // before: waking up for nothing once in a while costs less than waking the thread for each request.
  Time requests_timer_ = Time::max();
  std::size_t errors_without_id_ = 0;  // of the present process, not claimed by a request yet
  bool close_requested_ = false;
  std::string why_ended_;
  ServiceInfo service_;

  std::atomic<std::size_t> max_request_bytes_{0};
  std::condition_variable settled_;
  std::mutex close_mutex_;
  std::thread thread_;
  std::thread::id engine_thread_;  // set before the constructor returns, and then left alone
  Supervisor* left_before_ = nullptr;
};

}  // namespace detail
}  // namespace vinocast
