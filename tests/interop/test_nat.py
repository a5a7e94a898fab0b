"""Two endpoints behind NATs: they connect through a relay, move to a direct path, and return when that path fails.

Stock iroh on both sides shows that the laboratory is right; our endpoint beside it, in both roles, has to do the same.
"""
import re
import time

import pytest
from lab.peers import BRIDGE_ADDRESS, BridgedIrohPeer, IrohPeer, OurPeer, our_peer_has_paths

pytestmark = pytest.mark.nat

needs_paths = pytest.mark.skipif(not our_peer_has_paths(), reason="interop_peer has no --relay-path")
PEERS = pytest.mark.parametrize("server_kind,client_kind", [
    pytest.param(IrohPeer, IrohPeer, id="iroh-both"),
    pytest.param(OurPeer, IrohPeer, id="our-server", marks=needs_paths),
    pytest.param(IrohPeer, OurPeer, id="our-client", marks=needs_paths),
    pytest.param(OurPeer, OurPeer, id="our-both", marks=needs_paths),
])


def nats(*pairs):
    return pytest.mark.parametrize("nat_a,nat_b", pairs, ids=map("-".join, pairs))


# Seconds. Hole punching takes a few round trips once both sides know their addresses: 0.3 s for iroh, which retries at 5 s.
PUNCH = 15
# A direct path is abandoned after 15 s without an answer; until then the data waits for it.
FALL_BACK = 30
# A later round of hole punching needs a changed address, or iroh's check of all connections, every 60 s.
RETURN = 75
# More than any test lasts: it ends the client by SIGTERM.
ENDLESS = ("--pings", "100000")


def connect_through_relay(laboratory, server_kind, client_kind, *arguments):
    """The server on side A, and a client on side B that knows only the server's relay."""
    server = server_kind(laboratory, laboratory.a).serve()
    client = client_kind(laboratory, laboratory.b).connect(server, *arguments)
    client.wait_for(rf"^CONNECTED {server.id} ")
    server.wait_for(rf"^ACCEPTED {client.id} ")
    for peer in (server, client):
        if isinstance(peer, OurPeer):
            peer.wait_for(r"^MULTIPATH yes$")
            peer.wait_for(rf"^OBSERVED {peer.side.public_ip}:\d+$")
    return server, client


def both_use(path, server, client, timeout):
    began = time.monotonic()
    for peer in (client, server):
        peer.wait_for_path(path, timeout - (time.monotonic() - began))
    print(f"{path} after {time.monotonic() - began:.1f} s")


def pings_go_on(server, client):
    before = client.pings()
    client.wait_for(rf"^PING {before + 20}$")
    for peer in (server, client):
        peer.check()


def end(server, client):
    """The client ends when it is asked to, and no stream was lost."""
    assert client.process.stop() == 0, client.process.stdout
    assert "ERROR" not in client.process.stdout
    print(*[line for line in client.process.stdout.splitlines() if line.startswith("SLOWEST")])


@PEERS
@nats(("port", "port"), ("addr", "addr"), ("full", "port"), ("addr", "sym"), ("none", "port"))
def test_a_connection_moves_from_the_relay_to_a_direct_path(relayed, nat_a, nat_b, server_kind, client_kind):
    laboratory = relayed(nat_a, nat_b)
    server, client = connect_through_relay(laboratory, server_kind, client_kind, *ENDLESS)
    both_use("direct", server, client, PUNCH)
    pings_go_on(server, client)
    assert server.paths()[0] == client.paths()[0] == "relay"
    for peer, other in ((server, laboratory.b), (client, laboratory.a)):
        remotes = peer.direct_remotes()
        assert remotes and all(remote.startswith(f"{other.public_ip}:") for remote in remotes), remotes
    end(server, client)


@PEERS
@nats(("port", "sym"), ("sym", "sym"))
def test_the_relay_path_stays_where_hole_punching_cannot_work(relayed, nat_a, nat_b, server_kind, client_kind):
    server, client = connect_through_relay(relayed(nat_a, nat_b), server_kind, client_kind, "--bytes", "1000000", *ENDLESS)
    client.wait_for(r"^ECHO 1000000$")
    # Two rounds of hole punching.
    time.sleep(8)
    pings_go_on(server, client)
    assert server.path() == client.path() == "relay"
    end(server, client)


@PEERS
@pytest.mark.parametrize("nat_a,nat_b,settle", [
    # A round of hole punching that is still under way makes the direct path come back earlier than RETURN: its messages
    # arrive through the relay. So the first waits until the retry at 5 s and its probes, of 4 s, are over.
    pytest.param("port", "port", 10, id="port-port"),
    pytest.param("addr", "addr", 0, id="addr-addr-while-punching"),
])
def test_the_relay_takes_over_while_the_direct_path_is_blocked(relayed, nat_a, nat_b, settle, server_kind, client_kind):
    laboratory = relayed(nat_a, nat_b)
    server, client = connect_through_relay(laboratory, server_kind, client_kind, *ENDLESS)
    both_use("direct", server, client, PUNCH)
    time.sleep(settle)
    pings_go_on(server, client)

    laboratory.block_direct()
    both_use("relay", server, client, FALL_BACK)
    pings_go_on(server, client)

    laboratory.restore()
    both_use("direct", server, client, RETURN)
    pings_go_on(server, client)
    end(server, client)


@PEERS
@nats(("port", "port"))
def test_the_relay_path_outlives_its_idle_timeout_as_a_backup(relayed, nat_a, nat_b, server_kind, client_kind):
    laboratory = relayed(nat_a, nat_b)
    server, client = connect_through_relay(laboratory, server_kind, client_kind, *ENDLESS)
    both_use("direct", server, client, PUNCH)
    # 30 s on both sides.
    time.sleep(40)
    for peer in (server, client):
        assert not re.search(r"^PATH 0 (abandoned|closed)", peer.process.stdout, re.MULTILINE), peer.process.stdout
    laboratory.block_direct()
    both_use("relay", server, client, FALL_BACK)
    pings_go_on(server, client)
    end(server, client)


@PEERS
@nats(("port", "port"))
def test_the_relay_restarts_while_the_direct_path_is_used(relayed, nat_a, nat_b, server_kind, client_kind):
    laboratory = relayed(nat_a, nat_b)
    server, client = connect_through_relay(laboratory, server_kind, client_kind, *ENDLESS)
    both_use("direct", server, client, PUNCH)

    laboratory.relay.kill()
    time.sleep(5)
    pings_go_on(server, client)
    assert server.path() == client.path() == "direct"

    laboratory.start_relay()
    # Both connect to it again before it is needed: their keep-alives are sent every 5 s.
    time.sleep(10)
    laboratory.block_direct()
    both_use("relay", server, client, FALL_BACK)
    pings_go_on(server, client)
    end(server, client)


@PEERS
@nats(("none", "port"))
def test_large_packets_disappear_on_the_direct_path(relayed, nat_a, nat_b, server_kind, client_kind):
    laboratory = relayed(nat_a, nat_b)
    # Passes QUIC's minimum datagram size, 1200 and 28 bytes of headers, and no larger probe of MTU discovery.
    laboratory.blackhole(1228)
    server = server_kind(laboratory, laboratory.a).serve()
    client = client_kind(laboratory, laboratory.b).connect_directly(server, "--bytes", "3000000")
    client.wait_for(r"^ECHO 3000000$", timeout=60)
    assert client.process.wait() == 0
    assert client.direct_remotes() == {server.direct_address()}


@nats(("port", "addr"))
def test_address_discovery_sees_the_address_of_the_nat(relayed, nat_a, nat_b):
    laboratory = relayed(nat_a, nat_b)
    for side in (laboratory.a, laboratory.b):
        assert laboratory.observed(side).startswith(f"{side.public_ip}:")
        if our_peer_has_paths():
            assert laboratory.observed_by_ours(side).startswith(f"{side.public_ip}:")


BRIDGED = pytest.mark.parametrize("server_kind,client_kind", [(BridgedIrohPeer, IrohPeer), (IrohPeer, BridgedIrohPeer)],
                                  ids=["bridged-server", "bridged-client"])


@BRIDGED
@nats(("port", "port"))
def test_a_bridge_is_a_relay_path(relayed, nat_a, nat_b, server_kind, client_kind):
    """What our endpoint relies on, without our endpoint: iroh without a relay of its own talks through the bridge."""
    laboratory = relayed(nat_a, nat_b)
    laboratory.block_direct()
    server, client = connect_through_relay(laboratory, server_kind, client_kind, "--bytes", "3000000", "--datagrams", "20")
    client.wait_for(r"^ECHO 3000000$", timeout=60)
    client.wait_for(r"^DATAGRAMS 20 ")
    assert client.process.wait() == 0
    assert server.direct_remotes() | client.direct_remotes() == {BRIDGE_ADDRESS}


@BRIDGED
@nats(("port", "port"), ("addr", "addr"))
def test_hole_punching_works_through_a_bridge(relayed, nat_a, nat_b, server_kind, client_kind):
    """The candidates of the bridged endpoint are given, not discovered. It opens the direct path; whether it selects it is
    chance, because the bridge is an IP address too."""
    laboratory = relayed(nat_a, nat_b)
    server, client = connect_through_relay(laboratory, server_kind, client_kind, *ENDLESS)
    for peer, other in ((server, laboratory.b), (client, laboratory.a)):
        peer.wait_for(rf"^PATH \d+ open ip:{other.public_ip}:", timeout=PUNCH)
    pings_go_on(server, client)
    end(server, client)
