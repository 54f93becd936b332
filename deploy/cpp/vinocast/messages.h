// What goes to the service and what comes back: requests, replies, and the ways a request can end.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "market.h"

namespace vinocast {

/// Numbers of several rows, oldest row first, one row after the other. Does not own them: they are read while the call
/// that was given them runs, and not later.
struct Rows {
  const float* values = nullptr;
  std::size_t rows = 0;
  std::size_t channels = 0;

  /// Numbers in all.
  std::size_t size() const noexcept { return rows * channels; }
};

/// How the numbers of a request travel. Both arrive exactly as they were.
enum class Encoding {
  base64,  ///< the bytes of the floats: half the size and a tenth of the work
  json,    ///< shortest digits that read back as the same float: readable in a log
};

/// Asks for a forecast of a window, or of a stream that the service keeps. Exactly one of the two is to be set.
struct ForecastRequest {
  Rows window{};                                       ///< [context][channels], in any unit
  std::string stream{};                                ///< name of a stream that was observed
  std::vector<std::string> targets{};                  ///< channels to forecast, in this order; empty: all of them
  std::vector<double> quantile_levels{};               ///< each in 0..1
  std::size_t prediction_length = 0;                   ///< steps; 0: as many as the model has
  bool interpolate = false;                            ///< whether missing numbers are filled in a straight line
  std::string model{};                                 ///< empty: the service's default model
  std::optional<std::int64_t> timestamp_ms{};          ///< yours; comes back in the reply
  std::optional<std::chrono::milliseconds> timeout{};  ///< empty: Options::timeout
};

/// Appends rows to a stream that the service keeps; the first one creates the stream.
struct ObserveRequest {
  std::string stream{};
  Rows rows{};                                         ///< one or several, oldest first
  std::string model{};                                 ///< whose channels the rows have; empty: the default model
  std::optional<std::int64_t> timestamp_ms{};          ///< of the last row; has to rise within a stream
  std::optional<std::chrono::milliseconds> timeout{};  ///< empty: Options::timeout
};

/// How a request ended. Every request ends exactly once, in exactly one of these ways.
enum class Outcome {
  answered,       ///< the reply holds the result
  service_error,  ///< refused, by the service or before it; Reply::error says why and where
  timed_out,      ///< no answer in time; one that still comes is dropped
  lost,           ///< the service died after it had been sent at least a part: whether it took effect is unknown
  overloaded,     ///< not sent: as much is in flight as Options::max_in_flight allows
  unavailable,    ///< not sent: the engine is closed, has given up on the service, or is a forked parent's
};

/// The outcome's name, as above.
inline const char* to_string(Outcome outcome) noexcept {
  switch (outcome) {
    case Outcome::answered: return "answered";
    case Outcome::service_error: return "service_error";
    case Outcome::timed_out: return "timed_out";
    case Outcome::lost: return "lost";
    case Outcome::overloaded: return "overloaded";
    case Outcome::unavailable: return "unavailable";
  }
  return "unknown";
}

/// Why a request was not answered. For the service's errors the fields are the service's; for the other outcomes
/// `code` is the outcome's name.
struct Error {
  std::string code{};
  std::string message{};
  std::string field{};     ///< path of the fault, such as past_values[3][0]; empty where there is none
  bool retryable = false;  ///< whether the same request may succeed later
};

/// Below which value so great a share of outcomes is expected to lie.
struct Quantile {
  double level = 0;
  std::vector<float> values{};  ///< as Reply::predictions
};

/// How one request ended. A forecast that the service has pushed has this form, too.
struct Reply {
  /// The engine's number of the request, which also went over the wire; 0 if it was not sent, or if there was none.
  std::uint64_t id = 0;
  Outcome outcome = Outcome::unavailable;
  std::optional<std::int64_t> timestamp_ms{};  ///< the request's
  std::vector<float> predictions{};            ///< [horizon][targets], row by row, in the units of the window
  std::size_t horizon = 0;
  std::size_t targets = 0;
  std::vector<std::string> channels{};  ///< the targets' names, in their order
  std::vector<Quantile> quantiles{};    ///< by level, ascending
  std::string stream{};                 ///< bars, and what was pushed
  std::vector<ClosedBar> closed{};      ///< feed, history: the bars that have closed, in their order
  std::vector<Bar> bars{};              ///< bars: oldest first
  FeedCounts counts{};                  ///< feed, history: of this request; bars: since the stream began
  std::vector<std::string> warnings{};  ///< what is answered, but not as it might have been meant
  std::size_t rows = 0;                 ///< observe: rows that the stream holds now
  std::size_t missing = 0;              ///< observe: rows still to come before the stream can be forecast
  /// Of a stream's forecast: the time of its newest row or the start of its newest bar, in ms.
  std::optional<std::int64_t> newest_timestamp_ms{};
  double inference_ms = 0;                 ///< the model alone
  double queue_ms = 0;                     ///< waiting in the service for its turn
  std::chrono::nanoseconds round_trip{0};  ///< from the call to the moment before the caller gets this
  std::string model{};
  Error error{};

  /// Whether there is a result.
  bool ok() const noexcept { return outcome == Outcome::answered; }
  /// The forecast `step` steps ahead (0 is the next one) of a target. Both must be in range.
  float at(std::size_t step, std::size_t target = 0) const { return predictions[step * targets + target]; }
};

/// Receives a reply. Runs in the engine's thread, or in the calling one if the request is refused at once. It must not
/// throw, should be quick (all replies wait for it), and may submit further requests, but not wait for one.
using Callback = std::function<void(Reply&&)>;

/// A model as the service reports it.
struct ModelInfo {
  std::string name{};
  std::string state{};  ///< "ready" once it has passed its self-test
  std::string error{};  ///< why it was refused; empty otherwise
  std::size_t context = 0;
  std::size_t horizon = 0;
  std::vector<std::string> channels{};
};

/// The service as it reported itself when it became ready.
struct ServiceInfo {
  std::string version{};
  std::string default_model{};
  std::string profile{};
  bool ready = false;
  std::size_t max_request_bytes = 0;  ///< longest line that it takes; 0: it has not said
  std::vector<ModelInfo> models{};
  int pid = 0;
  unsigned generation = 0;  ///< 1 for the first process, one more with each restart

  /// The default model; empty fields if the service named none.
  ModelInfo default_model_info() const {
    for (const ModelInfo& model : models) {
      if (model.name == default_model) return model;
    }
    return {};
  }
};

/// Something that happened to the service.
struct Event {
  enum class Kind {
    ready,    ///< a process is ready; streams of earlier processes are gone with them
    died,     ///< a process has ended without being asked to; another is started after a pause
    gave_up,  ///< too many restarts in a row failed; from here on requests end as unavailable
  };
  Kind kind = Kind::ready;
  unsigned generation = 0;
  std::string message{};
  std::vector<std::uint64_t> lost{};  ///< died: ids of the requests that ended as lost, in no order
  std::chrono::milliseconds restart_in{0};
};

/// What an engine has counted since it was made.
struct Counters {
  std::uint64_t answered = 0;
  std::uint64_t service_errors = 0;
  std::uint64_t timed_out = 0;
  std::uint64_t lost = 0;
  std::uint64_t overloaded = 0;
  std::uint64_t unavailable = 0;
  std::uint64_t pushed = 0;         ///< forecasts, or errors in their place, that the service has sent by itself
  std::uint64_t late_replies = 0;   ///< answers to requests that had timed out; dropped
  std::uint64_t garbage_lines = 0;  ///< lines of the service's output that are no reply to anything; skipped
  std::uint64_t restarts = 0;
};

}  // namespace vinocast
