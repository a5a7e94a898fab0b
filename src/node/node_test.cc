#include "node/node.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <optional>
#include <thread>

#include "base/file.h"
#include "base/full_disk.h"
#include "base/random.h"
#include "edge/testing.h"
#include "hub/declaration_limits.h"
#include "hubapi/hub_client.h"
#include "net/tcp.h"
#include "node/data_dir.h"
#include "node/hub_door.h"

namespace culvert::node {
namespace {

using namespace std::chrono_literals;
using edge::testing::FakeAgent;
using edge::testing::Received;
using net::testing::run_task;
using net::testing::run_until;
using net::testing::soon;
namespace fs = std::filesystem;

class NodeTest : public testing::Test {
 public:
  NodeTest() {
    directory_ = fs::temp_directory_path() / fmt::format("culvert-node-{:x}", SystemRandom().u64());
  }
  ~NodeTest() override { fs::remove_all(directory_); }

  Config config() {
    return {.data_dir = directory_,
            .public_urls = {},
            .edge_addrs = {},
            .edge = {.tcp_listen = SocketAddr::v4({127, 0, 0, 1}, 0), .drain_timeout = 1s}};
  }
  DataDir files() { return {directory_}; }
  void write(const fs::path& path, std::string_view content) {
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << content;
  }
  std::string read(const fs::path& path) { return std::string(as_text(read_file(path, 1 << 20).value())); }

  // The error's text, which must name what is wrong.
  std::string error_of(Config config, ErrorCode code) {
    auto node = Node::start(std::move(config));
    EXPECT_FALSE(node);
    if (node) return "";
    EXPECT_EQ(node.error().code, code) << node.error().message;
    return node.error().message;
  }

  fs::path directory_;
};

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
      operator_key = local->operator_key.expose();
      root = read_internal_root(directory_).value();
    }
    EXPECT_EQ((*node)->id(), *id);
    EXPECT_EQ(local->operator_key.expose(), operator_key);
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
  testing::internal::CaptureStderr();
  EXPECT_TRUE(Node::start(config()));
  std::string log = testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("database_created"), std::string::npos) << log;
  testing::internal::CaptureStderr();
  EXPECT_TRUE(Node::start(config()));
  log = testing::internal::GetCapturedStderr();
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
  testing::internal::CaptureStderr();
  EXPECT_TRUE(Node::start(config()));
  std::string log = testing::internal::GetCapturedStderr();
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
  testing::internal::CaptureStderr();
  EXPECT_TRUE(Node::start(config()));
  const std::string log = testing::internal::GetCapturedStderr();
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
  testing::internal::CaptureStderr();
  EXPECT_TRUE(Node::start(config()));
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("ca_certificate_created"), std::string::npos) << log;
  EXPECT_EQ(read(files().ca_key()), key);
  EXPECT_TRUE(tls::InternalCa::load({root, key})) << "the key of the old root";
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

// ---- A node at work

class RunningNodeTest : public NodeTest {
 public:
  ~RunningNodeTest() override { stop(); }

  void start(Config with) {
    node_ = Node::start(std::move(with)).value();
    thread_ = std::thread([this] { node_->run(); });
    local_ = find_local_node(directory_).value();
    std::vector<hubapi::HubUrl> urls;
    for (const std::string& url : local_->hub_urls) urls.push_back(hubapi::parse_hub_url(url).value());
    client_ = std::make_unique<hubapi::HubClient>(loop_, urls, local_->hub_key);
  }
  void stop() {
    if (!thread_.joinable()) return;
    node_->stop();
    thread_.join();
  }
  Result<std::string> call(std::string method, std::string path, std::string body) {
    return run_task(loop_, client_->call_operator(std::move(method), std::move(path), std::move(body),
                                                  local_->operator_key));
  }
  static std::string member(const std::string& json, std::string_view name) {
    std::string key = fmt::format("\"{}\":\"", name);
    size_t begin = json.find(key);
    EXPECT_NE(begin, std::string::npos) << json;
    if (begin == std::string::npos) return "";
    begin += key.size();
    return json.substr(begin, json.find('"', begin) - begin);
  }
  Result<hubapi::LeaseAnswer> declare(const hubapi::InviteToken& token, const FakeAgent& agent,
                                      std::string_view host,
                                      route::TlsMode mode = route::TlsMode::kTerminate) {
    auto pattern = route::HostPattern::parse(host).value();
    return run_task(loop_, client_->declare(
                               token, {token.invite_id, token.invite_secret, agent.id(), {{pattern, mode}}}));
  }
  // One request over TLS that trusts the internal root; the whole answer.
  Result<std::string> get(std::string name) {
    auto tcp = run_task(loop_, net::tcp_connect(loop_, node_->tcp_addr(), soon())).value();
    tls::ClientTrust trust;
    trust.root_pem = read_internal_root(directory_).value();
    auto tls = run_task(loop_, tls::connect(std::move(tcp), name, std::move(trust), soon()));
    if (!tls) return std::unexpected(tls.error());
    std::string request =
        fmt::format("GET /v1/health HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", name);
    EXPECT_TRUE(run_task(loop_, net::write_all(**tls, as_bytes(request), soon())));
    (void)run_task(loop_, net::finish(**tls, soon()));  // the other side may have answered and closed already
    std::string answer;
    Bytes chunk(4096);
    while (true) {
      auto got = run_task(loop_, net::read_some(**tls, chunk, soon()));
      if (!got) return std::unexpected(got.error());
      if (*got == 0) return answer;
      answer += as_text(ByteView(chunk).first(*got));
    }
  }

  net::EventLoop loop_;
  std::unique_ptr<Node> node_;
  std::thread thread_;
  std::optional<LocalNode> local_;
  std::unique_ptr<hubapi::HubClient> client_;
};

TEST_F(RunningNodeTest, FromAnInviteToAnAnswerAndToTheRevocation) {
  start(config());
  auto created = call("POST", "/v1/invites", R"({"name":"home","hostnames":["*.w.test"]})");
  ASSERT_TRUE(created) << created.error().message;
  auto token = hubapi::parse_invite_token(member(*created, "token"));
  ASSERT_TRUE(token) << token.error().message;
  EXPECT_EQ(token->hub_key, node_->id());
  EXPECT_EQ(token->hub_urls, node_->public_urls());

  FakeAgent agent(loop_, 1);
  agent.greeting = "HTTP/1.1 200 OK\r\n\r\nhello from the origin";
  auto lease = declare(*token, agent, "app.w.test");
  ASSERT_TRUE(lease) << lease.error().message;
  ASSERT_EQ(lease->services.size(), 1u);
  EXPECT_TRUE(lease->services[0].accepted) << lease->services[0].reason;
  EXPECT_EQ(lease->public_port, node_->tcp_addr().port());
  EXPECT_EQ(lease->internal_ca_pem, read_internal_root(directory_).value());
  ASSERT_EQ(lease->edges.size(), 1u);
  EXPECT_EQ(lease->edges[0].id, node_->id());
  EXPECT_EQ(lease->edges[0].addresses, std::vector{node_->udp_addr().to_string()});
  agent.dial(SocketAddr::parse(lease->edges[0].addresses[0]).value(), lease->edges[0].id);
  run_until(loop_, [&] { return agent.welcome(); });

  auto answer = get("app.w.test");
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_NE(answer->find("hello from the origin"), std::string::npos) << *answer;

  auto revoked = call("DELETE", "/v1/invites/" + member(*created, "invite_id"), "");
  ASSERT_TRUE(revoked) << revoked.error().message;
  run_until(loop_, [&] { return agent.closed.has_value(); });
  EXPECT_EQ(agent.closed->code, tunnel::kCloseRevoked);
  auto gone = get("app.w.test");
  ASSERT_FALSE(gone);
  EXPECT_EQ(declare(*token, agent, "app.w.test").error().code, ErrorCode::kUnauthorized);
}

TEST_F(RunningNodeTest, AFullDiskStopsNeitherTheStartNorARevocation) {
  start(config());
  auto created = call("POST", "/v1/invites", R"({"hostnames":["app.test"]})");
  ASSERT_TRUE(created) << created.error().message;
  auto token = hubapi::parse_invite_token(member(*created, "token")).value();
  const std::string invite = "/v1/invites/" + member(*created, "invite_id");
  Config same = config();
  same.edge.tcp_listen = node_->tcp_addr();
  same.edge.udp_listen = node_->udp_addr();
  stop();
  node_.reset();
  {
    FullDisk full;
    start(same);
    FakeAgent agent(loop_, 1);
    agent.greeting = "HTTP/1.1 200 OK\r\n\r\n";
    auto lease = declare(token, agent, "app.test");
    ASSERT_TRUE(lease) << lease.error().message;
    agent.dial(node_->udp_addr(), node_->id());
    run_until(loop_, [&] { return agent.welcome(); });
    ASSERT_TRUE(get("app.test"));
    auto revoked = call("DELETE", invite, "");
    ASSERT_FALSE(revoked);
    EXPECT_EQ(revoked.error().code, ErrorCode::kIo);
    EXPECT_NE(revoked.error().message.find("its agents are cut off"), std::string::npos)
        << revoked.error().message;
    run_until(loop_, [&] { return agent.closed.has_value(); });
    EXPECT_EQ(agent.closed->code, tunnel::kCloseRevoked);
    EXPECT_FALSE(get("app.test"));
    EXPECT_EQ(declare(token, agent, "app.test").error().code, ErrorCode::kUnauthorized);
  }
  EXPECT_TRUE(call("DELETE", invite, ""));
  stop();
  node_.reset();
  start(same);
  FakeAgent agent(loop_, 2);
  EXPECT_EQ(declare(token, agent, "app.test").error().code, ErrorCode::kUnauthorized);
}

TEST_F(RunningNodeTest, AGoodbyeTakesTheRouteAtOnce) {
  Config several = config();
  several.edge.workers = 2;
  start(std::move(several));
  auto created = call("POST", "/v1/invites", R"({"hostnames":["app.test"]})");
  ASSERT_TRUE(created) << created.error().message;
  auto token = hubapi::parse_invite_token(member(*created, "token")).value();
  FakeAgent agent(loop_, 1);
  agent.greeting = "HTTP/1.1 200 OK\r\n\r\n";
  ASSERT_TRUE(declare(token, agent, "app.test"));
  agent.dial(node_->udp_addr(), node_->id());
  run_until(loop_, [&] { return agent.welcome(); });
  ASSERT_TRUE(get("app.test"));
  agent.leave(tunnel::kCloseGoodbye);
  run_until(loop_, [&] { return !get("app.test").has_value(); });
}

TEST_F(RunningNodeTest, TheNewestModeWinsOnceTheOtherAgentIsGone) {
  Config several = config();
  several.edge.workers = 2;
  start(std::move(several));
  auto created = call("POST", "/v1/invites", R"({"hostnames":["app.test"]})");
  ASSERT_TRUE(created) << created.error().message;
  auto token = hubapi::parse_invite_token(member(*created, "token")).value();
  FakeAgent old(loop_, 1), newest(loop_, 2);
  newest.greeting = "HTTP/1.1 200 OK\r\n\r\n";
  ASSERT_TRUE(declare(token, old, "app.test", route::TlsMode::kPassthrough));
  old.dial(node_->udp_addr(), node_->id());
  run_until(loop_, [&] { return old.welcome(); });
  const auto accepted = [&] {
    // Slower than the rate of an invite without leases.
    const TimePoint next = monotonic_now() + hub::DeclarationLimits::kInviteInterval;
    run_until(loop_, [&] { return monotonic_now() >= next; });
    auto answer = declare(token, newest, "app.test");
    EXPECT_TRUE(answer) << answer.error().message;
    if (answer && !answer->services[0].accepted) EXPECT_TRUE(answer->services[0].retry_after);
    return answer && answer->services[0].accepted;
  };
  const auto pause = [&](Duration time) {
    const TimePoint next = monotonic_now() + time;
    run_until(loop_, [&] { return monotonic_now() >= next; });
  };
  // What keeps the first alive past the moment after its declaration is what the edge reports of its tunnel.
  const TimePoint end = monotonic_now() + 10s;
  while (monotonic_now() < end) {
    old.say(tunnel::Hello{});
    pause(500ms);
  }
  EXPECT_FALSE(accepted());
  EXPECT_FALSE(old.closed);
  old.leave(tunnel::kCloseOk);  // as a process that crashed
  // At a pace that the limit of declarations allows.
  for (int tries = 0; !accepted(); ++tries) {
    ASSERT_LT(tries, 40);
    pause(500ms);
  }
  newest.dial(node_->udp_addr(), node_->id());
  run_until(loop_, [&] { return newest.welcome(); });
  EXPECT_TRUE(get("app.test"));
}

TEST_F(RunningNodeTest, TheHubsPublicNameIsCoveredByTheInternalRoot) {
  Config named = config();
  named.public_urls = {"https://Hub.Example:8443"};
  auto node = Node::start(std::move(named));
  ASSERT_TRUE(node) << node.error().message;
  node_ = std::move(*node);
  thread_ = std::thread([this] { node_->run(); });
  auto answer = get("hub.example");
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_TRUE(answer->starts_with("HTTP/1.1 200")) << *answer;
  EXPECT_NE(answer->find(node_->id().to_string()), std::string::npos) << *answer;
}

TEST_F(RunningNodeTest, OnlyTheRightKeyIsTheHub) {
  start(config());
  auto wrong = edge::testing::key(77).public_key();
  auto url = hubapi::parse_hub_url(node_->public_urls()[0]).value();
  hubapi::HubClient misled(loop_, {url}, wrong);
  auto answer = run_task(loop_, misled.call_operator("GET", "/v1/invites", "", local_->operator_key));
  EXPECT_FALSE(answer);
  EXPECT_TRUE(call("GET", "/v1/invites", ""));
}

TEST_F(RunningNodeTest, StopEndsEvenWithStrangersInTheDoor) {
  start(config());
  std::vector<std::unique_ptr<net::ByteStream>> strangers;
  for (int i = 0; i < 6; ++i) {
    strangers.push_back(run_task(loop_, net::tcp_connect(loop_, node_->tcp_addr(), soon())).value());
  }
  // Silent, half a hello, and a hello for the hub whose handshake never goes on.
  Bytes hello = edge::testing::client_hello("");
  strangers[1]->try_write(ByteView(hello).first(10));
  strangers[2]->try_write(hello);
  auto call_first = call("GET", "/v1/invites", "");
  EXPECT_TRUE(call_first);
  node_->stop();
  node_->stop();
  thread_.join();
}

TEST_F(RunningNodeTest, StopBeforeRunIsNotForgotten) {
  node_ = Node::start(config()).value();
  node_->stop();
  thread_ = std::thread([this] { node_->run(); });
  thread_.join();
}

// ---- The hub's door

class HubDoorTest : public NodeTest {
 public:
  void open(HubDoor::Limits limits) {
    ASSERT_TRUE(files().create());
    hub_ = hub::Hub::open(loop_, {.database = files().database(),
                                  .operator_key = "operator",
                                  .public_urls = {},
                                  .hub_key = key_.public_key(),
                                  .edges = {},
                                  .internal_ca_pem = ""})
               .value();
    auto pinned = tls::self_signed_identity(key_, key_.public_key().tls_name(), unix_now()).value();
    auto certificates =
        std::make_shared<tls::Certificates>(files().load_or_create_ca(unix_now()).value(), unix_now);
    door_ = std::make_unique<HubDoor>(loop_, *hub_, pinned, certificates, std::unordered_set<std::string>{},
                                      limits, random_);
    listener_ = net::TcpListener::listen(loop_, SocketAddr::v4({127, 0, 0, 1}, 0), {}).value();
  }
  ~HubDoorTest() override {
    if (!door_) return;
    door_->close();
    hub_.reset();
    clients_.clear();
    EXPECT_TRUE(run_task(loop_, everybody_gone()));
  }

  net::Task<bool> everybody_gone() {
    co_await door_->join();
    co_return true;
  }

  std::unique_ptr<net::ByteStream> connect() {
    auto client = run_task(loop_, net::tcp_connect(loop_, listener_->local_addr(), soon())).value();
    int accepted = run_task(loop_, listener_->accept()).value();
    door_->admit({tls::DetachedStream(net::make_tcp_stream(loop_, accepted)), {}, ""});
    return client;
  }
  // A connection at the door that says nothing.
  net::ByteStream& knock() {
    clients_.push_back(connect());
    return *clients_.back();
  }
  Result<std::unique_ptr<net::ByteStream>> handshake(std::unique_ptr<net::ByteStream> tcp) {
    tls::ClientTrust trust;
    trust.pinned_key = key_.public_key();
    return run_task(loop_, tls::connect(std::move(tcp), "x.example", std::move(trust), soon()));
  }
  // One that sends a whole request and keeps the connection.
  net::ByteStream& ask() {
    clients_.push_back(handshake(connect()).value());
    Bytes answer(4096);
    EXPECT_TRUE(run_task(
        loop_,
        net::write_all(*clients_.back(), as_bytes("GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n"), soon())));
    EXPECT_GT(run_task(loop_, net::read_some(*clients_.back(), answer, soon())).value(), 0u);
    return *clients_.back();
  }
  bool dropped(net::ByteStream& client) {
    Bytes byte(1);
    return !run_task(loop_, net::read_some(client, byte, soon())).has_value();
  }
  bool open_still(net::ByteStream& client) {
    Bytes byte(1);
    return client.try_read(byte).status == net::IoStatus::kWantRead;
  }

  SeededRandom random_{3};
  net::EventLoop loop_;
  SecretKey key_ = edge::testing::key(9);
  std::unique_ptr<hub::Hub> hub_;
  std::unique_ptr<HubDoor> door_;
  std::unique_ptr<net::TcpListener> listener_;
  std::vector<std::unique_ptr<net::ByteStream>> clients_;
};

TEST_F(HubDoorTest, WhenFullOneThatAskedNothingLosesItsPlace) {
  open({.connections = 4, .per_source = 100});
  net::ByteStream& asked = ask();
  std::vector<net::ByteStream*> silent;
  for (int i = 0; i < 3; ++i) silent.push_back(&knock());
  testing::internal::CaptureStderr();
  ask();
  std::string log = testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("hub_connections_full"), std::string::npos) << log;
  EXPECT_EQ(std::ranges::count_if(silent, [&](net::ByteStream* each) { return open_still(*each); }), 2);
  EXPECT_TRUE(open_still(asked)) << "although it is the oldest";
  EXPECT_EQ(door_->size(), 4u);
}

TEST_F(HubDoorTest, RequestsDoNotKeepHandshakesOut) {
  open({.connections = 4, .per_source = 100});
  net::ByteStream& first = ask();
  for (int i = 0; i < 3; ++i) ask();
  auto honest = connect();
  EXPECT_TRUE(dropped(first)) << "when everybody has asked, the oldest goes";
  ask();  // the newcomers of such a flood have asked nothing yet, either
  auto tls = handshake(std::move(honest));
  EXPECT_TRUE(tls) << tls.error().message;
}

// Each handshake takes so long that the flood can fill all places meanwhile.
TEST_F(HubDoorTest, HonestHandshakesSurviveAFlood) {
  constexpr size_t kPlaces = 16;
  open({.connections = kPlaces, .per_source = 1000});
  for (size_t i = 0; i < kPlaces; ++i) knock();
  int survived = 0;
  for (int i = 0; i < 20; ++i) {
    auto honest = connect();
    for (size_t flood = 0; flood < kPlaces; ++flood) knock();
    if (handshake(std::move(honest))) ++survived;
    clients_.erase(clients_.begin(), clients_.end() - kPlaces);
  }
  // A third or so; with the oldest as the victim, none.
  EXPECT_GE(survived, 2);
}

TEST_F(HubDoorTest, AFullSourceLosesItsOwnOldestThatAskedNothing) {
  open({.connections = 100, .per_source = 3});
  ask();
  net::ByteStream& first = knock();
  net::ByteStream& second = knock();
  testing::internal::CaptureStderr();
  net::ByteStream& third = knock();
  EXPECT_TRUE(dropped(first));
  EXPECT_TRUE(open_still(second));
  ask();
  EXPECT_TRUE(dropped(second));
  std::string log = testing::internal::GetCapturedStderr();
  size_t at = log.find("hub_source_full");
  EXPECT_NE(at, std::string::npos) << log;
  EXPECT_EQ(log.find("hub_source_full", at + 1), std::string::npos) << "not rate-limited: " << log;
  ask();
  EXPECT_TRUE(dropped(third));
  EXPECT_TRUE(dropped(knock())) << "when all of its connections have asked, it gets no more";
  clients_.front()->close();
  run_until(loop_, [&] { return door_->size() == 2; });
  ask();
}

}  // namespace
}  // namespace culvert::node
