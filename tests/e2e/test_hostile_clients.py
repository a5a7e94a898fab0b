"""Clients that are slow in every phase, or send what no client sends, while others are served."""
import random
import ssl
import struct
import threading
import time
from contextlib import ExitStack

import pytest
from lab import wire
from lab.process import wait_until
from lab.world import CLIENT_IP, HOST, terminate

SLOW = 150  # clients in each phase
OTHER = "other.example.test"
PROXY = f"PROXY TCP4 {CLIENT_IP} 203.0.113.1 4000 443\r\n".encode()


def request(host):
    return f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()


class Visitor:
    """A client of another tenant that asks again and again on connections of its own."""

    def __init__(self, world, proxied):
        self.world, self.proxied, self.took, self.failed, self.stop = world, proxied, [], [], threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def ask(self):
        with wire.connect(self.world.client) as sock:
            if self.proxied:
                sock.sendall(b"PROXY TCP4 192.0.2.77 203.0.113.1 4000 443\r\n")
            tls = wire.FramedTls(sock, OTHER)
            tls.handshake()
            tls.write(request(OTHER))
            return tls.read()

    def run(self):
        while not self.stop.is_set():
            started = time.monotonic()
            try:
                answer = self.ask()
                if not answer.startswith(b"HTTP/1.1 200"):
                    self.failed.append(answer[:100])
            except OSError as error:
                self.failed.append(error)
            self.took.append(time.monotonic() - started)
            time.sleep(0.02)

    def p99(self, ask_for):
        """Of so many requests from now on."""
        begin = len(self.took)
        wait_until(lambda: len(self.took) >= begin + ask_for, "the visitor has asked", timeout=60)
        return sorted(self.took[begin:])[int(ask_for * 0.99) - 1]


def slow_in(phase, world):
    """An open connection that stays in this phase."""
    sock = wire.connect(world.client)
    if phase == "proxy":
        sock.sendall(PROXY[:20])
        return sock
    if phase == "silent":
        return sock
    sock.sendall(PROXY)
    if phase == "hello":
        sock.sendall(wire.hello_record()[:60])
    elif phase == "tls":
        tls = wire.FramedTls(sock)
        sock.sendall(wire.records(tls.first_flight()))  # and never the rest of the handshake
    elif phase == "request":
        tls = wire.FramedTls(sock)
        tls.handshake()
        tls.write(b"GET / HTTP/1.1\r\nHost: app")
    elif phase == "between_requests":
        tls = wire.FramedTls(sock)
        tls.handshake()
        tls.write(request(HOST).replace(b"Connection: close\r\n", b""))
        assert tls.read().startswith(b"HTTP/1.1 200")
    elif phase == "hub":
        tls = wire.FramedTls(sock, None)
        tls.handshake()
        tls.write(b"GET /v1/health HTTP/1.1\r\nHost: ")
    return sock


@pytest.mark.parametrize("phase", ["silent", "proxy", "hello", "tls", "request", "between_requests", "hub"])
def test_slow_clients_take_little_and_nothing_from_another_tenant(world, phase, record_property):
    """What each costs in memory, and another tenant's requests beside them: figures are printed, and recorded."""
    world.nginx()
    node = world.node("--trusted-proxies", f"{CLIENT_IP}/32", hello_timeout="20s")
    world.agent(world.invite(node, HOST), terminate())
    world.agent(world.invite(node, OTHER, name="other"), terminate(host=OTHER))
    visitor = Visitor(world, proxied=True)
    visitor.thread.start()
    with ExitStack() as open_sockets:
        before_p99 = visitor.p99(60)
        before = node.rss()
        for _ in range(SLOW):
            try:
                open_sockets.callback(slow_in(phase, world).close)
            except (OSError, ssl.SSLError):
                assert phase == "hub", "only the hub's door is so narrow that its oldest client has to go"
        beside_p99 = visitor.p99(60)
        each = max(0, node.rss() - before) / SLOW
    visitor.stop.set()
    visitor.thread.join()
    print(f"{phase}: {each / 1000:.1f} KB for each, p99 of another tenant {before_p99 * 1000:.1f} -> {beside_p99 * 1000:.1f} ms")
    record_property("figures", {"phase": phase, "bytes_each": each, "p99_before_s": before_p99, "p99_beside_s": beside_p99})
    assert not visitor.failed
    assert each < 150_000, f"{each:.0f} bytes for each"


@pytest.mark.smoke
def test_mutated_hellos_and_proxy_headers_leave_the_edge_as_it_was(world):
    world.nginx()
    node = world.node("--trusted-proxies", f"{CLIENT_IP}/32", hello_timeout="1s")
    world.agent(world.invite(node, OTHER, name="other"), terminate(host=OTHER))
    visitor = Visitor(world, proxied=True)
    visitor.ask()
    rng = random.Random(7)
    address = bytes([192, 0, 2, 1, 203, 0, 113, 1]) + struct.pack(">HH", 4000, 443)
    v2 = wire.PROXY_V2_SIGNATURE + b"\x21\x11" + struct.pack(">H", len(address)) + address
    seeds = [PROXY + wire.hello_record(), v2 + wire.hello_record(), v2 + wire.hello_record(padding=3000), PROXY + PROXY, v2 + v2]

    def mutant():
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(data))
            kind = rng.randrange(5)
            if kind == 0:
                data[at] ^= 1 << rng.randrange(8)
            elif kind == 1:
                del data[at:at + rng.randint(1, 40)]
            elif kind == 2:
                data[at:at] = rng.randbytes(rng.randint(1, 40))
            elif kind == 3:
                data[at] = rng.choice((0, 0xFF))
            else:
                del data[at:]
            if not data:
                data = bytearray(b"\0")
        return bytes(data)

    for batch in range(30):
        socks = [wire.connect(world.client) for _ in range(100)]
        for sock in socks:
            try:
                sock.sendall(mutant())
            except OSError:
                pass  # it was reset under us
        for sock in socks:
            (wire.abort if batch % 2 else type(sock).close)(sock)
    assert visitor.ask().startswith(b"HTTP/1.1 200")
    assert node.alive()
