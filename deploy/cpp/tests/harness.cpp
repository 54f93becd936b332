#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "harness.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <random>
#include <stdexcept>

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

namespace harness {

const std::string pong =
    R"(echo '{"request_id":0,"version":"test","ready":true,"default_model":"m","profile":"p","models":[]}')";

std::string program() {
  if (const char* named = std::getenv("VINOCAST_PROGRAM")) return named;
  const std::string installed = VINOCAST_REPOSITORY "/.venv/bin/vinocast";
  if (::access(installed.c_str(), X_OK) != 0) {
    throw std::runtime_error("no " + installed + ": run `make serve` once, or set VINOCAST_PROGRAM");
  }
  return installed;
}

vinocast::Options options() {
  vinocast::Options chosen;
  chosen.program = program();
  chosen.timeout = seconds(30);
  chosen.drain_timeout = seconds(20);
  chosen.first_backoff = milliseconds(20);
  chosen.on_stderr = [](std::string_view) {};
  return chosen;
}

std::vector<float> window(std::uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> step;
  std::vector<float> values(context * channels);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = (i < channels ? 100.0F : values[i - channels]) + step(generator);
  }
  return values;
}

vinocast::ForecastRequest forecast(const std::vector<float>& values, std::vector<std::string> targets) {
  vinocast::ForecastRequest request;
  request.window = {values.data(), values.size() / channels, channels};
  request.targets = std::move(targets);
  return request;
}

Folder::Folder() {
  const char* parent = std::getenv("TMPDIR");
  path_ = std::string(parent != nullptr ? parent : "/tmp") + "/vinocast-test-XXXXXX";
  if (::mkdtemp(path_.data()) == nullptr) throw std::runtime_error("mkdtemp failed for " + path_);
}

Folder::~Folder() {
  if (DIR* folder = ::opendir(path_.c_str())) {
    while (const dirent* entry = ::readdir(folder)) ::unlink(path(entry->d_name).c_str());
    ::closedir(folder);
  }
  ::rmdir(path_.c_str());
}

std::string Folder::script(const std::string& text) const {
  const std::string name = path("service.sh");
  std::ofstream(name) << "#!/bin/sh\nPROGRAM='" << program() << "'\n" << text << "\n";
  ::chmod(name.c_str(), 0755);
  return name;
}

vinocast::Callback Replies::collector() {
  return [this](vinocast::Reply&& reply) {
    const std::lock_guard<std::mutex> lock(mutex_);
    replies_.push_back(std::move(reply));
    came_.notify_all();
  };
}

std::vector<vinocast::Reply> Replies::wait(std::size_t count) {
  std::unique_lock<std::mutex> lock(mutex_);
  came_.wait_for(lock, seconds(60), [&] { return replies_.size() >= count; });
  return replies_;
}

std::size_t count(const std::vector<vinocast::Reply>& replies, vinocast::Outcome outcome) {
  std::size_t found = 0;
  for (const vinocast::Reply& reply : replies) found += reply.outcome == outcome ? 1 : 0;
  return found;
}

bool exists(int pid) {
  // A process that has ended and was not reaped by whoever inherited it is gone too.
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(file, text);
  const std::size_t state = text.rfind(')');
  return state != std::string::npos && state + 2 < text.size() && text[state + 2] != 'Z';
}

namespace {

std::vector<int> descriptors_of(const std::string& process) {
  std::vector<int> open;
  DIR* folder = ::opendir(("/proc/" + process + "/fd").c_str());
  if (folder == nullptr) return open;
  while (const dirent* entry = ::readdir(folder)) {
    const int fd = std::atoi(entry->d_name);
    if (entry->d_name[0] != '.' && (process != "self" || fd != ::dirfd(folder))) open.push_back(fd);
  }
  ::closedir(folder);
  return open;
}

std::string target_of(const std::string& process, int fd) {
  char target[256];
  const ssize_t size = ::readlink(("/proc/" + process + "/fd/" + std::to_string(fd)).c_str(), target, sizeof target);
  return {target, static_cast<std::size_t>(std::max<ssize_t>(size, 0))};
}

}  // namespace

std::vector<int> descriptors() { return descriptors_of("self"); }

bool holds(int pid, int fd) {
  const std::string process = std::to_string(pid);
  const std::vector<int> open = descriptors_of(process);
  REQUIRE_FALSE(open.empty());
  return std::any_of(open.begin(), open.end(),
                     [&](int other) { return target_of(process, other) == target_of("self", fd); });
}

}  // namespace harness
