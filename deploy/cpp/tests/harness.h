// What the tests share: the service's program, windows, scripts that stand in for it, and a place to collect replies.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "vinocast/inference_engine.h"

namespace harness {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::size_t context = 512;
constexpr std::size_t channels = 7;
constexpr std::size_t horizon = 96;

/// VINOCAST_PROGRAM, or what `make serve` installs.
std::string program();

/// Options for the real service, with times that a busy machine keeps, and its messages out of the way.
vinocast::Options options();

/// A random walk [context][channels]; the same for the same seed.
std::vector<float> window(std::uint32_t seed);

vinocast::ForecastRequest forecast(const std::vector<float>& values, std::vector<std::string> targets = {});

/// A folder of its own for each test, removed with it.
class Folder {
 public:
  Folder();
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  /// Writes an executable shell script, in which $PROGRAM is the real service's program; returns its path.
  std::string script(const std::string& text) const;
  std::string path(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

/// A reply to the ping, as a line of a script.
extern const std::string pong;

/// Collects the replies of many requests.
class Replies {
 public:
  vinocast::Callback collector();
  /// Waits until that many have come, for a minute at most; returns them all.
  std::vector<vinocast::Reply> wait(std::size_t count);

 private:
  std::mutex mutex_;
  std::condition_variable came_;
  std::vector<vinocast::Reply> replies_;
};

std::size_t count(const std::vector<vinocast::Reply>& replies, vinocast::Outcome outcome);

/// Calls `condition` until it holds, for a minute at most; returns whether it does.
template <typename Condition>
bool eventually(Condition&& condition) {
  for (int i = 0; i < 6000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(milliseconds(10));
  }
  return condition();
}

/// Whether a process exists.
bool exists(int pid);

/// The open descriptors of this program.
std::vector<int> descriptors();

/// Whether a process has open what this program has open as `fd`.
bool holds(int pid, int fd);

}  // namespace harness
