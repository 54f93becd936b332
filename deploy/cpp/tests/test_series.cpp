// Candles as the example finds them in a CSV, whatever its columns are called and wherever they stand.
#include "../examples/series.h"

#include <fstream>

#include "harness.h"

TEST_SUITE_BEGIN("series");

namespace {

market::Series series_of(const std::string& text) {
  const harness::Folder folder;
  const std::string path = folder.path("bars.csv");
  std::ofstream(path) << text;
  return market::read_csv(path);
}

std::string refusal_of(const std::string& text) {
  try {
    series_of(text);
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("candles of every layout") {
  const std::pair<const char*, const char*> two_volumes[] = {
      {"date,symbol,open,high,low,close,volume_btc,volume", "2019-10-17 09-AM,BTCUSD,4,8,2,6,10,50"},
      {"unix,date,symbol,open,high,low,close,Volume BTC,Volume USD",
       "1571302800,2019-10-17 09:00:00,BTC/USD,4,8,2,6,10,50"},
      {"Unix,Date,Symbol,Open,High,Low,Close,Volume BTC,Volume USDT,tradecount",
       "1571302800000,2019-10-17 09:00:00,BTC/USDT,4,8,2,6,10,50,"},
      {"Unix,Date,Symbol,Open,High,Low,Close,VWAP,Volume USD,Volume BTC,tradecount",
       "1.57E+12,2019-10-17 09:00:00,BTC/USD,4,8,2,6,5,50,10,77"},
      {"Date,Symbol,Open,High,Low,Close,Volume BTC,Volume USD", "2019-10-17 09-AM,BTCUSD,4,8,2,6,10,50"},
  };
  for (const auto& layout : two_volumes) {
    for (const char* banner : {"", "https://www.CryptoDataDownload.com\n", "Times are UTC,https://www.x.com\r\n"}) {
      CAPTURE(layout.first);
      const market::Series series = series_of(std::string(banner) + layout.first + "\r\n" + layout.second + "\r\n");
      CHECK(series.names == market::candle_channels);
      REQUIRE(series.rows.size() == 1);
      CHECK(series.rows[0].timestamp_ms == 1571302800000);
      CHECK(series.rows[0].values == std::vector<float>{4, 8, 2, 6, 10, 50, 16.0F / 3});
    }
  }
  const std::pair<const char*, const char*> one_volume[] = {
      {"btime,open,high,low,close,volume", "1571302800,4,8,1,6,10"},
      {"unix,open,high,low,close,volume", "1571302800,4,8,1,6,10"},
      {"Unix Timestamp,Date,Symbol,Open,High,Low,Close,Volume", "1571302800000,2019-10-17,BTCUSD,4,8,1,6,10"},
      {"Symbol,Volume,Close,Low,High,Open,TIME", "BTCUSD,10,6,1,8,4,2019-10-17T09:00:00Z"},
  };
  for (const auto& layout : one_volume) {
    CAPTURE(layout.first);
    const market::Series series = series_of(std::string(layout.first) + "\n" + layout.second + "\n");
    CHECK(series.names == market::candle_channels);
    REQUIRE(series.rows.size() == 1);
    CHECK(series.rows[0].timestamp_ms == 1571302800000);
    CHECK(series.rows[0].values == std::vector<float>{4, 8, 1, 6, 10, 50, 5});
  }
}

TEST_CASE("a file of anything else is a time and channels") {
  for (const char* header :
       {"time,a,b,c,d,e", "time,open,high,low,close,rsi", "time,open,high,low,volume,Volume 2", "a,Unix,b,c,d,e"}) {
    CAPTURE(header);
    const market::Series series = series_of(std::string(header) + "\n1,2,3,4,5,6\n");
    CHECK(series.names.size() == 5);
    CHECK(series.names != market::candle_channels);
    REQUIRE(series.rows.size() == 1);
    CHECK(series.rows[0].values == std::vector<float>{2, 3, 4, 5, 6});
  }
}

TEST_CASE("a refusal names the column and what a header of candles has") {
  const std::string plain = refusal_of("unix,ticker,open,high,low,close,volume\n1,BTC/USD,4,8,2,6,10\n");
  CHECK(plain.find("bars.csv, line 2: expected a number, got 'BTC/USD' in the column ticker; its header is not") !=
        std::string::npos);
  CHECK(plain.find("open, high, low, close and volume") != std::string::npos);
  const std::string candles = refusal_of("unix,symbol,open,high,low,close,volume\n1,BTC/USD,4,8,2,x,10\n");
  CHECK(candles.find("bars.csv, line 2: expected a number, got 'x' in the column close") != std::string::npos);
  CHECK(candles.find("header") == std::string::npos);
  CHECK(refusal_of("unix,date,symbol,open,high,low,close,volume\n?,soon,B,4,8,2,6,10\n").find("expected a time like") !=
        std::string::npos);
}

TEST_SUITE_END();
