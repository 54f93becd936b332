// Candles as the example finds them in a CSV, whatever its columns are called and wherever they stand.
#include "../examples/candles_csv.h"

#include <fstream>

#include "harness.h"

TEST_SUITE_BEGIN("candles_csv");

namespace {

std::vector<vinocast::Bar> candles_of(const std::string& text) {
  const harness::Folder folder;
  const std::string path = folder.path("bars.csv");
  std::ofstream(path) << text;
  return market::read_candles(path);
}

std::string refusal_of(const std::string& text) {
  try {
    candles_of(text);
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

std::vector<double> numbers_of(const vinocast::Bar& bar) {
  return {bar.open, bar.high, bar.low, bar.close, bar.volume};
}

}  // namespace

TEST_CASE("candles of every layout") {
  const std::pair<const char*, const char*> layouts[] = {
      {"date,symbol,open,high,low,close,volume_btc,volume", "2019-10-17 09-AM,BTCUSD,4,8,2,6,10,50"},
      {"unix,date,symbol,open,high,low,close,Volume BTC,Volume USD",
       "1571302800,2019-10-17 09:00:00,BTC/USD,4,8,2,6,10,50"},
      {"Unix,Date,Symbol,Open,High,Low,Close,Volume BTC,Volume USDT,tradecount",
       "1571302800000,2019-10-17 09:00:00,BTC/USDT,4,8,2,6,10,50,"},
      {"Unix,Date,Symbol,Open,High,Low,Close,VWAP,Volume USD,Volume BTC,tradecount",
       "1.57E+12,2019-10-17 09:00:00,BTC/USD,4,8,2,6,5,50,10,77"},
      {"btime,open,high,low,close,volume", "1571302800,4,8,2,6,10"},
      {"Unix Timestamp,Date,Symbol,Open,High,Low,Close,Volume", "1571302800000,2019-10-17,BTCUSD,4,8,2,6,10"},
      {"Symbol,Volume,Close,Low,High,Open,TIME", "BTCUSD,10,6,2,8,4,2019-10-17T09:00:00Z"},
      {"time,open,high,low,close,volume,rsi", "1571302800,4,8,2,6,1e1,55.5"},
  };
  for (const auto& layout : layouts) {
    for (const char* banner : {"", "https://www.CryptoDataDownload.com\n", "Times are UTC,https://www.x.com\r\n"}) {
      CAPTURE(layout.first);
      const auto bars = candles_of(std::string(banner) + layout.first + "\r\n" + layout.second + "\r\n");
      REQUIRE(bars.size() == 1);
      CHECK(bars[0].start_s == 1571302800);
      CHECK(numbers_of(bars[0]) == std::vector<double>{4, 8, 2, 6, 10});
    }
  }
}

TEST_CASE("rows are put in the order of time, and the first of a time is kept") {
  const auto bars =
      candles_of("\xEF\xBB\xBFtime,open,high,low,close,volume\n600,2,2,2,2,2\n300,1,1,1,1,1\n600,9,9,9,9,9\n");
  REQUIRE(bars.size() == 2);
  CHECK(bars[0].start_s == 300);
  CHECK(bars[1].open == 2);
  CHECK(market::length_of(bars) == 300);
  CHECK(market::length_of({bars[0]}) == 0);
}

TEST_CASE("a refusal names the line, the column and what was expected") {
  const auto says = [](const std::string& text, const char* words) {
    CAPTURE(text);
    CHECK(refusal_of(text).find(words) != std::string::npos);
  };
  says("unix,open,high,low,close,volume\n1,4,8,2,x,10\n",
       "bars.csv, line 2: expected a number in the column close, got 'x'");
  says("unix,open,high,low,close,volume\n1,4,8,2,nan,10\n", "got 'nan'");
  says("unix,open,high,low,close,volume\n1,4,8,2,6\n", "line 2: expected 6 cells, got '5'");
  says("unix,date,open,high,low,close,volume\n?,soon,4,8,2,6,10\n", "expected a time like 2026-11-25T03:57:27Z");
  says("time,a,b\n1,2,3\n",
       "line 1: expected a header of candles: a time, open, high, low, close and volume, got 'time,a,b'");
  says("open,high,low,close,volume\n1,2,3,4,5\n", "expected a header of candles");
}

TEST_SUITE_END();
