"""What operators ask and change while everything runs."""
import json
import signal
import time

from lab.process import wait_until
from lab.world import BINARY, HOST, terminate


def test_status_and_health_of_hub_and_agent(world):
    world.nginx()
    node = world.node("--metrics-listen", "127.0.0.1:9100")
    world.agent(world.invite(node), terminate(), extra=("--metrics-listen", "127.0.0.1:9101"))

    status = json.loads(world.culvert("status", "--data-dir", node.data_dir, "-o", "json").stdout)
    assert status["status"] == "ok" and status["agents"] == 1 and status["routes"] == 1, status
    assert world.culvert("health", "--data-dir", node.data_dir).stdout == "ok\n"
    shown = world.culvert("route", "show", HOST, "--data-dir", node.data_dir)
    assert HOST in shown.stdout and world.culvert("route", "show", "x.test", "--data-dir", node.data_dir).returncode == 5
    mine = world.culvert("agent", "status", "--metrics-listen", "127.0.0.1:9101", namespace=world.home)
    assert "accepted" in mine.stdout, mine.stderr
    node.stop()
    assert world.culvert("health", "--data-dir", node.data_dir).returncode == 4
    gone = world.culvert("agent", "health", "--metrics-listen", "127.0.0.1:9101", namespace=world.home)
    assert gone.returncode == 1 and "no edge is connected" in gone.stderr, gone.stderr


def test_a_node_reads_its_file_again(world):
    path = world.directory / "node.toml"
    path.write_text('[edge]\nmax-connections = 500\n')
    node = world.node("--config", path)

    def reload():
        return world.culvert("config", "reload", "--data-dir", node.data_dir)

    assert reload().stdout == "nothing has changed\n"
    path.write_text('[edge]\nmax-connections = 600\nbalance = "least-connections"\n[log]\nlevel = "debug"\n')
    done = reload()
    assert "changed: edge.max-connections: 600, was 500\n" in done.stdout, done.stderr
    assert "needs a restart: edge.balance: least-connections, was round-robin\n" in done.stdout
    path.write_text('[edge]\nmax-connections = 700\nworker = 2\n')
    refused = reload()
    assert refused.returncode == 3 and "edge.worker" in refused.stderr, refused.stderr
    path.write_text('[edge]\nmax-connections = 700\nbalance = "least-connections"\n')
    node.popen.send_signal(signal.SIGHUP)
    node.wait_for(r"event=config_reloaded .*max-connections: 700, was 600")
    audit = world.culvert("audit", "list", "--action", "config", "--data-dir", node.data_dir).stdout
    assert audit.count("config.reload") == 3 and audit.count("  signal  ") == 1, audit


def test_an_agent_takes_over_its_services(world):
    world.nginx()
    node = world.node()
    token = world.invite(node)
    path = world.directory / "services.json"
    path.write_text(json.dumps([terminate(host=f"a.{HOST}")]))
    agent = world.start("agent", [BINARY, "agent", "--services-file", path], world.home, env={"CULVERT_TOKEN": token})
    agent.wait_for(r"event=lease_granted")
    assert world.status() != "200"
    path.write_text(json.dumps([terminate()]))
    agent.popen.send_signal(signal.SIGHUP)
    agent.wait_for(r"event=config_reloaded .*services: 1, were 1")
    wait_until(lambda: world.status() == "200", "the new service is served", 5)
    assert agent.log.count("event=edge_connected") == 1, "through the same tunnel"
    path.write_text("[]")
    agent.popen.send_signal(signal.SIGHUP)
    agent.wait_for(r"event=config_refused")
    assert world.status() == "200"


def test_the_audit_log_is_followed(world):
    node = world.node()
    follower = world.start("audit", [BINARY, "audit", "list", "--follow", "-o", "json", "--data-dir", node.data_dir],
                           world.public)
    time.sleep(1)
    world.invite(node)
    entry = json.loads(follower.wait_for(r"^\{.*invite.create.*$", stream="stdout").group(0))
    assert entry["actor"] == "operator.key"
    follower.stop()
