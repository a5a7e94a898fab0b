"""Our endpoint beside real iroh, in both roles.

Not here: a client without a key. Real iroh always has one; src/quic's tests refuse such a client.
"""
import pytest
from lab.iroh import ALPN, CLIENT_IP, UdpRelay, iroh, ours
from lab.process import wait_until

ROLES = pytest.mark.parametrize("server,client", [(ours, iroh), (iroh, ours)], ids=["our-server", "our-client"])


def finish(client, status=0):
    assert client.wait(60) == status, f"{client.stdout}\n{client.log}"
    return client.stdout


@ROLES
def test_echo_over_streams_and_datagrams(pair, server, client):
    listening = pair.serve(server)
    said = finish(pair.connect(client, listening, "--bytes", "3000000", "--datagrams", "20"))
    assert f"CONNECTED {listening.id} {ALPN}" in said
    assert "ECHO 3000000\n" in said and "DATAGRAMS 20 " in said and "\nOK\n" in said
    own = said.splitlines()[0].split()[1]
    listening.wait_for(rf"^ACCEPTED {own} {ALPN}", stream="stdout")
    listening.wait_for(r"^STREAM echoed 3000000", stream="stdout")
    listening.wait_for(r"^CLOSED .*", stream="stdout")


@ROLES
def test_the_close_code_arrives(pair, server, client):
    listening = pair.serve(server)
    finish(pair.connect(client, listening, "--bytes", "10"))
    closed = listening.wait_for(r"^CLOSED .*", stream="stdout").group(0)
    # iroh's client closes with code 7 and "bye", ours with 0 and "done".
    assert closed == ("CLOSED application 0x7 bye" if client is iroh else "CLOSED closed by peer: done (code 0)")


@ROLES
def test_another_key_than_expected_is_refused(pair, server, client):
    listening = pair.serve(server)
    stranger = pair.serve(server).id
    assert stranger != listening.id
    said = finish(pair.connect(client, listening, "--bytes", "10", identity=stranger), status=1)
    assert "ERROR" in said and "CONNECTED" not in said
    if client is ours:
        assert "ERROR connect unauthorized" in said, said
    assert "ACCEPTED" not in listening.stdout


@ROLES
def test_no_common_protocol_is_refused(pair, server, client):
    listening = pair.serve(server)
    said = finish(pair.connect(client, listening, "--alpn", "another/1", "--bytes", "10"), status=1)
    assert "ERROR" in said and "CONNECTED" not in said
    if client is ours:
        assert "ERROR connect invalid" in said and "another/1" in said, said
    assert "ACCEPTED" not in listening.stdout


def test_our_client_answers_a_retry(pair):
    listening = pair.serve(iroh, "--retry")
    said = finish(pair.connect(ours, listening, "--bytes", "100000"))
    assert "ECHO 100000" in said
    assert "RETRY" in listening.stdout


def test_our_client_migrates_to_a_new_socket(pair):
    listening = pair.serve(iroh)
    said = finish(pair.connect(ours, listening, "--pings", "40", "--rebind"))
    assert "REBOUND" in said and "PINGS 40" in said


def test_two_of_ours_migrate(pair):
    listening = pair.serve(ours)
    said = finish(pair.connect(ours, listening, "--pings", "40", "--rebind"))
    assert "PINGS 40" in said
    assert listening.stdout.count("PATH ") >= 2, listening.stdout


@pytest.mark.parametrize("server,client", [(ours, iroh), (iroh, ours), (ours, ours)], ids=["our-server", "our-client", "both"])
def test_a_nat_gives_the_client_another_port(pair, server, client):
    listening = pair.serve(server)
    relay = UdpRelay(pair.client_ns, listening.address)
    pair.cleanups.append(relay.close)
    dialing = pair.connect(client, listening, "--pings", "50", address=relay.address)
    dialing.wait_for(r"^PING 10$", stream="stdout")
    fresh = relay.rebind()
    said = finish(dialing)
    assert "PINGS 50" in said
    if server is ours:
        assert f"PATH 0 moved {fresh}" in listening.stdout, listening.stdout


def test_the_address_of_an_iroh_client_changes(pair):
    listening = pair.serve(ours)
    dialing = pair.connect(iroh, listening, "--pings", "60", bind="0.0.0.0:0")
    dialing.wait_for(r"^PING 10$", stream="stdout")
    pair.client_ns.ip("addr add 10.66.0.77/24 dev eth0")
    pair.client_ns.ip(f"addr del {CLIENT_IP}/24 dev eth0")
    pair.client_ns.ip("addr replace 10.66.0.77/24 dev eth0")  # a secondary address goes with the first
    said = finish(dialing)
    assert "PINGS 60" in said
    listening.wait_for(r"^PATH \d+ (open|moved) 10\.66\.0\.77:", stream="stdout")


def test_the_address_of_our_client_changes(pair):
    listening = pair.serve(iroh)
    dialing = pair.connect(ours, listening, "--pings", "60", bind="0.0.0.0:0")
    dialing.wait_for(r"^PING 10$", stream="stdout")
    pair.client_ns.ip("addr add 10.66.0.77/24 dev eth0")
    pair.client_ns.ip(f"addr del {CLIENT_IP}/24 dev eth0")
    pair.client_ns.ip("addr replace 10.66.0.77/24 dev eth0")
    assert "PINGS 60" in finish(dialing)


def test_many_connections_to_one_server(pair):
    listening = pair.serve(ours)
    dialing = [pair.connect(iroh, listening, "--bytes", "200000") for _ in range(8)]
    for client in dialing:
        assert "ECHO 200000" in finish(client)
    wait_until(lambda: listening.stdout.count("ACCEPTED") == 8, "all were accepted")
