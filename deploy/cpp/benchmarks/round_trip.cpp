// What the client, the pipes and the service add to the model's own time, seen by a C++ caller.
//
//     round_trip [REQUESTS]       (1000 of each kind unless said)
//
// VINOCAST_PROGRAM names the service's program. The figures are milliseconds around a blocking predict(), encoding and
// the caller's waking included; "added" is that less the reply's inference time. Meant for a quiet machine.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <vector>

#include "vinocast/inference_engine.h"

namespace {

double quantile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
}

void report(const char* kind, const std::vector<double>& whole, const std::vector<double>& inference,
            const std::vector<double>& added) {
  std::printf("%-34s %9.3f %9.3f %9.3f %9.3f %9.3f\n", kind, quantile(whole, 0.5), quantile(whole, 0.99),
              quantile(inference, 0.5), quantile(added, 0.5), quantile(added, 0.99));
}

template <typename Before>
void measure(vinocast::InferenceEngine& engine, const char* kind, const vinocast::ForecastRequest& request,
             int requests, Before&& before) {
  std::vector<double> whole;
  std::vector<double> inference;
  std::vector<double> added;
  const int warm_up = requests / 10;
  for (int i = -warm_up; i < requests; ++i) {
    const auto start = std::chrono::steady_clock::now();
    before(i);
    const vinocast::Reply reply = engine.predict(request);
    const std::chrono::duration<double, std::milli> passed = std::chrono::steady_clock::now() - start;
    if (!reply.ok()) {
      std::fprintf(stderr, "%s: %s: %s\n", kind, to_string(reply.outcome), reply.error.message.c_str());
      std::exit(1);
    }
    if (i < 0) continue;
    whole.push_back(passed.count());
    inference.push_back(reply.inference_ms);
    added.push_back(passed.count() - reply.inference_ms);
  }
  report(kind, whole, inference, added);
}

int run(int requests) {
  vinocast::Options options;
  if (const char* program = std::getenv("VINOCAST_PROGRAM")) options.program = program;
  vinocast::InferenceEngine base64(options);
  const vinocast::ModelInfo model = base64.service().default_model_info();
  const std::size_t channels = model.channels.size();
  std::vector<float> values(model.context * channels);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = 100.0F + 10.0F * std::sin(0.37F * static_cast<float>(i)) + static_cast<float>(i % 11) * 0.173F;
  }
  const vinocast::Rows window{values.data(), model.context, channels};
  vinocast::ForecastRequest all;
  all.window = window;
  vinocast::ForecastRequest one = all;
  one.targets = {model.channels.back()};
  vinocast::ForecastRequest stream;
  stream.stream = "round-trip";
  stream.targets = one.targets;
  const auto nothing = [](int) {};

  std::printf("%-34s %9s %9s %9s %9s %9s\n", "milliseconds", "p50", "p99", "model p50", "added p50", "added p99");
  vinocast::ObserveRequest history;
  history.stream = stream.stream;
  history.rows = window;
  const vinocast::Reply observed = base64.observe(history);
  if (!observed.ok()) {
    std::fprintf(stderr, "observe: %s\n", observed.error.message.c_str());
    return 1;
  }
  measure(base64, "stream, one target", stream, requests, nothing);
  vinocast::ObserveRequest row;
  row.stream = stream.stream;
  row.rows = {values.data(), 1, channels};
  measure(base64, "one new row and stream, one target", stream, requests,
          [&](int) { base64.observe(row, [](vinocast::Reply&&) {}); });
  measure(base64, "base64 window, one target", one, requests, nothing);
  measure(base64, "base64 window, all targets", all, requests, nothing);
  base64.close();

  options.encoding = vinocast::Encoding::json;
  vinocast::InferenceEngine json(options);
  measure(json, "JSON window, one target", one, requests, nothing);
  measure(json, "JSON window, all targets", all, requests, nothing);
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  try {
    return run(count > 1 ? std::max(1, std::atoi(arguments[1])) : 1000);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "round_trip: %s\n", error.what());
    return 1;
  }
}
