"""What a tunnelled connection must be: the same as none."""
import asyncio
import contextlib
import hashlib
import socket
import ssl
import subprocess
import threading
import time

import pytest
import websockets
from lab import wire
from lab.process import PATIENCE, wait_until
from lab.world import HOST, NODE_IP, NODE_TCP, passthrough, terminate

MIB = 1 << 20


def write_pattern(path, size):
    """A file whose every mebibyte differs; its SHA-256."""
    digest = hashlib.sha256()
    block = bytearray(hashlib.shake_256(b"culvert").digest(MIB))
    with open(path, "wb") as file:
        for number in range(size // MIB):
            block[:8] = number.to_bytes(8, "big")
            file.write(block)
            digest.update(block)
    return digest.hexdigest()


def sha256_of(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download_digest(world, path, **kwargs):
    """Streams through curl into a hash."""
    target = world.directory / "downloaded"
    world.curl(path, "--output", str(target), check=True, **kwargs)
    digest = sha256_of(target)
    target.unlink()
    return digest


class Peak:
    """The highest resident memory of some processes while it runs."""

    def __init__(self, *processes):
        self.processes, self.highest, self.stopped = processes, {}, threading.Event()
        self.thread = threading.Thread(target=self._sample, daemon=True)

    def _sample(self):
        while not self.stopped.wait(0.05):
            for process in self.processes:
                if process.alive():
                    self.highest[process.name] = max(self.highest.get(process.name, 0), process.rss())

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()


@pytest.mark.parametrize("mode,up", [("passthrough", 1024 * MIB), ("terminate", 256 * MIB)])
def test_a_gibibyte_each_way_with_equal_hashes_and_bounded_memory(world, mode, up):
    nginx = world.nginx()
    digest = write_pattern(nginx.www / "big", 1024 * MIB)
    upload = world.directory / "upload"
    upload_digest = write_pattern(upload, up)
    node = world.node()
    agent = world.agent(world.invite(node), passthrough() if mode == "passthrough" else terminate())
    world.curl("/", check=True)
    before = {process.name: process.rss() for process in (node, agent)}
    with Peak(node, agent) as peak:
        assert download_digest(world, "/big", timeout=300) == digest
        world.curl("/put/big", "--upload-file", str(upload), "--output", "/dev/null", timeout=300, check=True)
        assert sha256_of(nginx.www / "put" / "big") == upload_digest
    assert max(peak.highest.values()) < 300 * MIB, peak.highest
    # What the transfer needed is given back, not kept for each that ever ran.
    for process in (node, agent):
        wait_until(lambda: process.rss() < before[process.name] + 100 * MIB, f"{process.name} gives memory back", 15)


@pytest.mark.smoke
def test_a_few_mebibytes_each_way_with_equal_hashes(world):
    nginx = world.nginx()
    digest = write_pattern(nginx.www / "some", 16 * MIB)
    world.agent(world.invite(world.node()), passthrough())
    assert download_digest(world, "/some") == digest
    world.curl("/put/some", "--upload-file", str(nginx.www / "some"), "--output", "/dev/null", check=True)
    assert sha256_of(nginx.www / "put" / "some") == digest


@pytest.mark.parametrize("mode,workers", [("passthrough", 1), ("passthrough", 2), ("terminate", 1)])
def test_five_hundred_downloads_at_once(world, mode, workers):
    size = MIB // 4
    nginx = world.nginx()
    content = hashlib.shake_256(b"quarter").digest(size)
    (nginx.www / "quarter").write_bytes(content)
    node = world.node("--workers", workers, hello_timeout="30s")  # this client is slow to greet five hundred times
    world.agent(world.invite(node), passthrough() if mode == "passthrough" else terminate())
    context, all_started, started = wire.insecure_context(), asyncio.Event(), 0

    async def one(number):
        nonlocal started
        for_all = 500
        reader, writer = await asyncio.open_connection(NODE_IP, NODE_TCP, ssl=context, server_hostname=HOST,
                                                       ssl_handshake_timeout=60 * PATIENCE)
        writer.write(f"GET /quarter HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head.split(b"\r\n")[0], head
        started += 1
        if started == for_all:
            all_started.set()
        await all_started.wait()  # all five hundred are open, with an answer begun, before one is read on
        body = await reader.read(-1)
        writer.close()
        assert body == content, f"download {number}: {len(body)} bytes"

    async def every():
        await asyncio.wait_for(asyncio.gather(*(one(number) for number in range(500))), 120 * PATIENCE)

    with world.client.entered():
        asyncio.run(every())


@pytest.mark.smoke
@pytest.mark.parametrize("mode", ["terminate", "passthrough"])
def test_websocket_through_it(world, mode):
    pem, key = world.certificate()
    server_context = None
    if mode == "passthrough":
        server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server_context.load_cert_chain(pem, key)
    with world.home.entered():
        listener = socket.create_server(("127.0.0.1", 5000))
    ready, finish = threading.Event(), threading.Event()

    async def echo(connection, *_):
        async for message in connection:
            await connection.send(message)

    async def serve():
        async with websockets.serve(echo, sock=listener, ssl=server_context, max_size=None):
            ready.set()
            while not finish.is_set():
                await asyncio.sleep(0.05)

    async def talk():
        sock = wire.connect(world.client)
        sock.setblocking(False)
        async with websockets.connect(f"wss://{HOST}/", sock=sock, ssl=wire.insecure_context(), server_hostname=HOST,
                                      max_size=None) as connection:
            for message in ("hello", b"\0\1\2", "x" * MIB, ""):
                await connection.send(message)
                assert await asyncio.wait_for(connection.recv(), 20 * PATIENCE) == message
            await asyncio.sleep(2)  # idle, then both ways again
            pong = await connection.ping()
            await asyncio.wait_for(pong, 20 * PATIENCE)
        assert connection.close_code == 1000

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        service = terminate(5000) if mode == "terminate" else passthrough(5000, proxy_protocol="none")
        world.agent(world.invite(world.node()), service)
        asyncio.run(talk())
    finally:
        finish.set()
        thread.join(10)


def agent_for_raw_origin(world, port):
    """A passthrough agent in front of an origin that is no HTTP server, connected but never `ready`."""
    agent = world.agent(world.invite(world.node()), passthrough(port, proxy_protocol="none"), ready=False)

    def routed():
        with wire.connect(world.client) as sock:
            sock.sendall(wire.hello_record())
            sock.settimeout(1)
            try:
                return sock.recv(2) != b"\x15\x03"
            except TimeoutError:
                return True
            except OSError:
                return False
    wait_until(routed, "the route is there")
    return agent


@pytest.mark.smoke
def test_half_close_by_the_client(world):
    hello = wire.hello_record()

    def handle(sock):
        said = wire.receive_all(sock)  # to the client's FIN
        time.sleep(0.3)
        sock.sendall(b"after your end: " + str(len(said)).encode())

    with wire.origin(world.home, 5000, handle):
        agent_for_raw_origin(world, 5000)
        with wire.connect(world.client) as sock:
            sock.sendall(hello + b"x" * 100_000)
            sock.shutdown(socket.SHUT_WR)
            assert wire.receive_all(sock) == b"after your end: %d" % (len(hello) + 100_000)


@pytest.mark.smoke
def test_half_close_by_the_origin(world):
    hello = wire.hello_record()
    said = []

    def handle(sock):
        sock.sendall(b"nothing more from me")
        sock.shutdown(socket.SHUT_WR)
        said.append(wire.receive_all(sock))

    with wire.origin(world.home, 5000, handle):
        agent_for_raw_origin(world, 5000)
        with wire.connect(world.client) as sock:
            sock.sendall(hello)
            assert wire.receive_all(sock) == b"nothing more from me"
            time.sleep(0.3)
            sock.sendall(b"y" * 100_000)
            sock.shutdown(socket.SHUT_WR)
            wait_until(lambda: hello + b"y" * 100_000 in said, "the origin has everything")


def test_half_close_of_a_terminated_stream(world):
    def handle(sock):
        said = wire.receive_all(sock)
        sock.sendall(b"after your end: " + str(len(said)).encode())

    with wire.origin(world.home, 5000, handle):
        agent_for_terminated_origin(world)
        with wire.connect(world.client) as sock:
            client = wire.FramedTls(sock)
            client.handshake()
            client.write(b"z" * 1000)
            client.finish()
            answer = b""
            while part := client.read():
                answer += part
    assert answer == b"after your end: 1000"


def agent_for_terminated_origin(world):
    world.agent(world.invite(world.node()), terminate(5000), ready=False)

    def routed():
        with wire.connect(world.client) as sock:
            try:
                wire.FramedTls(sock).handshake()
                return True
            except (OSError, ssl.SSLError):
                return False
    wait_until(routed, "the route is there")


@pytest.mark.smoke
def test_an_origin_that_dies_resets_a_passthrough_client(world):
    def handle(sock):
        sock.recv(100)
        sock.sendall(b"half an ans")
        time.sleep(0.3)
        wire.abort(sock)

    with wire.origin(world.home, 5000, handle):
        agent_for_raw_origin(world, 5000)
        for _ in range(5):
            with wire.connect(world.client) as sock:
                sock.sendall(wire.hello_record())
                with pytest.raises(ConnectionResetError):
                    said = wire.receive_all(sock)
                    pytest.fail(f"a clean end after {said!r}")


@pytest.mark.smoke
def test_an_origin_that_dies_never_looks_like_a_clean_end_of_a_terminated_response(world):
    def handle(sock):
        request = b""
        while b"\r\n\r\n" not in request:
            request += sock.recv(4096)
        # Without a length the end of the connection is the end of the body: only a reset tells the difference.
        sock.sendall(b"HTTP/1.0 200 OK\r\n\r\nhalf an ans")
        time.sleep(0.3)
        wire.abort(sock)

    with wire.origin(world.home, 5000, handle):
        agent_for_terminated_origin(world)
        for _ in range(5):
            done = world.curl("/")
            assert done.returncode != 0, f"curl took {done.stdout!r} for the whole answer"
        with wire.connect(world.client) as sock:
            client = wire.FramedTls(sock)
            client.handshake()
            client.write(f"GET / HTTP/1.0\r\nHost: {HOST}\r\n\r\n".encode())
            with pytest.raises((ssl.SSLError, ConnectionResetError)):
                while client.read():
                    pass
                pytest.fail("close_notify for an answer that was cut")


@pytest.mark.parametrize("with_fin", [True, False])
def test_an_answer_to_an_upload_that_the_origin_does_not_read_arrives(world, with_fin):
    def handle(sock):
        request = b""
        while b"\r\n\r\n" not in request:
            request += sock.recv(4096)
        sock.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 6\r\nConnection: close\r\n\r\nlarge\n")
        if with_fin:
            sock.shutdown(socket.SHUT_WR)
        sock.close()  # the upload is unread: RST

    upload = world.directory / "upload"
    write_pattern(upload, 8_000_000)
    with wire.origin(world.home, 5000, handle):
        agent_for_terminated_origin(world)
        for _ in range(20):
            done = world.curl("/", "--request", "POST", "--header", "Expect:", "--data-binary", f"@{upload}",
                              "--write-out", "%{http_code}")
            assert done.stdout == "large\n413", (done.returncode, done.stdout, done.stderr)


def test_a_client_that_resets_is_seen_by_the_origin(world):
    ends = []

    def handle(sock):
        try:
            while sock.recv(65536):
                sock.sendall(b"more")
            ends.append("clean")
        except OSError as error:
            ends.append(type(error).__name__)

    with wire.origin(world.home, 5000, handle):
        agent_for_raw_origin(world, 5000)
        del ends[:]
        sock = wire.connect(world.client)
        sock.sendall(wire.hello_record())
        wire.receive_exactly(sock, 4)
        wire.abort(sock)
        wait_until(lambda: ends, "the origin sees the end")
    # The agent's readiness probe may have its own, late, entry: also a reset.
    assert set(ends) <= {"ConnectionResetError", "BrokenPipeError"}, ends


def test_a_slow_reader_stalls_nobody_else(world):
    nginx = world.nginx()
    digest = write_pattern(nginx.www / "big", 128 * MIB)
    node = world.node()
    agent = world.agent(world.invite(node), passthrough())
    context = wire.insecure_context()
    with wire.connect(world.client, receive_buffer=16384, timeout=120) as sock:
        slow = context.wrap_socket(sock, server_hostname=HOST)
        slow.sendall(f"GET /big HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
        hasher, head = hashlib.sha256(), b""
        while b"\r\n\r\n" not in head:
            head += slow.recv(4096)
        hasher.update(head.split(b"\r\n\r\n", 1)[1])
        # While it does not read, ten others fetch the whole file, and nothing of the slow one piles up here.
        before = {process.name: process.rss() for process in (node, agent)}
        for _ in range(3):
            assert download_digest(world, "/big") == digest
        for process in (node, agent):
            assert process.rss() < before[process.name] + 100 * MIB
        while part := slow.recv(MIB):
            hasher.update(part)
        assert hasher.hexdigest() == digest


@pytest.mark.parametrize("mode", ["passthrough", "terminate"])
def test_many_stalled_readers_stall_nobody_else_and_hold_bounded_memory(world, mode):
    """A stalled reader holds its stream's window at the edge, at most 64 MiB for all of an agent's, and a share of 24 MiB
    at the agent."""
    nginx = world.nginx()
    digest = write_pattern(nginx.www / "big", 64 * MIB)
    stalled_digest = write_pattern(nginx.www / "stalled", 4 * MIB)
    node = world.node()
    agent = world.agent(world.invite(node), passthrough() if mode == "passthrough" else terminate())
    assert download_digest(world, "/big") == digest
    before = {process.name: process.rss() for process in (node, agent)}
    context = wire.insecure_context()
    with Peak(node, agent) as peak, contextlib.ExitStack() as stack:
        stalled = []
        for _ in range(120):  # some windows grow before they fill: with a fast download, well below the edge's 64 MiB
            sock = stack.enter_context(wire.connect(world.client, receive_buffer=4096, timeout=60))
            reader = stack.enter_context(context.wrap_socket(sock, server_hostname=HOST))
            reader.sendall(f"GET /stalled HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
            stalled.append((reader, wire.receive_exactly(reader, 16)))
        for _ in range(2):
            assert download_digest(world, "/big") == digest
        # None was given up: each reads on where it stopped.
        for reader, begun in stalled[::20]:
            answer = begun + wire.receive_all(reader)
            assert hashlib.sha256(answer.split(b"\r\n\r\n", 1)[1]).hexdigest() == stalled_digest
    grown = {name: highest - before[name] for name, highest in peak.highest.items()}
    assert grown["node"] < 128 * MIB and grown["agent"] < 64 * MIB, grown


def test_more_stalled_readers_than_the_edge_can_hold_cost_only_their_own(world):
    """400 times a stream's window is more than the 64 MiB of an agent: the edge gives up readers that stand still, and
    never a download that goes on."""
    nginx = world.nginx()
    digest = write_pattern(nginx.www / "big", 64 * MIB)
    write_pattern(nginx.www / "stalled", 4 * MIB)
    node = world.node()
    world.agent(world.invite(node), passthrough())
    context = wire.insecure_context()
    with Peak(node) as peak, contextlib.ExitStack() as stack:
        for number in range(400):
            sock = stack.enter_context(wire.connect(world.client, receive_buffer=4096, timeout=60))
            reader = stack.enter_context(context.wrap_socket(sock, server_hostname=HOST))
            reader.sendall(f"GET /stalled HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
            if number % 100 == 99:
                assert download_digest(world, "/big") == digest
        for _ in range(2):
            assert download_digest(world, "/big") == digest
        assert "event=stalled_client_cut" in node.log, "the cap was not met: this tests nothing"
    assert peak.highest["node"] < 256 * MIB


def test_an_address_change_of_the_agent_mid_download(world):
    nginx = world.nginx()
    digest = write_pattern(nginx.www / "big", 64 * MIB)
    agent = world.agent(world.invite(world.node()), passthrough())
    target = world.directory / "moved"
    with world.client.entered():
        curl = subprocess.Popen(["curl", "--silent", "--show-error", "--insecure", "--noproxy", "*", "--limit-rate", "12M",
                                 "--max-time", str(60 * PATIENCE), "--output", str(target),
                                 "--connect-to", f"{HOST}:443:{NODE_IP}:{NODE_TCP}", f"https://{HOST}/big"],
                                stderr=subprocess.PIPE, text=True)
    wait_until(lambda: target.exists() and target.stat().st_size > 4 * MIB, "the download runs")
    world.home.ip("addr del 192.168.7.2/24 dev eth0")
    world.home.ip("addr add 192.168.7.77/24 dev eth0")
    world.home.ip("route add default via 192.168.7.1")
    _, said = curl.communicate(timeout=90 * PATIENCE)
    assert curl.returncode == 0, said
    assert sha256_of(target) == digest
    assert agent.alive()
    assert world.status() == "200"


def test_a_nat_that_forgets_the_agent_mid_download(world):
    nginx = world.nginx()
    digest = write_pattern(nginx.www / "big", 64 * MIB)
    world.agent(world.invite(world.node()), passthrough())
    target = world.directory / "moved"
    with world.client.entered():
        curl = subprocess.Popen(["curl", "--silent", "--show-error", "--insecure", "--noproxy", "*", "--limit-rate", "12M",
                                 "--max-time", str(60 * PATIENCE), "--output", str(target),
                                 "--connect-to", f"{HOST}:443:{NODE_IP}:{NODE_TCP}", f"https://{HOST}/big"],
                                stderr=subprocess.PIPE, text=True)
    wait_until(lambda: target.exists() and target.stat().st_size > 4 * MIB, "the download runs")
    # Masquerading drops its mappings with the address; the agent itself sees nothing of this.
    world.nat.ip("addr del 203.0.113.20/24 dev wan")
    world.nat.ip("addr add 203.0.113.21/24 dev wan")
    world.nat.ip("route add default via 203.0.113.1")
    _, said = curl.communicate(timeout=90 * PATIENCE)
    assert curl.returncode == 0, said
    assert sha256_of(target) == digest
    assert world.status() == "200"
