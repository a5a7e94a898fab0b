"""A hub alone and edges on hosts of their own."""
import json
import re
import signal
import threading
import time

import pytest
from lab import wire
from lab.netns import Namespace
from lab.process import PATIENCE, wait_until
from lab.world import BINARY, HOST, NODE_IP, passthrough, terminate

PROMISE = 3.0  # seconds until the public URL answers again


class Edges:
    """The hub of a world, and hosts for its edges: 192.0.2.2, 192.0.2.6, ..."""

    def __init__(self, world, *options):
        self.world, self.hosts, self.options = world, {}, options
        self.start_hub()

    def start_hub(self):
        world = self.world
        self.hub = world.start("hub", [BINARY, "hub", "--data-dir", world.directory / "hub", "--listen", f"{NODE_IP}:443",
                                       "--public-url", f"https://{NODE_IP}", *self.options], world.public)
        self.hub.data_dir = world.directory / "hub"
        self.hub.wait_for(r"event=node_started")

    def operator(self, *words):
        answer = self.world.culvert(*words, "--data-dir", self.hub.data_dir)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    def token(self, name):
        return self.operator("edge-invite", "create", "--name", name).strip()

    def host(self, name):
        """The namespace and the address of an edge's host."""
        if name not in self.hosts:
            number = len(self.hosts)
            namespace = Namespace(name)
            self.world.namespaces.append(namespace)
            address = f"192.0.2.{4 * number + 2}"
            self.world.public.link(f"to{name}", f"192.0.2.{4 * number + 1}/30", namespace, "eth0", f"{address}/30")
            namespace.ip(f"route add default via 192.0.2.{4 * number + 1}")
            self.hosts[name] = namespace, address
        return self.hosts[name]

    def start(self, name, token, *options, following=True):
        """An edge is started with its token and nothing else but a directory of the test's, and what `options` say."""
        namespace, address = self.host(name)
        state = self.world.directory / f"state-{name}"
        edge = self.world.start(name, [BINARY, "edge", *options], namespace, env={"CULVERT_EDGE_TOKEN": token, "CULVERT_DATA_DIR": str(state)})
        edge.address, edge.routes = address, state / "routes.jsonl"
        edge.wait_for(r"event=hub_followed" if following else r"event=routes_loaded")
        return edge

    def states(self):
        return {edge["name"]: edge["state"] for edge in json.loads(self.operator("edge", "list", "-o", "json"))["edges"]}

    def status(self, edge, host=HOST, timeout=5.0, **kwargs):
        return self.world.status(host=host, timeout=timeout, at=[edge.address], **kwargs)


@pytest.fixture
def edges(world):
    world.nginx()
    return Edges(world)


@pytest.mark.smoke
def test_an_edge_needs_its_token_and_nothing_else(world, edges):
    edge = edges.start("paris", edges.token("paris"))
    token = world.invite(edges.hub)
    world.agent(token, terminate())
    assert edges.status(edge) == "200"
    assert edges.states() == {"paris": "connected"}
    assert "paris" in edges.operator("edge", "list") and "paris" in edges.operator("edge-invite", "list")
    # The agent checks the edge's certificates with the root that the hub has told it.
    answer = world.curl(at=[edge.address], cacert=world.directory / "state-paris" / "ca.pem")
    assert answer.stdout == "hello from the origin\n"
    edge.stop()
    assert edges.states() == {"paris": "left"}


def test_an_edge_tells_its_status_on_its_own_host(world, edges):
    token = edges.token("paris")
    namespace, _ = edges.host("paris")
    state = world.directory / "state-paris"

    def ask(command, *words):
        return world.culvert(command, "--data-dir", state, *words, namespace=namespace)

    quiet = edges.start("paris", token)
    told = ask("status")
    assert told.returncode == 1 and "start it with e.g. --metrics-listen" in told.stderr
    quiet.stop()
    edge = world.start("paris", [BINARY, "edge", "--metrics-listen", "127.0.0.1:9100"], namespace,
                       env={"CULVERT_EDGE_TOKEN": token, "CULVERT_DATA_DIR": str(state)})
    edge.wait_for(r"event=hub_followed")
    agent = world.agent(world.invite(edges.hub), terminate())
    wait_until(lambda: json.loads(ask("status", "-o", "json").stdout)["tunnels"] == 1, "the agent has a tunnel")
    seen = json.loads(ask("status", "-o", "json").stdout)
    assert (seen["status"], seen["name"], seen["hub"], seen["routes"]) == ("ready", "paris", "followed", 1), seen
    assert ask("health").stdout == "ok\n"

    edges.operator("edge", "edit", "paris", "--name", "lyon", "--region", "eu-west")
    assert edges.states() == {"lyon": "connected"}
    edges.hub.stop()
    wait_until(lambda: ask("health").returncode == 1, "the hub is missed", 10)
    told = ask("status")
    assert told.returncode == 0 and re.search(r"(?m)^hub +away", told.stdout), told.stdout
    assert "fault: the hub has not answered since " in told.stdout and f"reaches https://{NODE_IP}" in told.stdout
    agent.stop()
    edge.stop()
    assert ask("health").returncode == 4


def test_agents_dial_an_edge_that_joins_and_leave_one_that_goes(world, edges):
    first = edges.start("paris", edges.token("paris"))
    world.agent(world.invite(edges.hub), terminate())
    second = edges.start("lyon", edges.token("lyon"))
    second.wait_for(r"event=agent_connected", timeout=8.0)
    assert edges.status(second) == "200"
    first.stop()
    assert edges.status(second) == "200"
    again = edges.start("paris", edges.token("paris2"))  # the host has another edge now
    again.wait_for(r"event=agent_connected", timeout=8.0)
    assert edges.status(again) == "200"


def test_one_of_two_edges_is_killed_under_load(world, edges):
    first, second = (edges.start(name, edges.token(name)) for name in ("paris", "lyon"))
    world.agent(world.invite(edges.hub), terminate())
    for edge in (first, second):
        wait_until(lambda edge=edge: edges.status(edge) == "200", f"{edge.name} serves")
    requests, stopping = [], threading.Event()

    def load(edge):
        context = wire.insecure_context()
        while not stopping.is_set():
            began = time.monotonic()
            try:
                with wire.connect(world.client, (edge.address, 443), timeout=10) as sock, \
                        context.wrap_socket(sock, server_hostname=HOST) as tls:
                    tls.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
                    failure = None if wire.receive_all(tls).endswith(b"hello from the origin\n") else "another answer"
            except (OSError, EOFError) as error:
                failure = repr(error)
            requests.append((began, edge.name, failure))
            time.sleep(0.005)

    threads = [threading.Thread(target=load, args=(edge,)) for edge in (first, second) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: len(requests) > 60, "clients are served")
        first.kill()
        killed = time.monotonic()
        # The public name has the addresses of both.
        while world.status(timeout=2.0, at=[first.address, second.address]) != "200":
            assert time.monotonic() - killed < PROMISE * PATIENCE, "no answer after an edge was killed"
        time.sleep(1)
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
    failed = [request for request in requests if request[2] and request[1] == second.name]
    assert not failed, failed[:3]
    assert any(began > killed for began, name, _ in requests if name == second.name)


def test_the_only_edge_restarts_after_a_pause(world, edges):
    # The agents ask the hub meanwhile and hear of no edge: nobody can tell them when there is one again.
    token = edges.token("paris")
    edge = edges.start("paris", token)
    world.agent(world.invite(edges.hub), terminate())
    assert edges.status(edge) == "200"
    edge.stop()
    time.sleep(5)
    edge = edges.start("paris", token)
    wait_until(lambda: edges.status(edge) == "200", "the agent has found the edge again", timeout=8)


def test_an_edge_that_hangs_is_away(world, edges):
    edge = edges.start("paris", edges.token("paris"))
    wait_until(lambda: edges.states() == {"paris": "connected"}, "it is followed")
    edge.popen.send_signal(signal.SIGSTOP)
    try:
        wait_until(lambda: edges.states() == {"paris": "away"}, "the hub has noticed", timeout=45)
        edges.hub.wait_for(r"event=edge_silent edge=")
    finally:
        edge.popen.send_signal(signal.SIGCONT)
    wait_until(lambda: edges.states() == {"paris": "connected"}, "it is back")


def test_two_edges_with_one_token_are_told_of_and_do_not_take_turns(world, edges):
    token = edges.token("paris")
    first = edges.start("paris", token)
    world.agent(world.invite(edges.hub), terminate())
    assert edges.status(first) == "200"
    second = edges.start("clone", token)
    first.wait_for(r'event=edge_refused .*another process uses the token of this edge, at 192.0.2.6')
    edges.hub.wait_for(r'event=edge_token_shared edge=\S+ name="paris"')
    [shown] = json.loads(edges.operator("edge", "list", "-o", "json"))["edges"]
    assert shown["token_also_used_at"] == first.address
    time.sleep(5)
    assert edges.hub.log.count("event=edge_following") == 2, "the two take turns"
    # The agent's tunnel stands: it stays where it is.
    assert edges.status(first) == "200"
    second.stop()


def test_edges_serve_restart_and_serve_while_the_hub_is_away(world, edges):
    token = edges.token("paris")
    edge = edges.start("paris", token)
    world.agent(world.invite(edges.hub), terminate())
    wait_until(lambda: edges.status(edge) == "200", "the edge serves")
    edges.hub.kill()
    assert edges.status(edge) == "200"
    edge.kill()
    edge = edges.start("paris", token, following=False)
    began = time.monotonic()
    wait_until(lambda: edges.status(edge) == "200", "the edge serves again")
    assert time.monotonic() - began < 6 * PATIENCE, "the agent comes back as after any restart"


def test_a_damaged_file_of_routes_is_fetched_again(world, edges):
    token = edges.token("paris")
    edge = edges.start("paris", token)
    world.agent(world.invite(edges.hub), terminate())
    wait_until(lambda: edges.status(edge) == "200", "the edge serves")
    edge.stop()
    content = bytearray(edge.routes.read_bytes())
    content[len(content) // 2] ^= 1
    edge.routes.write_bytes(content)
    edge = edges.start("paris", token)
    assert "event=routes_not_loaded" in edge.log
    wait_until(lambda: edges.status(edge) == "200", "the edge serves")


def test_what_an_operator_changes_is_so_at_every_edge_within_a_second(world, edges):
    both = [edges.start(name, edges.token(name)) for name in ("paris", "lyon")]
    world.agent(world.invite(edges.hub), terminate())
    for edge in both:
        wait_until(lambda edge=edge: edges.status(edge) == "200", f"{edge.name} serves")
    edges.operator("tenant", "suspend", "home")
    time.sleep(1 * PATIENCE)
    assert [edges.status(edge) for edge in both] == ["503", "503"]
    edges.operator("tenant", "resume", "home")
    time.sleep(1 * PATIENCE)
    assert [edges.status(edge) for edge in both] == ["200", "200"]
    edges.operator("edge-invite", "revoke", "paris")
    both[0].wait_for(r"event=edge_revoked", timeout=3.0)
    assert edges.status(both[0]) == "000"
    assert edges.status(both[1]) == "200"
    assert edges.states() == {"lyon": "connected"}


@pytest.mark.parametrize("token, reason", [
    ("", "there is none"), ("nonsense", "does not start with cvt_edge_1"), ("cvt_edge_1.a", "damaged|bytes instead of|ends after")])
def test_a_bad_token_is_named_and_not_repeated(world, token, reason):
    answer = world.culvert("edge", "--data-dir", world.directory / "edge", env={"CULVERT_EDGE_TOKEN": token} if token else None)
    assert answer.returncode != 0
    assert any(part in answer.stderr for part in reason.split("|")), answer.stderr
    assert not token or token not in answer.stderr


def test_an_invite_token_is_no_edge_token(world, edges):
    invite = world.invite(edges.hub)
    answer = world.culvert("edge", "--data-dir", world.directory / "edge", env={"CULVERT_EDGE_TOKEN": invite})
    assert answer.returncode == 2 and "it is an invite token" in answer.stderr, answer.stderr
    answer = world.culvert("agent", "--services", json.dumps([passthrough()]), env={"CULVERT_TOKEN": edges.token("paris")})
    assert answer.returncode == 2 and "it is an edge token" in answer.stderr, answer.stderr
