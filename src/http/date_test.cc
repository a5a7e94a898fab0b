#include "http/date.h"

#include <gtest/gtest.h>

namespace culvert::http {
namespace {

using std::chrono::seconds;

UnixTime at(int64_t time) { return UnixTime(seconds(time)); }

TEST(Date, IsFormattedAndReadBack) {
  EXPECT_EQ(format_date(at(784'111'777)), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(format_date(at(0)), "Thu, 01 Jan 1970 00:00:00 GMT");
  for (int64_t time : {int64_t{0}, int64_t{784'111'777}, int64_t{951'782'400}, int64_t{1'700'000'000},
                       int64_t{4'102'444'799}, int64_t{253'402'300'799}}) {
    EXPECT_EQ(parse_date(format_date(at(time))), at(time)) << time;
  }
  EXPECT_EQ(parse_date("Sat, 31 Dec 2016 23:59:60 GMT"), at(1'483'228'800)) << "a leap second";
}

TEST(Date, RefusesWhatIsNotOne) {
  for (const char* text :
       {"", "Sun, 06 Nov 1994 08:49:37", "Mon, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 nov 1994 08:49:37 GMT", "Sun, 32 Nov 1994 08:49:37 GMT", "Tue, 29 Feb 2023 00:00:00 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT", "Sun, 06 Nov 1994 08-49-37 GMT", "Sun, +6 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Sun, 06 Nov 1994 08:49:37 GMT "}) {
    EXPECT_FALSE(parse_date(text)) << text;
  }
}

}  // namespace
}  // namespace culvert::http
