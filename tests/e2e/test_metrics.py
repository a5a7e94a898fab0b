"""What a node and an agent serve at --metrics-listen."""
import re
import shutil
import subprocess

import pytest
from lab.process import wait_until
from lab.world import HOME_IP, HOST, NODE_IP, passthrough, terminate

PORT = 9100
LISTEN = f"127.0.0.1:{PORT}"
SAMPLE = re.compile(r'(culvert_[a-z0-9_]+)(?:\{((?:[a-z_]+="[A-Za-z0-9_./*+-]+",?)+)\})? ([0-9.e+-]+)')


def page(namespace, path):
    """(status, body) of a page of the program in this namespace."""
    said = namespace.run("curl", "-s", "--noproxy", "*", "-w", "\n%{http_code}", f"http://{LISTEN}{path}", check=False).stdout
    body, status = said.rsplit("\n", 1)
    return status, body


def series(namespace):
    """{series: value}, after a check of the text's form."""
    status, text = page(namespace, "/metrics")
    assert status == "200"
    values, family, names = {}, None, ()
    for line in text.splitlines():
        if line.startswith("# HELP "):
            family = line.split()[2]
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name == family and (kind == "counter") == name.endswith("_total"), line
            names = [name + part for part in ("_bucket", "_sum", "_count")] if kind == "histogram" else [name]
        else:
            sample = SAMPLE.fullmatch(line)
            assert sample and sample.group(1) in names, line
            name = line.rsplit(" ", 1)[0]
            assert name not in values, line
            values[name] = float(sample.group(3))
    return values


@pytest.fixture
def served(world):
    """(node, agent) with a terminated and a passthrough service, both with metrics."""
    world.nginx()
    node = world.node("--metrics-listen", LISTEN)
    agent = world.agent(world.invite(node), terminate(), passthrough(host="a.w.example.test"), extra=("--metrics-listen", LISTEN))
    return node, agent


@pytest.mark.smoke
def test_an_agent_counts_what_it_serves(world, served):
    _, agent = served
    assert page(world.home, "/healthz") == ("200", "ok\n")
    assert page(world.home, "/readyz") == ("200", "ok\n")
    before = series(world.home)
    for _ in range(5):
        assert world.status() == "200"
    now = wait_until(
        lambda: (found := series(world.home))["culvert_agent_finished_streams_total"] >=
        before["culvert_agent_finished_streams_total"] + 5 and found, "the streams have ended")
    assert now["culvert_agent_streams_total"] == before["culvert_agent_streams_total"] + 5
    assert now["culvert_agent_lease"] == now['culvert_agent_edges{state="connected"}'] == 1
    assert now['culvert_agent_services{state="accepted"}'] == 2
    assert now['culvert_agent_bytes_total{direction="to_edge"}'] > before['culvert_agent_bytes_total{direction="to_edge"}']
    assert now["culvert_quic_datagrams_received_total"] > before["culvert_quic_datagrams_received_total"]
    assert HOST not in page(world.home, "/metrics")[1]
    # From elsewhere it is not reached.
    elsewhere = world.nat.run("curl", "-s", "--noproxy", "*", "--max-time", "3", f"http://{HOME_IP}:{PORT}/metrics", check=False)
    assert elsewhere.returncode == 7
    assert agent.stop() == 0


def test_readiness_says_what_is_missing(world):
    nginx = world.nginx()
    node = world.node("--metrics-listen", LISTEN)
    token = world.invite(node)
    node.stop()
    agent = world.agent(token, terminate(), ready=False, extra=("--metrics-listen", LISTEN))

    def faults():
        status, body = page(world.home, "/readyz")
        assert (status == "200") == (body == "ok\n"), (status, body)
        return body
    wait_until(lambda: "no edge is connected" in faults(), "it is not ready without a node")
    assert page(world.home, "/healthz") == ("200", "ok\n"), "a restart would not help"
    node = world.node("--metrics-listen", LISTEN)
    wait_until(lambda: faults() == "ok\n", "it is ready")
    nginx.kill()
    assert world.status() == "502"
    assert f"the origin 127.0.0.1:3000 of {HOST} cannot be reached" in faults()
    world.nginx()
    assert world.status() == "200"
    assert faults() == "ok\n"
    world.revoke(node)
    wait_until(lambda: "revoked" in faults() and "no edge is connected" in faults(), "the revocation is seen")
    node.stop()
    agent.expected_end = True


def test_an_address_in_use_ends_the_start(world):
    node = world.node()
    token = world.invite(node)
    first = world.agent(token, terminate(), ready=False, extra=("--metrics-listen", LISTEN))
    first.wait_for(r"event=lease_granted")
    second = world.agent(token, terminate(), ready=False, extra=("--metrics-listen", LISTEN))
    assert second.wait() == 1
    assert LISTEN in second.log and "metrics: " in second.log, second.log


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
def test_promtool_finds_no_fault(world, served):
    for namespace in (world.public, world.home):
        text = page(namespace, "/metrics")[1]
        done = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, capture_output=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_node_has_the_series_of_its_edge_and_its_hub(world, served):
    assert page(world.public, "/readyz") == ("200", "ok\n")
    before = series(world.public)
    assert world.status() == "200"
    assert world.curl("/", host="unknown.example.test", timeout=5).returncode != 0
    now = series(world.public)
    unknown = 'culvert_edge_refused_connections_total{reason="unknown_hostname"}'
    assert now[unknown] == before[unknown] + 1
    assert now["culvert_hub_leases"] == now["culvert_edge_tunnels"] == 1
    assert NODE_IP not in page(world.public, "/metrics")[1]
