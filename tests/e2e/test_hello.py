"""The ClientHello as it may come: slow, big, cut anywhere."""
import time

import pytest
from lab import wire
from lab.process import PATIENCE
from lab.world import HOST, passthrough, terminate


def read_to_any_end(sock):
    try:
        return wire.receive_all(sock)
    except ConnectionResetError:
        return b"reset"


@pytest.mark.smoke
def test_a_byte_a_second_is_cut_at_the_deadline(world):
    node = world.node()  # --hello-timeout 3s
    hello = wire.hello_record()
    with wire.connect(world.client) as sock:
        started = time.monotonic()
        sock.settimeout(1)
        for byte in hello:
            try:
                sock.sendall(bytes([byte]))
                if sock.recv(100) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
            break
        took = time.monotonic() - started
    assert 2 <= took <= 3 + 5 * PATIENCE, f"cut after {took:.1f} s"
    assert node.alive()


def test_a_silent_client_is_cut_at_the_deadline_and_others_are_served_meanwhile(world):
    world.nginx()
    world.agent(world.invite(world.node()), terminate())
    silent = [wire.connect(world.client) for _ in range(100)]
    assert world.status() == "200"
    for sock in silent:
        read_to_any_end(sock)
        sock.close()


@pytest.mark.parametrize("padding", [1800, 12000])
def test_a_big_hello_in_many_segments_and_two_records_passes_unchanged(world, padding):
    received = []

    def handle(sock):
        received.append(wire.receive_exactly(sock, len(sent)))
        sock.sendall(b"got it")

    handshake = wire.client_hello(padding=padding)
    sent = wire.records(handshake, [len(handshake) // 3])
    with wire.origin(world.home, 5000, handle):
        agent = world.agent(world.invite(world.node()), passthrough(5000, proxy_protocol="none"), ready=False)
        agent.wait_for(r"event=\S*connected|event=ready")
        time.sleep(0.5 * PATIENCE)
        with wire.connect(world.client) as sock:
            for start in range(0, len(sent), 100):
                sock.sendall(sent[start:start + 100])
                time.sleep(0.002)
            assert wire.receive_exactly(sock, 6) == b"got it"
    assert sent in received


def test_a_real_librarys_hello_in_three_records_is_terminated(world):
    world.nginx()
    world.agent(world.invite(world.node()), terminate())
    context = wire.insecure_context()
    context.set_alpn_protocols(["http/1.1"] + [f"padding-protocol-{number:04}" * 4 for number in range(60)])
    with wire.connect(world.client) as sock:
        client = wire.FramedTls(sock, context=context)
        flight = client.first_flight()
        assert len(flight) > 4000
        for byte_range in (wire.records(flight, [1, 2000])[start:start + 500] for start in range(0, len(flight) + 15, 500)):
            sock.sendall(byte_range)
            time.sleep(0.005)
        client.handshake()
        client.write(f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while part := client.read():
            answer += part
    assert answer.endswith(b"hello from the origin\n")


def test_a_hello_past_the_cap_is_refused(world):
    node = world.node()
    handshake = wire.client_hello(padding=20000)
    with wire.connect(world.client) as sock:
        try:
            sock.sendall(wire.records(handshake, [8000, 8000]))
        except OSError:
            pass  # refused while we were still sending
        answer = read_to_any_end(sock)
    assert answer in (b"", b"reset") or answer[:1] == b"\x15", answer
    assert node.alive()
