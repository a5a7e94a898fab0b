#pragma once
#include <grp.h>
#include <gtest/gtest.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/log.h"
#include "hub/postgres_connection.h"

// For tests: a PostgreSQL server from Debian's package, one for the program, in a directory of its own and
// reachable through a socket there alone.
namespace culvert::hub::testing {

class PostgresServer {
 public:
  // Whose passwords are asked for; all others are trusted.
  static constexpr const char* kUserWithPassword = "guarded";

  // nullptr: Debian's package postgresql is not installed. The server is started, if a test has stopped it.
  static PostgresServer* shared() {
    static const std::unique_ptr<PostgresServer> server = make();
    if (server && server->pid_ < 0) server->start();
    return server.get();
  }
  ~PostgresServer() {
    if (::getpid() != owner_) return;
    stop();
    std::filesystem::remove_all(directory_);
  }

  // The URL of a new, empty database.
  std::string make_database(const std::string& options = "") {
    const std::string name = fmt::format("test_{}_{}", ::getpid(), ++databases_);
    run("postgres", fmt::format("CREATE DATABASE {} {}", name, options));
    return url(name);
  }
  std::string url(const std::string& database, const std::string& user = "postgres") const {
    return fmt::format("postgres://{}@/{}?host={}", user, database, directory_.native());
  }
  const std::filesystem::path& directory() const { return directory_; }

  std::unique_ptr<PostgresConnection> connect(const std::string& database_url) const {
    using namespace std::chrono_literals;
    auto connection = PostgresConnection::open(PostgresUrl::parse(database_url).value(),
                                               {.connect = 10s, .lock = 10s, .statement = 30s});
    // Ends the test with this message.
    if (!connection) throw std::runtime_error("cannot connect to PostgreSQL: " + connection.error().message);
    return std::move(*connection);
  }
  void run(const std::string& database, const std::string& sql) { run_at(url(database), sql); }
  void run_at(const std::string& database_url, const std::string& sql) {
    auto ran = connect(database_url)->run(sql.c_str());
    EXPECT_TRUE(ran) << sql << ": " << ran.error().message;
  }

  void start() {
    pid_ =
        spawn({binary("postgres"), "-D", data(), "-k", directory_.native(), "-c", "listen_addresses=", "-c",
               "max_connections=50", "-c", "wal_level=minimal", "-c", "max_wal_senders=0"});
    for (int i = 0; i < 3000; ++i) {
      if (auto url_of = PostgresUrl::parse(url("postgres"));
          url_of && PostgresConnection::open(*url_of, {.connect = std::chrono::seconds(2),
                                                       .lock = std::chrono::seconds(2),
                                                       .statement = std::chrono::seconds(2)}))
        return;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    ADD_FAILURE() << "PostgreSQL did not start; see " << directory_ / "log";
  }
  // Whether a commit waits for the disk, as on Debian's servers. Otherwise it does not, and survives stop()
  // all the same.
  void set_fsync(bool is_on) {
    run("postgres", fmt::format("ALTER SYSTEM SET fsync = {}", is_on ? "on" : "off"));
    run("postgres", "SELECT pg_reload_conf()");
  }
  // As a crash of the server: sessions are cut off, and what was committed is there at the next start.
  void stop() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGQUIT);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  bool is_running() const { return pid_ >= 0; }

 private:
  PostgresServer() = default;

  static std::unique_ptr<PostgresServer> make() {
    std::unique_ptr<PostgresServer> server(new PostgresServer);
    if (server->binaries_.empty()) return nullptr;
    std::string name = (std::filesystem::temp_directory_path() / "culvert-postgres-XXXXXX").native();
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    server->directory_ = name;
    if (server->user_ != nullptr)
      EXPECT_EQ(::chown(name.c_str(), server->user_->pw_uid, server->user_->pw_gid), 0);
    ::chmod(name.c_str(), 0755);
    const pid_t made = server->spawn({server->binary("initdb"), "-D", server->data(), "-U", "postgres", "-A",
                                      "trust", "-E", "UTF8", "--locale=C", "--no-sync"});
    int status = -1;
    ::waitpid(made, &status, 0);
    EXPECT_EQ(status, 0) << "initdb failed; see " << server->directory_ / "log";
    std::ofstream(server->data() + "/pg_hba.conf")
        << "local all " << kUserWithPassword << " scram-sha-256\nlocal all all trust\n";
    std::ofstream(server->data() + "/postgresql.auto.conf") << "fsync = off\n";
    server->start();
    server->run("postgres", fmt::format("CREATE ROLE {} LOGIN PASSWORD 'right-secret'", kUserWithPassword));
    return server;
  }

  static std::filesystem::path find_binaries() {
    std::vector<std::filesystem::path> found;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator("/usr/lib/postgresql", ignored)) {
      if (std::filesystem::exists(entry.path() / "bin/initdb")) found.push_back(entry.path() / "bin");
    }
    return found.empty() ? std::filesystem::path() : *std::ranges::max_element(found);
  }
  std::string binary(const char* name) const { return (binaries_ / name).native(); }
  std::string data() const { return (directory_ / "data").native(); }

  // PostgreSQL does not run as root.
  static const passwd* other_user() {
    if (::geteuid() != 0) return nullptr;
    const passwd* user = ::getpwnam("postgres");
    return user != nullptr ? user : ::getpwnam("nobody");
  }
  pid_t spawn(std::vector<std::string> words) {
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    const std::string log = (directory_ / "log").native();
    const pid_t child = ::fork();
    if (child != 0) return child;
    if (user_ != nullptr &&
        (::setgroups(0, nullptr) != 0 || ::setgid(user_->pw_gid) != 0 || ::setuid(user_->pw_uid) != 0))
      ::_exit(126);
    ::prctl(PR_SET_PDEATHSIG, SIGQUIT);
    const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
    ::dup2(out, 1);
    ::dup2(out, 2);
    ::close_range(3, ~0U, 0);
    if (::chdir("/") != 0) ::_exit(126);
    ::execv(arguments[0], arguments.data());
    ::_exit(127);
  }

  const std::filesystem::path binaries_ = find_binaries();
  const passwd* const user_ = other_user();
  const pid_t owner_ = ::getpid();
  std::filesystem::path directory_;
  pid_t pid_ = -1;
  int databases_ = 0;
};

}  // namespace culvert::hub::testing
