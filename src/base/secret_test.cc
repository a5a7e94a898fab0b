#include "base/secret.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <new>
#include <ostream>

namespace culvert {
namespace {

template <class T>
concept Streamable = requires(std::ostream& out, const T& value) { out << value; };

static_assert(!fmt::is_formattable<SecretBytes<32>>::value);
static_assert(!fmt::is_formattable<SecretString>::value);
static_assert(!Streamable<SecretBytes<32>> && !Streamable<SecretString>);

// The bytes of an object that has been destroyed, in memory that is still ours.
template <class T>
Bytes bytes_after_destruction(T value) {
  alignas(T) std::array<uint8_t, sizeof(T)> room{};
  auto* object = new (room.data()) T(std::move(value));
  std::destroy_at(object);
  return {room.begin(), room.end()};
}

TEST(SecretBytes, AreWipedWhenDestroyed) {
  Bytes secret(32, 0x5a);
  EXPECT_EQ(std::ranges::count(bytes_after_destruction(SecretBytes<32>::from(secret)), 0x5a), 0);
}

TEST(SecretBytes, KeepWhatTheyWereMadeFrom) {
  SeededRandom random(1);
  auto one = SecretBytes<32>::random(random), two = SecretBytes<32>::random(random);
  EXPECT_FALSE(one == two);
  EXPECT_TRUE(one == SecretBytes<32>::from(one.expose()));
  EXPECT_TRUE(SecretBytes<4>() == SecretBytes<4>::from(Bytes(4, 0)));
}

TEST(SecretString, ShortOnesAreWipedInsideTheObject) {
  const SecretString secret("ZZZZZZZZ");  // no memory of its own
  EXPECT_EQ(std::ranges::count(bytes_after_destruction(secret), 'Z'), 0);
}

TEST(SecretString, AMoveLeavesNothingBehind) {
  for (size_t size : {8u, 100u}) {
    std::string text(size, 'Z');
    SecretString taken = SecretString::take(std::move(text));
    EXPECT_TRUE(text.empty());
    text.resize(text.capacity());
    EXPECT_EQ(std::ranges::count(text, 'Z'), 0);
    SecretString moved = std::move(taken);
    EXPECT_TRUE(taken.empty());
    EXPECT_EQ(moved.expose(), std::string(size, 'Z'));
  }
}

TEST(SecretString, ComparesByContent) {
  SecretString secret("abc");
  EXPECT_TRUE(secret == SecretString("abc"));
  EXPECT_FALSE(secret == SecretString("abd"));
  EXPECT_FALSE(secret == SecretString("abcd"));
  secret = SecretString("other");
  EXPECT_EQ(secret.expose(), "other");
  SecretString& alias = secret;
  secret = alias;
  EXPECT_EQ(secret.expose(), "other");
  EXPECT_TRUE(SecretString().empty());
}

TEST(WipeAtEnd, WipesAllThatTheBufferHasRoomFor) {
  std::string text(100, 'Z');
  {
    WipeAtEnd wiper(text);
    text.resize(10);
  }
  EXPECT_TRUE(text.empty());
  text.resize(text.capacity());
  EXPECT_EQ(std::ranges::count(text, 'Z'), 0);
}

}  // namespace
}  // namespace culvert
