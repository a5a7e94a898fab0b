"""Starts, ends, losses and returns of node and agent."""
import contextlib
import re
import signal
import sys
import stat
import threading
import time

import pytest
from lab import names, wire
from lab.process import PATIENCE, wait_until
from lab.world import BINARY, HOST, NODE_IP, passthrough, terminate

UNKNOWN = "000"  # curl's status when the alert ended the handshake


@pytest.mark.smoke
def test_a_killed_agent_is_back_within_three_seconds_of_its_start(world):
    world.nginx()
    token = world.invite(world.node())
    first = world.agent(token, terminate())
    assert world.status() == "200"
    first.kill()
    second = world.agent(token, terminate(), ready=False)
    world.first_200(3, since=second.started_at)
    # ... and not only by luck of the draw between the living and the dead.
    assert [world.status() for _ in range(10)] == ["200"] * 10


def test_a_killed_agent_may_come_back_with_the_other_tls_mode(world):
    world.nginx()
    token = world.invite(world.node())
    first = world.agent(token, passthrough(), ready=False)
    wait_until(lambda: world.curl().returncode == 0, "the first one serves")
    first.kill()
    second = world.agent(token, terminate(), ready=False)
    second.wait_for(r"event=refused .*conflict with agent .*asks again within seconds")
    second.wait_for(r"event=ready", timeout=20)
    assert time.monotonic() - second.started_at < 15 * PATIENCE
    assert [world.status() for _ in range(5)] == ["200"] * 5


def test_a_service_that_is_accepted_later_is_ready_once_it_has_answered(world):
    world.nginx()
    token = world.invite(world.node())
    first = world.agent(token, passthrough(), ready=False)
    wait_until(lambda: world.curl().returncode == 0, "the first one serves")
    second = world.agent(token, terminate(), passthrough(host="a.w.example.test"), ready=False)
    second.wait_for(r"event=ready services=1 declared=2")
    assert HOST not in second.wait_for(r"event=serving urls=(\S+)").group(1)
    first.kill()
    second.wait_for(r"event=ready services=2 declared=2", timeout=20)
    second.wait_for(rf"event=serving urls=\S*{re.escape(HOST)}")
    assert world.status() == "200"


def test_two_live_agents_do_not_get_one_name_in_two_modes(world):
    world.nginx()
    token = world.invite(world.node())
    first = world.agent(token, terminate())
    second = world.agent(token, passthrough(), ready=False)
    second.wait_for(r"event=refused .*conflict with agent .* serves app\.example\.test as terminate")
    end = time.monotonic() + 12
    while time.monotonic() < end:
        assert world.status() == "200"
    assert "edge_connected" not in second.log and "edge_disconnected" not in first.log
    first.stop()
    second.wait_for(r"event=lease_granted .*accepted=0")
    second.wait_for(r"event=ready", timeout=15)


def test_a_hub_that_cannot_be_reached_does_not_end_a_lease(world):
    """The tunnel, over UDP, is healthy; every declaration, over TCP, is lost."""
    def handle(sock):
        with contextlib.suppress(OSError):
            while True:
                sock.sendall(b"x" * 100)
                time.sleep(0.2)

    world.nginx()
    raw = "raw.w.example.test"
    with wire.origin(world.home, 5000, handle):
        node = world.node()
        agent = world.agent(world.invite(node), terminate(), passthrough(5000, host=raw, proxy_protocol="none"), ready=False)
        wait_until(lambda: world.status() == "200", "it serves")
        with wire.connect(world.client) as stream:
            stream.sendall(wire.hello_record(raw))
            assert wire.receive_exactly(stream, 100)
            world.nat.run("nft", "insert rule ip filter forward iifname lan tcp dport 443 drop")
            end = time.monotonic() + 100  # a lease is for 90 s
            while time.monotonic() < end:
                assert wire.receive_exactly(stream, 100)
        assert world.status() == "200"
        assert "hub_unreachable" in agent.log and "edge_disconnected" not in agent.log


@pytest.mark.parametrize("workers", [1, 3])
def test_graceful_stops_of_agents_under_load_lose_no_request(world, workers):
    world.nginx()
    node = world.node("--workers", workers)
    token = world.invite(node)
    agents = [world.agent(token, terminate()), world.agent(token, terminate())]
    root = world.root_certificate(node)
    going, failures, done = True, [], [0] * 8

    def load(index):
        while going:
            answer = world.curl("/small", cacert=root, timeout=10)
            done[index] += 1
            if answer.returncode != 0 or len(answer.stdout) != 1024:
                failures.append((answer.returncode, answer.stderr, answer.stdout[:100]))

    threads = [threading.Thread(target=load, args=(index,)) for index in range(len(done))]
    for thread in threads:
        thread.start()
    try:
        for _ in range(6):
            time.sleep(0.5)
            assert agents.pop(0).stop() == 0
            time.sleep(0.2)
            agents.append(world.agent(token, terminate()))
    finally:
        going = False
        for thread in threads:
            thread.join()
    assert not failures, f"{len(failures)} of {sum(done)} requests were lost: {failures[:3]}"
    assert sum(done) > 100


@pytest.mark.smoke
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_agents_are_back_five_seconds_after_a_node_restart(world, how):
    world.nginx()
    node = world.node()
    agent = world.agent(world.invite(node), terminate())
    identity = re.search(r"event=node_started.*?\bid=(\S+)", node.log).group(1)
    node.signal(how)
    node.wait()
    time.sleep(1)
    again = world.node(wait=False)
    again.wait_for(r"event=node_started")
    world.first_200(5, since=again.started_at)
    assert re.search(r"event=node_started.*?\bid=(\S+)", again.log).group(1) == identity
    assert agent.alive()


def test_an_agent_waits_for_a_node_that_is_not_there_yet(world):
    world.nginx()
    node = world.node()
    token = world.invite(node)
    node.stop()
    agent = world.agent(token, terminate(), ready=False)
    time.sleep(3)
    assert agent.alive()
    again = world.node()
    world.first_200(5 + 5, since=again.started_at)


def test_a_node_that_moves_is_found_by_its_name(world):
    """Hub and edge are known to the agent by name only; the name's new address is enough to bring it back."""
    name, new_ip = "hub.example.test", "203.0.113.9"
    world.public.ip(f"addr add {new_ip}/24 dev nats")
    hosts = names.mount_over(world, "/etc/hosts", f"127.0.0.1 localhost\n{NODE_IP} {name}\n")

    def node_at(ip):
        node = world.start("node", [BINARY, "node", "--data-dir", world.directory / "node-data", "--listen", f"{ip}:443",
                                    "--public-url", f"https://{name}"], world.public)
        node.data_dir = world.directory / "node-data"
        node.wait_for(r"event=node_started")
        return node

    world.nginx()
    first = node_at(NODE_IP)
    with_name = world.culvert("invite", "create", "--data-dir", first.data_dir, "--hostnames", HOST)
    assert with_name.returncode == 0, with_name.stderr
    agent = world.agent(with_name.stdout.splitlines()[-1], terminate())
    agent.wait_for(rf"event=edge_connected .*address=\S*{re.escape(NODE_IP)}\]?:443")
    first.stop()
    agent.wait_for(r"event=hub_unreachable")
    node_at(new_ip)
    hosts.write_text(f"127.0.0.1 localhost\n{new_ip} {name}\n")
    agent.wait_for(rf"event=edge_connected .*address=\S*{re.escape(new_ip)}\]?:443")
    agent.wait_for(r"event=ready", count=2)


def test_a_node_that_vanishes_for_longer_than_the_idle_time(world):
    """The agent notices by silence, not by a reset."""
    world.nginx()
    agent = world.agent(world.invite(world.node()), terminate())
    assert world.status() == "200"
    world.public.ip("link set nats down")
    agent.wait_for(r"event=edge_disconnected .*idle timeout", timeout=60)
    world.public.ip("link set nats up")
    world.first_200(10)


def test_a_stopped_agent_takes_its_routes_with_it(world):
    world.nginx()
    agent = world.agent(world.invite(world.node()), terminate())
    assert world.status() == "200"
    agent.signal(signal.SIGTERM)
    assert agent.wait() == 0
    wait_until(lambda: world.curl().returncode == 35, "the name is unknown again", 5)


@pytest.mark.smoke
def test_a_stopping_node_lets_open_streams_end(world):
    def handle(sock):
        sock.recv(1000)
        sock.sendall(b"first half, ")
        time.sleep(3)
        sock.sendall(b"second half")

    with wire.origin(world.home, 5000, handle):
        node = world.node()
        world.agent(world.invite(node), passthrough(5000, proxy_protocol="none"), ready=False)

        def begun():
            sock = wire.connect(world.client)
            sock.sendall(wire.hello_record())
            try:
                if wire.receive_exactly(sock, 12) == b"first half, ":
                    return sock
            except (OSError, EOFError):
                pass
            sock.close()
            return None
        with wait_until(begun, "a stream is open") as sock:
            node.signal(signal.SIGTERM)
            time.sleep(0.5)
            with pytest.raises(OSError):
                with wire.connect(world.client, timeout=2) as late:
                    late.sendall(wire.hello_record())
                    if not late.recv(1):
                        raise ConnectionRefusedError("closed at once")
            assert wire.receive_all(sock) == b"second half"
        assert node.wait() == 0


def greets_and_rests(sock):
    sock.sendall(b"x")
    sock.recv(1000)
    time.sleep(30)


def stream_that_lasts(world):
    """A client's connection to an origin that greets and rests, once there is a route to it."""
    def begun():
        sock = wire.connect(world.client)
        sock.sendall(wire.hello_record())
        try:
            return sock if sock.recv(1) == b"x" else None
        except OSError:
            return None
    return wait_until(begun, "a stream is open")


def test_a_second_signal_does_not_wait_for_the_drain(world):
    with wire.origin(world.home, 5000, greets_and_rests):
        node = world.node("--drain-timeout", "25s")
        world.agent(world.invite(node), passthrough(5000, proxy_protocol="none"), ready=False)

        with stream_that_lasts(world):
            node.signal(signal.SIGTERM)
            time.sleep(0.5)
            assert node.alive()
            node.signal(signal.SIGTERM)
            node.wait(timeout=5)


def test_a_second_signal_to_the_agent_still_says_goodbye(world):
    """Without it the node would go on sending clients there until it noticed the silence."""
    with wire.origin(world.home, 5000, greets_and_rests):
        node = world.node()
        agent = world.agent(world.invite(node), passthrough(5000, proxy_protocol="none"), ready=False)

        with stream_that_lasts(world):
            agent.signal(signal.SIGINT)
            agent.wait_for(r"open connections? (has|have) 2 s to end; Ctrl-C again ends (it|them) now")
            agent.signal(signal.SIGINT)
            assert agent.wait() == 130
            node.wait_for(r"event=agent_disconnected .*by=agent .*the agent stops", timeout=3)


def test_a_path_that_is_too_narrow_for_quic_is_named(world):
    world.nginx()
    node = world.node()
    world.home.ip("link set eth0 mtu 1200")
    agent = world.agent(world.invite(node), terminate(), ready=False)
    agent.wait_for(r"event=edge_unreachable .*carries packets of 1200 bytes at most, and QUIC needs 1228", timeout=30)


def test_a_node_listens_on_every_address_by_default(world):
    """IPv4 and IPv6 clients, and an agent by UDP over IPv4."""
    world.nginx()
    world.public.ip("-6 addr add 2001:db8:1::1/64 dev clients nodad")
    world.client.ip("-6 addr add 2001:db8:1::2/64 dev eth0 nodad")
    node = world.start("node", [BINARY, "node", "--data-dir", world.directory / "node-data", "--public-url", f"https://{NODE_IP}",
                                "--workers", "2"], world.public)
    node.data_dir = world.directory / "node-data"
    node.wait_for(r"event=node_started .*tcp=\[::\]:443 udp=\[::\]:443")
    world.agent(world.invite(node), terminate())
    assert world.status() == "200"
    over_v6 = ["--connect-to", f"{HOST}:443:[2001:db8:1::1]:443"]
    wait_until(lambda: world.client.run("curl", "-sk", "--noproxy", "*", *over_v6, f"https://{HOST}/", check=False).returncode == 0,
               "an answer over IPv6")


def test_http_on_the_https_port_is_told_so(world):
    node = world.node()
    said = world.client.run("curl", "-s", "--noproxy", "*", "-w", " %{http_code}", f"http://{NODE_IP}:443/").stdout
    assert "https://" in said and said.endswith(" 400"), said
    node.wait_for(r"event=plain_http ")


def test_an_origin_that_expects_https_gets_a_hint(world):
    world.nginx()
    agent = world.agent(world.invite(world.node()), terminate(port=3443))
    assert world.status() == "400"
    agent.wait_for(r"event=origin_refused_first_bytes .*expects TLS")


def test_closed_udp_is_named_with_its_port(world):
    """The commonest slip with a new host: TCP 443 is open, UDP 443 is not."""
    world.nginx()
    node = world.node()
    world.public.run("nft", "add table inet closed")
    world.public.run("nft", "add chain inet closed in { type filter hook input priority 0; }")
    world.public.run("nft", "add rule inet closed in udp dport 443 drop")
    agent = world.agent(world.invite(node), terminate(), ready=False)
    agent.wait_for(rf"event=edge_unreachable .*no answer from UDP {re.escape(NODE_IP)}:443; open this UDP port", timeout=30)
    world.public.run("nft", "delete table inet closed")
    agent.wait_for(r"event=ready", timeout=30)


def test_a_name_that_leads_elsewhere_is_reported(world):
    world.nginx()
    node = world.node()
    hosts = names.mount_over(world, "/etc/hosts", f"127.0.0.1 localhost\n203.0.113.99 {HOST}\n")
    token = world.invite(node)
    agent = world.agent(token, terminate())
    agent.wait_for(rf"event=hostname_leads_elsewhere service={HOST} address=203.0.113.99 .*{re.escape(NODE_IP)}")
    agent.stop()
    hosts.write_text(f"127.0.0.1 localhost\n{NODE_IP} {HOST}\n")
    agent = world.agent(token, terminate())
    time.sleep(1)
    assert "hostname_" not in agent.log


def test_an_agent_to_which_nothing_is_granted_leaves_the_edge_alone(world):
    node = world.node()
    agent = world.agent(world.invite(node), terminate(hostname="not.granted.test"), ready=False)
    agent.wait_for(r"event=refused .*not.granted.test")
    time.sleep(1)
    assert "edge_" not in agent.log


def test_the_data_directory_is_private(world):
    node = world.node()
    world.invite(node)
    for path in node.data_dir.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        secret = path.suffix in (".key", ".db") or "key" in path.name
        if secret:
            assert mode & 0o077 == 0, f"{path.name} has mode {mode:o}"
    assert stat.S_IMODE(node.data_dir.stat().st_mode) & 0o077 == 0


def test_no_log_shows_a_secret(world):
    world.nginx()
    node = world.node("--log-level", "debug")
    token = world.invite(node)
    agent = world.agent(token, terminate(), extra=("--log-level", "debug"))
    world.curl(check=True)
    _, _, _, _, secret, tenant_seed, _ = token.split(".")
    operator_key = (node.data_dir / "operator.key").read_bytes().decode(errors="replace").strip()
    for process in (node, agent):
        for hidden in (secret, tenant_seed, operator_key):
            assert hidden not in process.log, f"{process.name} logs a secret"


@pytest.mark.smoke
def test_an_origin_that_is_down_gives_a_502_and_a_log_line(world):
    nginx = world.nginx()
    agent = world.agent(world.invite(world.node()), terminate())
    nginx.kill()
    done = world.curl("/", "--write-out", "%{http_code}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("502") and len(done.stdout) > 20, done.stdout
    agent.wait_for(r"127\.0\.0\.1:3000")


def test_an_origin_that_is_down_gives_a_tls_alert_on_passthrough(world):
    nginx = world.nginx()
    agent = world.agent(world.invite(world.node()), passthrough())
    nginx.kill()
    with wire.connect(world.client) as sock:
        sock.sendall(wire.hello_record())
        answer = wire.receive_all(sock)
    assert answer[:1] == b"\x15" and answer[-2:] == b"\x02\x50", answer  # fatal, internal_error (80)
    agent.wait_for(r"127\.0\.0\.1:3444")


def test_an_origin_that_refuses_the_proxy_header_is_named_in_one_line(world):
    world.nginx()
    agent = world.agent(world.invite(world.node()), passthrough(3443), ready=False)  # HTTPS without proxy_protocol
    wait_until(lambda: world.curl().returncode != 0, "the handshake fails")
    for _ in range(5):
        world.curl()
    agent.wait_for(r"proxy_protocol")
    time.sleep(0.5)
    lines = [line for line in agent.log.splitlines() if "proxy_protocol" in line]
    assert len(lines) <= 3, lines


# Runs a program in a terminal of its own, with our standard output and error; SIGHUP closes the terminal.
IN_A_TERMINAL = """
import os, pty, signal, sys
out, err = os.dup(1), os.dup(2)
pid, terminal = pty.fork()
if pid == 0:
    os.dup2(out, 1), os.dup2(err, 2)
    os.execvp(sys.argv[1], sys.argv[1:])
signal.signal(signal.SIGHUP, lambda *_: os.close(terminal))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_a_closed_terminal_is_a_stop_with_a_goodbye(world):
    world.nginx()
    node = world.node()
    agent = world.agent(world.invite(node), terminate(), prefix=(sys.executable, "-c", IN_A_TERMINAL))
    agent.signal(signal.SIGHUP)
    assert agent.wait() == 0
    node.wait_for(r"event=agent_disconnected .*by=agent code=7")
    wait_until(lambda: world.curl().returncode == 35, "the name is unknown again", 5)
