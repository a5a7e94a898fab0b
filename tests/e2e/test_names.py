"""Origins and hubs that are given by name, with name servers that answer late, half or not at all."""
import signal
import ssl
import time

import pytest
from lab import names, wire
from lab.names import SILENT
from lab.process import PATIENCE, wait_until
from lab.world import BINARY, NODE_IP, WILDCARD, terminate

DEAD_HOST = "dead.w.example.test"
GOOD, DEAD = "good.home.test", "dead.home.test"
# What nothing here may cost: shorter than any deadline of a lookup, a connect or a goodbye.
AT_ONCE = 1.5 * PATIENCE


def request(world, host):
    """A TLS connection to the edge with a request on its way; nothing is read yet."""
    tls = wire.insecure_context().wrap_socket(wire.connect(world.client), server_hostname=host)
    tls.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    return tls


def has_answer(tls):
    """Whether a byte of the answer is there; TLS messages of its own are not."""
    timeout = tls.gettimeout()
    tls.settimeout(0)
    try:
        tls.recv(1)
        return True
    except ssl.SSLWantReadError:
        return False
    finally:
        tls.settimeout(timeout)


def asked_again(server, name):
    """Waits for the name server to be asked: an answer is not due for some seconds from now."""
    before = server.asked(name)
    wait_until(lambda: server.asked(name) > before, f"{name} is asked for", 30)


@pytest.mark.smoke
def test_a_silent_name_delays_no_other_origin(world):
    server = names.use_name_server(world, world.home, {GOOD: {"A": ["127.0.0.1"]}, DEAD: {"A": SILENT, "AAAA": SILENT}},
                                   options="timeout:4 attempts:2")  # the longest that a question may take: 8 s
    world.nginx()
    # The readiness probe of the dead service asks for its name again and again, so the agent is never ready.
    agent = world.agent(world.invite(world.node()), terminate(origin=GOOD), terminate(5000, DEAD_HOST, origin=DEAD), ready=False)
    world.first_200(10)
    asked_again(server, DEAD)
    waiting = [request(world, DEAD_HOST) for _ in range(20)]
    try:
        assert [world.status() for _ in range(10)] == ["200"] * 10
        # All were served while every one of the twenty still waited.
        assert not any(map(has_answer, waiting))
        for tls in waiting:
            assert wire.receive_all(tls).startswith((b"HTTP/1.1 502 ", b"HTTP/1.1 504 "))
    finally:
        for tls in waiting:
            tls.close()
    agent.wait_for(rf"event=origin_unreachable .*{DEAD_HOST}.*{DEAD}.*no answer in time from 127\.0\.0\.1:53")
    assert world.status() == "200"


def test_silence_about_ipv6_costs_a_connection_less_than_a_second(world):
    half = "half.home.test"
    server = names.use_name_server(world, world.home, {half: {"A": ["127.0.0.1"], "AAAA": SILENT}})
    world.nginx()
    # No probe asks for a wildcard's origin: the first request meets an empty cache.
    world.agent(world.invite(world.node()), terminate(origin="127.0.0.1"), terminate(host=WILDCARD, origin=half))
    assert server.asked(half) == 0
    began = time.monotonic()
    assert world.status(host="any.w.example.test") == "200"
    assert time.monotonic() - began < AT_ONCE
    assert server.asked(half, "AAAA") > 0


def test_a_black_holed_ipv6_address_gives_way_to_ipv4(world):
    both = "both.home.test"
    names.use_name_server(world, world.home, {both: {"A": ["127.0.0.1"], "AAAA": ["::1"]}})
    world.home.run("nft", "-f", "-", input="""
table ip6 hole {
  chain in {
    type filter hook input priority 0
    ip6 daddr ::1 tcp dport 3000 counter drop
  }
}
""")
    world.nginx()
    agent = world.agent(world.invite(world.node()), terminate(origin="127.0.0.1"), terminate(host=WILDCARD, origin=both))
    began = time.monotonic()
    assert world.status(host="any.w.example.test") == "200"
    assert time.monotonic() - began < AT_ONCE
    assert "packets 0 " not in world.home.run("nft", "list", "table", "ip6", "hole").stdout
    assert "event=origin_unreachable" not in agent.log


def test_an_origin_whose_address_changes_is_found_again(world):
    moving = "moving.home.test"
    server = names.use_name_server(world, world.home, {moving: {"A": ["127.0.0.9"]}}, ttl=0)

    def handle(sock):
        sock.recv(4096)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with wire.origin(world.home, 5000, handle) as errors:  # on 127.0.0.1 only
        agent = world.agent(world.invite(world.node()), terminate(5000, origin=moving), ready=False)
        agent.wait_for(r"event=origin_unreachable .*moving\.home\.test: 127\.0\.0\.9:5000: Connection refused")
        server.records[moving] = {"A": ["127.0.0.1"]}
        agent.wait_for(r"event=ready")
        assert world.status() == "200"
        assert not errors


def end_by(process, number):
    """Ends it by one signal; how long that took."""
    began = time.monotonic()
    process.signal(number)
    assert process.wait() == 0
    assert "open connections" not in process.log + process.stdout
    return time.monotonic() - began


@pytest.mark.smoke
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_silent_name_of_the_hub_does_not_delay_the_end_of_an_agent(world, number):
    hub = "hub.example.test"
    server = names.use_name_server(world, world.home, {hub: {"A": SILENT, "AAAA": SILENT}})
    token = world.invite(world.node(public_host=hub))
    agent = world.agent(token, terminate(), ready=False)
    wait_until(lambda: server.asked(hub), "the hub's name is asked for")
    assert end_by(agent, number) < AT_ONCE
    tunnel = world.start("http", [BINARY, "http", "3000", "--hostname", "app.example.test"], world.home,
                         env={"CULVERT_TOKEN": token, "HOME": str(world.directory)})
    asked_again(server, hub)
    assert end_by(tunnel, number) < AT_ONCE


def test_a_silent_name_of_an_origin_does_not_delay_the_end_of_an_agent(world):
    server = names.use_name_server(world, world.home, {DEAD: {"A": SILENT, "AAAA": SILENT}}, options="timeout:4 attempts:2")
    world.nginx()
    agent = world.agent(world.invite(world.node()), terminate(origin="127.0.0.1"), terminate(host=WILDCARD, origin=DEAD))
    waiting = [request(world, f"{number}.w.example.test") for number in range(5)]
    wait_until(lambda: server.asked(DEAD), "the origin's name is asked for")
    assert end_by(agent, signal.SIGTERM) < AT_ONCE
    for tls in waiting:
        tls.close()


def test_node_and_origin_are_found_by_the_hosts_file(world):
    name = "hub.example.test"
    names.mount_over(world, "/etc/hosts", f"127.0.0.1 localhost {GOOD}\n{NODE_IP} {name}\n")
    world.nginx()
    world.agent(world.invite(world.node(public_host=name)), terminate(origin=GOOD))
    assert world.status() == "200"
