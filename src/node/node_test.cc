#include "node/node.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <optional>
#include <thread>

#include "base/file.h"
#include "net/tcp.h"
#include "node/node_fixture.h"

namespace culvert::node {
namespace {

using namespace testing;

fs::perms mode_of(const fs::path& path) { return fs::status(path).permissions() & fs::perms::all; }
constexpr fs::perms kPrivate = fs::perms::owner_read | fs::perms::owner_write;

TEST_F(NodeTest, TheFirstStartMakesEverythingAndTheSecondKeepsIt) {
  std::optional<PublicKey> id;
  std::string operator_key, root;
  for (int starts = 0; starts < 2; ++starts) {
    auto node = Node::start(config());
    ASSERT_TRUE(node) << node.error().message;
    EXPECT_NE((*node)->tcp_addr().port(), 0);
    EXPECT_NE((*node)->udp_addr().port(), 0);
    std::string url = fmt::format("https://127.0.0.1:{}", (*node)->tcp_addr().port());
    EXPECT_EQ((*node)->public_urls(), std::vector{url});
    auto local = find_local_node(directory_);
    ASSERT_TRUE(local) << local.error().message;
    EXPECT_EQ(local->hub_urls, std::vector{url});
    EXPECT_EQ(local->hub_key, (*node)->id());
    if (starts == 0) {
      id = (*node)->id();
      operator_key = local->operator_key->expose();
      root = read_internal_root(directory_).value();
    }
    EXPECT_EQ((*node)->id(), *id);
    EXPECT_EQ(local->operator_key->expose(), operator_key);
    EXPECT_EQ(read_internal_root(directory_).value(), root);
  }
  EXPECT_EQ(operator_key.size(), 43u);
  EXPECT_TRUE(root.starts_with("-----BEGIN CERTIFICATE-----"));
  EXPECT_EQ(mode_of(directory_), fs::perms::owner_all);
  for (const fs::path& secret : {files().node_key(), files().operator_key(), files().ca_key()}) {
    EXPECT_EQ(mode_of(secret), kPrivate) << secret;
  }
  EXPECT_EQ(fs::file_size(files().node_key()), 32u);
}

TEST_F(NodeTest, EachFileMayBeElsewhere) {
  const fs::path elsewhere = directory_ / "elsewhere";
  Config moved = config();
  moved.data_dir = directory_ / "data";
  moved.places = {.node_key = elsewhere / "node",
                  .operator_key = elsewhere / "operator",
                  .database = elsewhere / "records",
                  .ca_directory = directory_ / "ca"};
  fs::create_directories(elsewhere);
  std::optional<PublicKey> id;
  for (int starts = 0; starts < 2; ++starts) {
    auto node = Node::start(moved);
    ASSERT_TRUE(node) << node.error().message;
    if (starts == 0) id = (*node)->id();
    EXPECT_EQ((*node)->id(), *id);
  }
  for (const fs::path& made : {elsewhere / "node", elsewhere / "operator", elsewhere / "records",
                               directory_ / "ca" / "ca.key", directory_ / "ca" / "ca.pem"})
    EXPECT_TRUE(fs::exists(made)) << made;
  for (const char* name : {"node.key", "operator.key", "hub.db", "ca.key", "ca.pem"})
    EXPECT_FALSE(fs::exists(moved.data_dir / name)) << name;
  EXPECT_EQ(read_internal_root(moved.data_dir, moved.places).value(), read(directory_ / "ca" / "ca.pem"));
  EXPECT_FALSE(find_local_node(moved.data_dir)->operator_key);
  EXPECT_EQ(read_operator_key(elsewhere / "operator")->expose(), read(elsewhere / "operator"));

  // Only the identity is moved: the rest stays where it was.
  Config one = config();
  one.places.node_key = elsewhere / "node";
  auto node = Node::start(one);
  ASSERT_TRUE(node) << node.error().message;
  EXPECT_EQ((*node)->id(), *id);
  EXPECT_TRUE(fs::exists(directory_ / "hub.db"));
  EXPECT_FALSE(fs::exists(directory_ / "node.key"));
}

TEST_F(NodeTest, ADatabaseElsewhereHasOneNode) {
  Config first = config();
  first.places.database = directory_.native() + ".db";
  auto node = Node::start(first);
  ASSERT_TRUE(node) << node.error().message;
  Config second = first;
  second.data_dir = directory_ / "second";
  const std::string error = error_of(second, ErrorCode::kConflict);
  EXPECT_NE(error.find(first.places.database.native()), std::string::npos) << error;
  node->reset();
  const std::string other_key = error_of(second, ErrorCode::kInvalid);
  EXPECT_NE(other_key.find("or move " + second.places.database.native() + " away"), std::string::npos)
      << other_key;
  second.places.node_key = files().node_key();
  auto moved = Node::start(second);
  EXPECT_TRUE(moved) << moved.error().message;
  fs::remove(first.places.database);
  fs::remove(first.places.database.native() + ".lock");
}

TEST_F(NodeTest, BrokenFilesAreNamedWithWhatToDo) {
  write(files().node_key(), "too short");
  std::string error = error_of(config(), ErrorCode::kInvalid);
  EXPECT_NE(error.find(files().node_key().native()), std::string::npos) << error;
  EXPECT_NE(error.find("9 bytes"), std::string::npos) << error;
  EXPECT_EQ(read(files().node_key()), "too short") << "a broken key is never overwritten";
  fs::remove(files().node_key());

  fs::create_directory(files().node_key());
  error = error_of(config(), ErrorCode::kIo);
  EXPECT_NE(error.find(files().node_key().native()), std::string::npos) << error;
  fs::remove(files().node_key());

  write(files().operator_key(), "abc\n");
  error = error_of(config(), ErrorCode::kInvalid);
  EXPECT_NE(error.find(files().operator_key().native()), std::string::npos) << error;
  EXPECT_EQ(error.find("abc"), std::string::npos) << "a secret in an error";
  fs::remove(files().operator_key());

  {
    ASSERT_TRUE(Node::start(config()));
  }
  std::string certificate = read(files().ca_certificate());
  write(files().ca_certificate(), "no certificate");
  error = error_of(config(), ErrorCode::kInvalid);
  EXPECT_NE(error.find(files().ca_certificate().native()), std::string::npos) << error;
  write(files().ca_certificate(), tls::InternalCa::create("another", unix_now()).certificate);
  error_of(config(), ErrorCode::kInvalid);
  write(files().ca_certificate(), certificate);
  EXPECT_TRUE(Node::start(config()));

  write(files().database(), "this is no database at all, however long it may be made to look");
  auto corrupt = Node::start(config());
  ASSERT_FALSE(corrupt);
  EXPECT_NE(corrupt.error().message.find("hub.db"), std::string::npos) << corrupt.error().message;
}

TEST_F(NodeTest, ADataDirectoryHasOneNode) {
  auto first = Node::start(config());
  ASSERT_TRUE(first) << first.error().message;
  std::string info = read(files().info());
  std::string error = error_of(config(), ErrorCode::kConflict);
  EXPECT_NE(error.find(directory_.native()), std::string::npos) << error;
  EXPECT_NE(error.find(fmt::format("(pid {})", ::getpid())), std::string::npos) << error;
  EXPECT_EQ(read(files().info()), info);
  first->reset();
  EXPECT_TRUE(Node::start(config()));
}

TEST_F(NodeTest, DamageIsNotTakenForEmptiness) {
  ASSERT_TRUE(Node::start(config()));
  std::string root = read(files().ca_certificate()), ca_key = read(files().ca_key());
  fs::remove(files().ca_key());
  std::string error = error_of(config(), ErrorCode::kNotFound);
  EXPECT_NE(error.find(files().ca_key().native()), std::string::npos) << error;
  EXPECT_EQ(read(files().ca_certificate()), root);
  EXPECT_FALSE(fs::exists(files().ca_key()));
  write(files().ca_key(), ca_key);

  std::string key = read(files().node_key());
  fs::remove(files().node_key());
  error = error_of(config(), ErrorCode::kInvalid);
  EXPECT_NE(error.find(files().node_key().native()), std::string::npos) << error;
  EXPECT_FALSE(fs::exists(files().node_key()));
  write(files().node_key(), key);
  EXPECT_TRUE(Node::start(config()));

  fs::remove(files().database());
  ::testing::internal::CaptureStderr();
  EXPECT_TRUE(Node::start(config()));
  std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("database_created"), std::string::npos) << log;
  ::testing::internal::CaptureStderr();
  EXPECT_TRUE(Node::start(config()));
  log = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(log.find("database_created"), std::string::npos) << log;
}

TEST_F(NodeTest, AStartThatFailedForItsPortLeavesNoFalseAlarm) {
  net::EventLoop loop;
  auto other = net::TcpListener::listen(loop, SocketAddr::v4({127, 0, 0, 1}, 0), {});
  ASSERT_TRUE(other) << other.error().message;
  Config taken = config();
  taken.edge.tcp_listen = (*other)->local_addr();
  EXPECT_FALSE(Node::start(taken));
  EXPECT_TRUE(fs::exists(files().node_key()));
  ::testing::internal::CaptureStderr();
  EXPECT_TRUE(Node::start(config()));
  std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(log.find("database_created"), std::string::npos) << log;
}

TEST_F(NodeTest, ANodeThatIsJustStartingIsWaitedFor) {
  ASSERT_TRUE(Node::start(config()));
  std::string info = read(files().info());
  fs::remove(files().info());
  std::thread starting([this, &info] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    EXPECT_TRUE(replace_file(files().info(), as_bytes(info), 0644));
  });
  EXPECT_TRUE(find_local_node(directory_));
  starting.join();
}

TEST_F(NodeTest, WrongSettingsAreNamed) {
  Config wrong = config();
  wrong.public_urls = {"https://ok.example", "http://plain.example"};
  EXPECT_NE(error_of(wrong, ErrorCode::kInvalid).find("plain.example"), std::string::npos);
  for (const char* address : {"nowhere", ":443", "host:", "host:0", "host:99999", "2001:db8::1:443"}) {
    wrong = config();
    wrong.edge_addrs = {address};
    EXPECT_NE(error_of(wrong, ErrorCode::kInvalid).find(address), std::string::npos) << address;
  }
  wrong = config();
  wrong.edge.workers = 0;
  error_of(wrong, ErrorCode::kInvalid);
  wrong = config();
  wrong.data_dir = "";
  error_of(wrong, ErrorCode::kInvalid);
  write(directory_ / "file", "");
  wrong = config();
  wrong.data_dir = directory_ / "file";
  EXPECT_NE(error_of(wrong, ErrorCode::kIo).find("file"), std::string::npos);
}

TEST_F(NodeTest, PortsInUseAreNamed) {
  auto first = Node::start(config());
  ASSERT_TRUE(first);
  Config second = config();
  second.data_dir = directory_ / "second";
  second.edge.tcp_listen = (*first)->tcp_addr();
  EXPECT_NE(error_of(second, ErrorCode::kConflict).find(second.edge.tcp_listen->to_string()),
            std::string::npos);
  second.edge.tcp_listen = config().edge.tcp_listen;
  second.edge.udp_listen = (*first)->udp_addr();
  EXPECT_NE(error_of(second, ErrorCode::kConflict).find(second.edge.udp_listen->to_string()),
            std::string::npos);
}

// SO_REUSEPORT lets every process of the user in that sets it before it binds.
TEST_F(NodeTest, PortsOfANodeWithSeveralWorkersAreInUseToo) {
  Config several = config();
  several.edge.workers = 2;
  auto first = Node::start(several);
  ASSERT_TRUE(first);
  for (unsigned workers : {1u, 2u, 4u}) {
    Config second = config();
    second.data_dir = directory_ / "second";
    second.edge.workers = workers;
    second.edge.tcp_listen = (*first)->tcp_addr();
    std::string error = error_of(second, ErrorCode::kConflict);
    EXPECT_NE(error.find(second.edge.tcp_listen->to_string() + "/tcp"), std::string::npos) << error;
    second.edge.tcp_listen = config().edge.tcp_listen;
    second.edge.udp_listen = (*first)->udp_addr();
    error = error_of(second, ErrorCode::kConflict);
    EXPECT_NE(error.find(second.edge.udp_listen->to_string() + "/udp"), std::string::npos) << error;
  }
  Config again = several;
  again.edge.tcp_listen = (*first)->tcp_addr();
  again.edge.udp_listen = (*first)->udp_addr();
  first->reset();
  EXPECT_TRUE(Node::start(again)) << "a node that has ended leaves its ports";
}

TEST_F(NodeTest, KeysThatOthersCouldReadAreMadePrivate) {
  ASSERT_TRUE(Node::start(config()));
  constexpr fs::perms kShared = kPrivate | fs::perms::group_read | fs::perms::others_read;
  const std::vector secrets{files().node_key(), files().operator_key(), files().ca_key(), files().database()};
  for (const fs::path& secret : secrets) fs::permissions(secret, kShared);
  ::testing::internal::CaptureStderr();
  EXPECT_TRUE(Node::start(config()));
  const std::string log = ::testing::internal::GetCapturedStderr();
  for (const fs::path& secret : secrets) {
    EXPECT_EQ(mode_of(secret), kPrivate) << secret;
    EXPECT_NE(log.find("path=\"" + secret.native() + "\" was=shared"), std::string::npos) << log;
  }
}

TEST_F(NodeTest, ADirectoryThatOthersWriteToIsRefused) {
  ASSERT_TRUE(Node::start(config()));
  for (fs::perms others : {fs::perms::all, fs::perms::owner_all | fs::perms::group_write}) {
    fs::permissions(directory_, others);
    std::string error = error_of(config(), ErrorCode::kInvalid);
    EXPECT_NE(error.find("chmod go-w " + directory_.native()), std::string::npos) << error;
    EXPECT_EQ(mode_of(directory_), others);
  }
  fs::permissions(directory_, fs::perms::owner_all | fs::perms::group_read);
  EXPECT_TRUE(Node::start(config()));
}

bool changes_files(const __ptrace_syscall_info& info) {
  switch (info.entry.nr) {
    case SYS_write:
      return info.entry.args[0] > 2;  // not the log
    case SYS_openat:
      return (info.entry.args[2] & O_CREAT) != 0;
    case SYS_pwrite64:
    case SYS_ftruncate:
    case SYS_fsync:
    case SYS_fdatasync:
    case SYS_fchmod:
    case SYS_linkat:
    case SYS_unlinkat:
    case SYS_renameat2:
#ifdef SYS_link
    case SYS_open:
    case SYS_link:
    case SYS_unlink:
    case SYS_rename:
    case SYS_mkdir:
#endif
      return true;
    default:
      return false;
  }
}

// Runs `work` in a child that is killed right before its nth system call that changes a file. False: it has
// fewer.
bool killed_before_change(int nth, const std::function<void()>& work) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    ::raise(SIGSTOP);
    work();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ::ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
  while (::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr) == 0 && ::waitpid(child, &status, 0) == child &&
         WIFSTOPPED(status)) {
    __ptrace_syscall_info info{};
    if (WSTOPSIG(status) != (SIGTRAP | 0x80)) continue;
    ::ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof info, &info);
    if (info.op != PTRACE_SYSCALL_INFO_ENTRY || !changes_files(info) || --nth > 0) continue;
    ::kill(child, SIGKILL);
    ::waitpid(child, &status, 0);
    return true;
  }
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  return false;
}

TEST_F(NodeTest, AStartThatEndsAnywhereIsCompletedByTheNext) {
  int points = 0;
  while (killed_before_change(points + 1, [this] { (void)Node::start(config()); })) {
    ++points;
    std::string key = fs::exists(files().node_key()) ? read(files().node_key()) : "";
    auto node = Node::start(config());
    ASSERT_TRUE(node) << "killed at change " << points << ": " << node.error().message;
    if (!key.empty()) EXPECT_EQ(read(files().node_key()), key);
    for (const auto& entry : fs::directory_iterator(directory_)) {
      EXPECT_EQ(entry.path().native().find(".draft-"), std::string::npos) << points << ": " << entry.path();
    }
    EXPECT_EQ(read_internal_root(directory_).value(), read(files().ca_certificate()));
    node->reset();
    fs::remove_all(directory_);
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(points, 30);
}

TEST_F(NodeTest, ALostRootIsMadeAgainFromItsKey) {
  ASSERT_TRUE(Node::start(config()));
  const std::string root = read(files().ca_certificate()), key = read(files().ca_key());
  fs::remove(files().ca_certificate());
  ::testing::internal::CaptureStderr();
  EXPECT_TRUE(Node::start(config()));
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("ca_certificate_created"), std::string::npos) << log;
  EXPECT_EQ(read(files().ca_key()), key);
  EXPECT_TRUE(tls::InternalCa::load({root, SecretString(key)})) << "the key of the old root";
  EXPECT_NE(read(files().ca_certificate()), "");
  write(files().ca_key(), "no key");
  fs::remove(files().ca_certificate());
  std::string error = error_of(config(), ErrorCode::kInvalid);
  EXPECT_NE(error.find(files().ca_key().native()), std::string::npos) << error;
}

TEST_F(NodeTest, ADirectoryWithoutANodeSaysHowToStartOne) {
  auto local = find_local_node(directory_);
  ASSERT_FALSE(local);
  EXPECT_EQ(local.error().code, ErrorCode::kNotFound);
  EXPECT_NE(local.error().message.find("culvert node --data-dir " + directory_.native()), std::string::npos);
  EXPECT_EQ(read_internal_root(directory_).error().code, ErrorCode::kNotFound);
  write(files().info(), "hub_key = nonsense\nhub_url = https://x\n");
  EXPECT_EQ(find_local_node(directory_).error().code, ErrorCode::kInvalid);
  write(files().info(), "");
  EXPECT_EQ(find_local_node(directory_).error().code, ErrorCode::kInvalid);
}

TEST_F(NodeTest, RacingStartsAgreeOnTheirKeys) {
  std::vector<std::optional<PublicKey>> keys(8);
  std::vector<std::string> operators(8), roots(8);
  ASSERT_TRUE(files().create());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < keys.size(); ++i) {
    threads.emplace_back([&, i] {
      SystemRandom random;
      auto key = files().load_or_create_node_key(random);
      EXPECT_TRUE(key) << key.error().message;
      if (key) keys[i] = key->public_key();
      auto operator_key = files().load_or_create_operator_key(random);
      EXPECT_TRUE(operator_key) << operator_key.error().message;
      if (operator_key) operators[i] = operator_key->expose();
      auto ca = files().load_or_create_ca(unix_now());
      EXPECT_TRUE(ca) << ca.error().message;
      if (ca) roots[i] = (*ca)->certificate_pem();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 1; i < keys.size(); ++i) {
    EXPECT_EQ(keys[i], keys[0]);
    EXPECT_EQ(operators[i], operators[0]);
    EXPECT_EQ(roots[i], roots[0]);
  }
}

}  // namespace
}  // namespace culvert::node
