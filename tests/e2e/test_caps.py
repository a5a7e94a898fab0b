"""Caps that unauthenticated clients can reach: a client at the cap is told at once, the log says so once, and it passes."""
import re

import pytest
from lab import wire
from lab.process import wait_until
from lab.world import CLIENT_IP, NODE_IP, terminate


def is_refused(world):
    """Whether a new connection is reset before it has said anything."""
    try:
        with wire.connect(world.client, timeout=2) as sock:
            sock.recv(1)
    except ConnectionResetError:
        return True
    except TimeoutError:
        pass
    return False


def hub_answers(world):
    try:
        with wire.connect(world.client) as sock, wire.insecure_context().wrap_socket(sock) as tls:
            tls.sendall(f"GET /v1/health HTTP/1.1\r\nHost: {NODE_IP}\r\nConnection: close\r\n\r\n".encode())
            return wire.receive_all(tls).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False


@pytest.mark.smoke
def test_a_full_house_of_public_connections(world):
    world.nginx()
    node = world.node("--max-connections", "8")
    world.agent(world.invite(node), terminate())
    assert world.status() == "200"
    held = []

    def is_full():
        # Not simply eight: the place of curl comes free a little later.
        try:
            sock = wire.connect(world.client)  # on a busy machine the reset comes before this returns
            wire.FramedTls(sock).handshake()
            held.append(sock)
        except OSError:
            return len(held) >= 8
        return False

    wait_until(is_full, "the house is full", timeout=60)
    node.wait_for(r"event=connections_full cap=8 refused=\d+")
    for _ in range(20):
        assert is_refused(world)
    assert len(re.findall("event=connections_full", node.log)) <= 3
    for sock in held:
        sock.close()
    wait_until(lambda: world.status() == "200", "there is room again")


@pytest.mark.smoke
def test_one_address_fills_its_share_of_the_hubs_door_and_loses_its_oldest(world):
    world.nginx()
    node = world.node()
    token = world.invite(node)
    assert hub_answers(world)
    silent = []
    for _ in range(64):
        silent.append(wire.connect(world.client))
        wire.FramedTls(silent[-1], None).handshake()  # without a name: for the hub
    assert hub_answers(world)
    node.wait_for(rf"event=hub_source_full client={re.escape(CLIENT_IP)}:\d+ cap=64 dropped=1 refused=0")
    with pytest.raises(ConnectionResetError):
        while silent[0].recv(4096):
            pass
    world.agent(token, terminate())  # comes from another address
    assert world.status() == "200", "public connections are another matter"
    for sock in silent:
        sock.close()
    assert hub_answers(world)
