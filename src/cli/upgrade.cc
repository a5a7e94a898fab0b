#include "cli/upgrade.h"

#include "base/log.h"
#include "base/version.h"
#include "cli/output.h"
#include "net/service_manager.h"
#include "net/successor.h"

namespace culvert::cli {

bool is_successor(const Environment& environment) { return environment(net::kSuccessorVariable).has_value(); }

Result<> run_upgrade() {
  int successor = 0;
  auto state = net::run_successor([&successor](int pid) {
    successor = pid;
    print_message("version {} starts as process {}", kVersion, pid);
  });
  if (!state) return std::unexpected(state.error());
  if (*state == net::SuccessorState::kEnded) {
    return fail(ErrorCode::kConflict,
                "process {} did not take over, its last message says why; a node that runs goes on as before",
                successor);
  }
  print_message("process {} serves; the one before it ends with its last connection", successor);
  return {};
}

void tell_of_service(const Environment& environment, bool is_upgrade) {
  if (const auto socket = environment("NOTIFY_SOCKET")) {
    // The second line makes this process the service's (systemd.service(5), NotifyAccess=).
    auto told = net::notify_service_manager(*socket, fmt::format("READY=1\nMAINPID={}", net::own_pid()));
    if (!told) log_warn("service_manager_not_told", "reason={}", culvert::quoted(told.error().message));
  }
  if (is_upgrade) net::report_to_predecessor();
}

}  // namespace culvert::cli
