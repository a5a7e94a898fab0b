"""`culvert node --upgrade`: a new process takes over, and nobody notices."""
import asyncio
import json
import os
import re
import selectors
import signal
import socket
import ssl
import sys
import threading
import time
from contextlib import ExitStack, contextmanager

import pytest
import websockets
from lab import postgres, wire
from lab.process import PATIENCE, wait_until
from lab.upgrade import FalsePredecessor, FalseSuccessor, descriptors, hello, run_upgrade, upgrade
from lab.world import BINARY, HOST, NODE_IP, NODE_TCP, ROOT, passthrough, terminate
from test_edges import Edges

ADDRESS = f"{NODE_IP}:{NODE_TCP}"
RAW = "raw.w.example.test"
ECHO = 5000
METRICS = "127.0.0.1:9100"


class EchoOrigin:
    """Answers the ClientHello with `hello` and then everything with the same, for any number of connections in one thread."""

    def __init__(self, namespace, port):
        with namespace.entered():
            self.listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.listener.setblocking(False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.stopped = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        greeted = set()
        while not self.stopped:
            for key, _ in self.selector.select(0.1):
                if key.fileobj is self.listener:
                    connection, _ = self.listener.accept()
                    connection.setblocking(True)
                    self.selector.register(connection, selectors.EVENT_READ)
                    continue
                try:
                    data = key.fileobj.recv(65536)
                    if data:
                        key.fileobj.sendall(data if key.fileobj in greeted else b"hello")
                        greeted.add(key.fileobj)
                except OSError:
                    data = b""
                if not data:
                    self.selector.unregister(key.fileobj)
                    greeted.discard(key.fileobj)
                    key.fileobj.close()

    def close(self):
        self.stopped = True
        self.thread.join(10)
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()


@pytest.fixture
def echo(world):
    origin = EchoOrigin(world.home, ECHO)
    yield origin
    origin.close()


def held_connection(world):
    """A public connection that stays."""
    connection = wire.connect(world.client)
    connection.sendall(wire.hello_record(RAW))
    assert wire.receive_exactly(connection, 5) == b"hello"
    return connection


def held_if_served(world):
    connection = wire.connect(world.client)
    connection.sendall(wire.hello_record(RAW))
    if wire.receive_exactly(connection, 5) == b"hello":
        return connection
    connection.close()
    return None


def check_echo(connections):
    for number, connection in enumerate(connections):
        connection.sendall(b"%08d" % number)
    for number, connection in enumerate(connections):
        assert wire.receive_exactly(connection, 8) == b"%08d" % number


class WebSockets:
    """So many of them that stay, at an origin that echoes, all in one thread."""

    HOST, PORT = "ws.w.example.test", 5002

    def __init__(self, world, count):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.connections, self.server = [], None
        with world.home.entered():
            listener = socket.create_server(("127.0.0.1", self.PORT), backlog=1024)
        self.run(self.listen(listener))
        for _ in range(count):
            self.run(self.connect(wire.connect(world.client)))

    def run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60 * PATIENCE)

    async def listen(self, listener):
        async def echo(connection):
            async for message in connection:
                await connection.send(message)
        self.server = await websockets.serve(echo, sock=listener, ping_interval=None)

    async def connect(self, sock):
        self.connections.append(await websockets.connect(
            f"wss://{self.HOST}/", sock=sock, ssl=wire.insecure_context(), server_hostname=self.HOST, ping_interval=None))

    async def echo(self):
        for number, connection in enumerate(self.connections):
            await connection.send(f"message {number}")
        for number, connection in enumerate(self.connections):
            assert await connection.recv() == f"message {number}"

    def check(self):
        self.run(self.echo())

    def close(self):
        async def end():
            await asyncio.gather(*(each.close() for each in self.connections))
            self.server.close()
            await self.server.wait_closed()
        self.run(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)


class Load:
    """Clients that ask again and again, each time over a new TLS connection; what went wrong is in `errors`."""

    def __init__(self, world, threads=4, pause=0.02, hosts=((HOST, "/"), (NODE_IP, "/v1/openapi.json"))):
        self.world, self.pause, self.hosts = world, pause, hosts
        self.errors, self.served, self.slowest, self.stopped = [], 0, 0.0, False
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(number,), daemon=True) for number in range(threads)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped = True
        for thread in self.threads:
            thread.join(30 * PATIENCE)

    def run(self, number):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        while not self.stopped:
            host, path = self.hosts[number % len(self.hosts)]
            number += 1
            began = time.monotonic()
            step = "connect"
            try:
                with wire.connect(self.world.client) as plain:
                    step = "handshake"
                    with context.wrap_socket(plain, server_hostname=host) as stream:
                        step = "request"
                        stream.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                        answer = wire.receive_all(stream)
                        assert answer.startswith(b"HTTP/1.1 200"), answer[:100]
            except Exception as error:  # noqa: BLE001 - shown by the test
                with self.lock:
                    self.errors.append(f"{host} {step} after {time.monotonic() - began:.2f} s: {error!r}")
            with self.lock:
                self.served += 1
                self.slowest = max(self.slowest, time.monotonic() - began)
            time.sleep(self.pause)


class Download:
    """A stream that the origin never ends; `errors` has its loss or a gap in its content."""

    SIZE = 1 << 16

    def __init__(self, world):
        self.stream = wire.connect(world.client)
        self.stream.sendall(wire.hello_record("download.w.example.test"))
        self.received, self.errors, self.stopped, self.longest_gap = 0, [], False, 0.0
        self.thread = threading.Thread(target=self.run, daemon=True)

    @staticmethod
    def origin(sock):
        sock.recv(65536)
        counter = 0
        try:
            while True:
                sock.sendall(counter.to_bytes(8, "big") * (Download.SIZE // 8))
                counter += 1
                time.sleep(0.01)
        except OSError:
            return

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped = True
        self.thread.join(30 * PATIENCE)
        self.stream.close()

    def run(self):
        last = time.monotonic()
        try:
            while not self.stopped:
                part = wire.receive_exactly(self.stream, self.SIZE)
                assert part == self.received.to_bytes(8, "big") * (self.SIZE // 8)
                self.received += 1
                self.longest_gap = max(self.longest_gap, time.monotonic() - last)
                last = time.monotonic()
        except Exception as error:  # noqa: BLE001 - shown by the test
            self.errors.append(repr(error))


@contextmanager
def load_and_downloads(world, downloads=2, **kwargs):
    with ExitStack() as stack:
        stack.enter_context(wire.origin(world.home, 5001, Download.origin))
        made = [stack.enter_context(Download(world)) for _ in range(downloads)]
        load = stack.enter_context(Load(world, **kwargs))
        yield load, made


def services():
    return (terminate(), passthrough(ECHO, host=RAW, proxy_protocol="none"),
            passthrough(5001, host="download.w.example.test", proxy_protocol="none"))


@pytest.mark.parametrize("workers", [1, 2])
def test_upgrades_in_a_row_refuse_and_reset_nobody(world, echo, workers):
    world.nginx()
    node = world.node("--workers", workers, "--metrics-listen", METRICS)
    agent = world.agent(world.invite(node), *services(), ready=False)
    wait_until(lambda: world.status() == "200", "it serves")
    held = [held_connection(world) for _ in range(10)]
    before = descriptors(node.pid)
    successors = []
    with load_and_downloads(world) as (load, downloads):
        time.sleep(0.5)
        for _ in range(5):
            successors.append(upgrade(world, node))
            held.append(held_connection(world))
            check_echo(held)
            time.sleep(0.3)
        time.sleep(1)
    assert not load.errors, f"{len(load.errors)} of {load.served}: {load.errors[:5]}"
    assert load.served > 100
    assert all(not each.errors and each.received > 50 for each in downloads), [each.errors for each in downloads]
    # The public never waited as long as an agent's new tunnel may take.
    assert load.slowest < 3 * PATIENCE, load.slowest
    check_echo(held)
    assert node.alive() and all(each.alive() for each in successors)
    for connection in held:
        connection.close()
    assert node.wait() == 0
    for each in successors[:-1]:
        each.wait()
    last = successors[-1]
    wait_until(lambda: world.status() == "200", "the last one serves")
    # Nothing is left of the former processes in the last one.
    def no_more():
        now = last.descriptors()
        return all(now.get(kind, 0) <= count + 2 for kind, count in before.items()) and now
    wait_until(no_more, f"descriptors as at the start: {before}, {last.descriptors()}")
    assert agent.alive()
    last.kill(signal.SIGTERM)
    last.wait()


def test_tunnels_resume_within_a_second(world):
    world.nginx()
    node = world.node()
    agent = world.agent(world.invite(node), terminate())
    upgrade(world, node)
    began = time.monotonic()
    agent.wait_for(r"event=edge_connected", count=2)
    assert time.monotonic() - began < 1.0 * PATIENCE
    assert "edge_disconnected" not in agent.log


@pytest.mark.parametrize("last", ["connect", "hello", "ready", "released"])
def test_a_successor_that_dies_before_it_serves_changes_nothing(world, echo, last):
    world.nginx()
    node = world.node()
    agent = world.agent(world.invite(node), *services(), ready=False)
    wait_until(lambda: world.status() == "200", "it serves")
    held = held_connection(world)
    false = FalseSuccessor(node)
    if last != "connect":
        false.send(hello(node, ADDRESS))
        accepted, _ = false.receive()
        assert accepted["type"] == "accepted" and accepted["generation"] == 1 and accepted["pid"] == node.pid
    if last in ("ready", "released"):
        false.send({"type": "ready"})
    if last == "released":
        message, sockets = false.receive()
        assert message["type"] == "sockets" and sockets == 3  # TCP, UDP and the feed of its connections
        assert {each["address"] for each in message["sockets"]} == {ADDRESS}
        message, locks = false.receive()
        assert message["type"] == "released" and locks == 1
    false.close()
    if last != "connect":
        node.wait_for(r"event=hand_over_failed")
    check_echo([held])
    assert world.status() == "200"
    assert world.culvert("invite", "list", "--data-dir", node.data_dir).returncode == 0
    assert "edge_disconnected" not in agent.log and "edge_draining" not in agent.log
    # And the next one is taken.
    upgrade(world, node)
    check_echo([held])
    assert world.status() == "200"


@pytest.mark.parametrize("how", ["has ended", "listens no more"])
def test_a_successor_that_cannot_tell_the_process_before_it_does_not_serve(world, how):
    node = world.node()
    data, argv = node.data_dir, node.argv
    node.stop()
    false = FalsePredecessor(data)
    start = argv.index(str(BINARY))
    upgrading = world.start("upgrading", [*argv[start:start + 2], "--upgrade", *argv[start + 2:]], world.public)
    channel = false.release()
    if how == "has ended":
        channel.close()
    else:
        channel.shutdown(socket.SHUT_RD)
    assert upgrading.wait() == 1
    assert re.search(r"serves again|has ended|closed the connection", upgrading.log), upgrading.log
    assert not re.search(r"process \d+ serves", upgrading.log), upgrading.log
    with pytest.raises(ConnectionRefusedError):
        wire.connect(world.client)
    false.close()
    channel.close()


def test_messages_of_others_end_in_nothing(world):
    world.nginx()
    node = world.node()
    world.agent(world.invite(node), terminate())
    for message in (b"\0", b"{", b"[]", b"{}", b'{"type":"hello"}', b'{"type":"hello","protocol":1}', b"x" * 65536, b"x" * 66000,
                    {"type": "ready"}, {"type": "serving"}, hello(node, ADDRESS, workers=0), hello(node, "nowhere")):
        false = FalseSuccessor(node)
        false.send(message)
        assert not false.receive()
        false.close()
    for changes, reason in (({"protocol": 2}, "speaks version 2"), ({"workers": 3}, "workers = 3"), ({"id": "x"}, "the key"),
                            ({"tcp": "127.0.0.1:1"}, "listen = 127.0.0.1:1"), ({"roles": "edge"}, "the roles edge")):
        false = FalseSuccessor(node)
        false.send(hello(node, ADDRESS, **changes))
        answer, _ = false.receive()
        assert answer["type"] == "refused" and reason in answer["reason"], answer
        false.close()
    assert world.status() == "200"
    mode = os.stat(node.data_dir / "hand-over").st_mode & 0o777
    assert mode == 0o600


def test_an_upgrade_with_other_settings_is_refused_and_says_why(world):
    world.nginx()
    node = world.node()
    world.agent(world.invite(node), terminate())
    status, said, _ = run_upgrade(world, node, "--workers", "2")
    assert status == 1 and "does not hand over: the new process has workers = 2, the running one has 1" in said
    assert "a node that runs goes on as before" in said
    # What only shows when it takes the sockets up: a port of another program.
    with world.public.entered():
        taken = socket.create_server((NODE_IP, 8080))
    with taken:
        status, said, _ = run_upgrade(world, node, "--http-listen", f"{NODE_IP}:8080")
    assert status == 1 and "plain HTTP: cannot listen on" in said
    node.wait_for(r"event=hand_over_failed")
    assert world.status() == "200"
    assert world.culvert("invite", "list", "--data-dir", node.data_dir).returncode == 0
    elsewhere = world.culvert("node", "--upgrade", "--data-dir", world.directory / "elsewhere")
    assert elsewhere.returncode == 1 and "no node that could hand over runs" in elsewhere.stderr
    assert not (world.directory / "elsewhere").exists()


def test_the_successor_has_everything_when_the_old_process_is_killed(world, echo):
    world.nginx()
    node = world.node()
    agent = world.agent(world.invite(node), *services(), ready=False)
    wait_until(lambda: world.status() == "200", "it serves")
    held = held_connection(world)
    successor = upgrade(world, node)
    check_echo([held])
    with Load(world, threads=2) as load:
        time.sleep(0.5)
        node.kill()
        agent.wait_for(r"event=edge_disconnected|event=edge_draining")
        time.sleep(1)
    assert not load.errors, load.errors[:5]
    with pytest.raises((EOFError, OSError)):
        check_echo([held])
    assert re.search(r"event=predecessor_ended generation=0", successor.log)
    with held_connection(world) as another:
        check_echo([another])


def test_service_managers_learn_of_the_new_process(world):
    with world.public.entered():
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    path = world.directory / "notify"
    manager.bind(str(path))
    manager.settimeout(20 * PATIENCE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NOTIFY_SOCKET", str(path))
        node = world.node()
        assert manager.recv(4096) == f"READY=1\nMAINPID={node.pid}".encode()
    successor = upgrade(world, node, env={"NOTIFY_SOCKET": str(path)})
    assert manager.recv(4096) == f"READY=1\nMAINPID={successor.pid}".encode()
    assert node.wait() == 0
    successor.kill(signal.SIGTERM)
    successor.wait()
    manager.close()


def test_a_stop_ends_the_former_processes_too(world, echo):
    world.nginx()
    node = world.node("--drain-timeout", "2s")
    world.agent(world.invite(node), *services(), ready=False)
    wait_until(lambda: world.status() == "200", "it serves")
    with held_connection(world) as held:
        successor = upgrade(world, node)
        check_echo([held])
        began = time.monotonic()
        successor.kill(signal.SIGTERM)
        assert node.wait() == 0
        successor.wait()
        assert time.monotonic() - began < 8 * PATIENCE


def test_a_revocation_reaches_the_connections_of_former_processes(world, echo):
    world.nginx()
    node = world.node()
    world.agent(world.invite(node, hostnames=HOST), terminate())
    world.agent(world.invite(node, hostnames=RAW, name="other"), *services()[1:2], ready=False)
    held = wait_until(lambda: held_if_served(world), "the other agent serves")
    for _ in range(2):
        upgrade(world, node)
        check_echo([held])
    world.revoke(node, name="other")
    held.settimeout(5 * PATIENCE)
    with pytest.raises((EOFError, OSError)):
        wire.receive_exactly(held, 1)
    assert world.status() == "200"
    assert node.wait() == 0


def test_an_edge_elsewhere_is_upgraded_and_its_hub_knows_it_as_the_same(world, echo):
    world.nginx()
    edges = Edges(world)
    token = edges.token("paris")
    edge = edges.start("paris", token)
    namespace, _ = edges.host("paris")
    agent = world.agent(world.invite(edges.hub), *services()[:2], ready=False)
    wait_until(lambda: edges.status(edge) == "200", "it serves")
    held = wire.connect(world.client, (edge.address, 443))
    held.sendall(wire.hello_record(RAW))
    assert wire.receive_exactly(held, 5) == b"hello"
    edge.data_dir = world.directory / "state-paris"
    environment = {"CULVERT_EDGE_TOKEN": token, "CULVERT_DATA_DIR": str(edge.data_dir)}
    for count in (2, 3):
        successor = upgrade(world, edge, env=environment, namespace=namespace)
        check_echo([held])
        assert [edges.status(edge) for _ in range(5)] == ["200"] * 5
        agent.wait_for(r"event=edge_connected", count=count)
        wait_until(lambda: "event=hub_followed" in successor.log, "the hub is followed", 5)
        assert edges.states() == {"paris": "connected"}
    assert "edge_disconnected" not in agent.log
    # The hub as well.
    upgrade(world, edges.hub)
    assert [edges.status(edge) for _ in range(5)] == ["200"] * 5
    wait_until(lambda: edges.states() == {"paris": "connected"}, "the new hub is followed", 15)
    check_echo([held])
    held.close()
    assert edge.wait() == 0 and edges.hub.wait() == 0


@pytest.mark.skipif(postgres.binaries() is None, reason="PostgreSQL (Debian's package postgresql) is not installed")
def test_a_hub_on_postgresql_is_upgraded(world, echo):
    world.nginx()
    database = postgres.Postgres(world.directory)
    world.cleanups.append(database.stop)
    database.start()
    node = world.node("--database", database.url)
    agent = world.agent(world.invite(node), *services()[:2], ready=False)
    wait_until(lambda: world.status() == "200", "it serves")
    held = held_connection(world)
    with Load(world, threads=2) as load:
        for number in range(3):
            last = upgrade(world, node)
            world.invite(node, hostnames=f"*.n{number}.example.test", name=f"n{number}")
            check_echo([held])
            time.sleep(0.5)
    assert not load.errors, f"{len(load.errors)} of {load.served}: {load.errors[:5]}"
    world.revoke(node, "home")
    wait_until(lambda: world.status() != "200", "the last process knows of the revocation")
    listing = world.culvert("invite", "list", "--data-dir", node.data_dir).stdout
    assert all(f"n{number}" in listing for number in range(3)), listing
    assert "hand_over_failed" not in node.log and "control_not_taken_back" not in last.log and agent.alive()
    held.close()


def test_udp_flows_go_on_in_the_new_process(world):
    server = world.start("udp", [sys.executable, ROOT / "tests/lab/udp_server.py", "127.0.0.1", 5300], world.home)
    server.expected_end = True
    server.wait_for("^ready", stream="stdout")
    node = world.node("--workers", 2)
    agent = world.agent(world.invite(node), {"protocol": "udp", "name": "game", "origin": "127.0.0.1:5300", "listen_port": 5300})
    with world.client.entered():
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(0.05 * PATIENCE)

    def answered(data):
        client.sendto(data, (NODE_IP, 5300))
        try:
            while client.recv(2048) != data:
                pass
        except TimeoutError:
            return False
        return True

    wait_until(lambda: answered(b"first"), "the port is served")
    upgrade(world, node)
    began = time.monotonic()
    wait_until(lambda: answered(b"again %d" % time.monotonic_ns()), "the flow goes on", interval=0)
    assert time.monotonic() - began < 1.0 * PATIENCE
    assert [answered(b"more %d" % number) for number in range(20)] == [True] * 20
    agent.wait_for(r"event=edge_connected", count=2)
    client.close()


def test_two_hundred_websockets_outlive_route_changes_certificates_and_ten_upgrades(world, echo):
    world.nginx()
    node = world.node(hello_timeout="10s")
    token = world.invite(node, hostnames=f"{HOST},{RAW},{WebSockets.HOST},*.many.example.test,*.more.example.test")
    world.agent(token, *services()[:2], terminate(WebSockets.PORT, host=WebSockets.HOST), ready=False)
    wait_until(lambda: world.status() == "200", "it serves")
    names = [[f"n{number}.{base}.example.test" for number in range(20)] for base in ("many", "more")]
    declared = world.directory / "changing.toml"

    def declare(turn):
        content = [terminate(host=name) for name in names[turn % 2]]
        declared.write_text(f"[agent]\nservices = '{json.dumps(content)}'\n")

    declare(0)
    declared.chmod(0o600)
    changing = world.start("changing", [BINARY, "agent", "--config", declared], world.home, env={"CULVERT_TOKEN": token})
    changing.wait_for(r"event=lease_granted")
    held = [held_connection(world) for _ in range(20)]
    sockets = WebSockets(world, 200)
    certificates = set()
    with Load(world, threads=2, pause=0.05, hosts=((HOST, "/"),)) as load:
        for turn in range(1, 31):
            # 20 routes go and 20 come.
            granted = changing.log.count("event=lease_granted")
            declare(turn)
            changing.signal(signal.SIGHUP)
            changing.expected_end = False
            wait_until(lambda: changing.log.count("event=lease_granted") > granted or
                       world.status(host=names[turn % 2][0]) == "200", "the new services are there", interval=0.05)
            # Each name's first handshake makes its certificate.
            for name in names[turn % 2][:4]:
                if world.status(host=name) == "200":
                    certificates.add((turn, name))
            if turn % 3 == 0:
                upgrade(world, node)
                check_echo(held)
                sockets.check()
    check_echo(held)
    sockets.check()
    assert not load.errors, f"{len(load.errors)} of {load.served}: {load.errors[:5]}"
    assert len(certificates) >= 100, len(certificates)
    sockets.close()
    for connection in held:
        connection.close()
    assert node.wait() == 0
