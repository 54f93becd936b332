// What a user may set, in one place.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "messages.h"

namespace vinocast {

/// Settings of an engine. The defaults suit a service on the same box that answers in milliseconds.
struct Options {
  /// The service's program: a path, or a name that is looked for in PATH.
  std::string program = "vinocast";
  /// What follows `stdio` on its command line, such as {"--models", "/srv/models"}.
  std::vector<std::string> arguments{};
  /// How windows and rows are sent.
  Encoding encoding = Encoding::base64;

  /// Requests that may wait for their answer; more end as overloaded at once. One that timed out counts until the
  /// service has answered it after all, so that a service that stands still is not buried in work.
  std::size_t max_in_flight = 64;
  /// How long a request waits for its answer; also sent as its deadline, past which the service does not compute it.
  std::chrono::milliseconds timeout{1000};
  /// A service that owes an answer for this long after the request has timed out is killed and restarted.
  std::chrono::milliseconds hang_timeout{30'000};
  /// Longest line of the service's output; a longer one is skipped.
  std::size_t max_reply_bytes = std::size_t{8} << 20U;

  /// How long a process may take to load its model and answer the first ping.
  std::chrono::milliseconds start_timeout{60'000};
  /// Pause before the first restart; doubled with each further one in a row, up to max_backoff.
  std::chrono::milliseconds first_backoff{100};
  std::chrono::milliseconds max_backoff{10'000};
  /// A service that was ready for this long was sound: the next restart begins a new row.
  std::chrono::milliseconds stable_after{10'000};
  /// Restarts in a row before the engine gives up.
  unsigned max_restarts = 10;

  /// close(): how long the service may take to answer what it has and to end by itself, before SIGTERM.
  std::chrono::milliseconds drain_timeout{2000};
  /// close(): how long it may take from SIGTERM on, before SIGKILL.
  std::chrono::milliseconds terminate_timeout{5000};

  /// Told of starts, deaths and restarts, in the engine's thread, the first time before the constructor returns. The
  /// rules of Callback hold.
  std::function<void(const Event&)> on_event{};
  /// Receives the forecasts that the service makes by itself because a bar of a market stream has closed, and errors in
  /// the place of those that could not be made, in the engine's thread: Reply::stream says which stream, and there is
  /// no id. The rules of Callback hold. Nothing is kept: until it returns, the engine reads no further. Empty: they are
  /// counted and dropped.
  std::function<void(Reply&&)> on_forecast{};
  /// Receives each line of the service's standard error, in the engine's thread. Empty: the service writes to this
  /// program's standard error.
  std::function<void(std::string_view)> on_stderr{};
};

}  // namespace vinocast
