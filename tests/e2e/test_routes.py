"""Which origin and which certificate a public name reaches."""
import re
import ssl

import pytest
from lab import names, wire
from lab.process import wait_until
from lab.world import CLIENT_IP, HOST, NODE_IP, NODE_TCP, passthrough, terminate

ORIGINS = ["127.0.0.1", "localhost", "origin.home.test"]


def certificate_issuer(world, host=HOST):
    done = world.curl("/", "--verbose", "--output", "/dev/null", host=host)
    return re.search(r"issuer: (.*)", done.stderr).group(1)


@pytest.mark.smoke
@pytest.mark.parametrize("origin", ORIGINS)
def test_passthrough_shows_the_origins_own_certificate(world, origin):
    names.use_name_server(world, world.home, {"origin.home.test": {"A": ["127.0.0.1"]}})
    world.nginx()
    world.agent(world.invite(world.node()), passthrough(origin=origin))
    origin_certificate, _ = world.certificate()
    done = world.curl("/", cacert=origin_certificate, check=True)
    assert done.stdout == "hello from the origin\n"


@pytest.mark.smoke
@pytest.mark.parametrize("origin", ORIGINS)
def test_terminate_shows_a_certificate_of_our_exported_root(world, origin):
    names.use_name_server(world, world.home, {"origin.home.test": {"A": ["127.0.0.1"]}})
    world.nginx()
    node = world.node()
    world.agent(world.invite(node), terminate(origin=origin))
    done = world.curl("/", cacert=world.root_certificate(node), check=True)
    assert done.stdout == "hello from the origin\n"
    # ... and not of another client.
    other, _ = world.certificate()
    assert world.curl("/", cacert=other).returncode == 60


def test_terminate_serves_every_client_that_can_speak_http_1(world):
    world.nginx()
    node = world.node()
    world.agent(world.invite(node), terminate())
    for version in ("--http1.0", "--http1.1", "--http2", "--no-alpn"):
        done = world.curl("/", version, cacert=world.root_certificate(node), check=True)
        assert done.stdout == "hello from the origin\n", version
    for offered, selected in ((["http/1.0"], "http/1.0"), (["smtp"], None), (["h2", "smtp"], None)):
        context = wire.insecure_context()
        context.set_alpn_protocols(offered)
        with wire.connect(world.client) as sock, context.wrap_socket(sock, server_hostname=HOST) as tls:
            assert tls.selected_alpn_protocol() == selected
            tls.sendall(f"GET / HTTP/1.0\r\nHost: {HOST}\r\n\r\n".encode())
            assert wire.receive_all(tls).startswith(b"HTTP/1.1 200 "), offered
    context = wire.insecure_context()
    context.set_alpn_protocols(["h2"])
    with wire.connect(world.client) as sock, pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        context.wrap_socket(sock, server_hostname=HOST)


def test_terminate_covers_a_wildcard_route_with_a_valid_certificate(world):
    world.nginx()
    node = world.node()
    world.agent(world.invite(node), terminate(host="*.w.example.test"))
    root = world.root_certificate(node)
    assert world.curl("/", host="any.w.example.test", cacert=root, check=True).stdout == "hello from the origin\n"


@pytest.mark.smoke
def test_the_clients_address_reaches_the_origin_by_proxy_protocol(world):
    world.nginx()
    world.agent(world.invite(world.node()), passthrough(3444))
    told = world.curl("/whoami", check=True).stdout
    assert re.match(rf"proxy={re.escape(CLIENT_IP)}:\d+ ", told), told


def test_proxy_protocol_carries_the_public_address_and_the_authority(world):
    seen = []

    def handle(sock):
        seen.append(wire.read_proxy_v2(sock))

    with wire.origin(world.home, 5000, handle) as errors:
        world.agent(world.invite(world.node()), passthrough(5000), ready=False)
        with_name = lambda: [entry for entry in seen if entry[0][0] == CLIENT_IP]  # noqa: E731

        def attempt():
            with wire.connect(world.client) as sock:
                sock.sendall(wire.hello_record())
                sock.settimeout(2)
                try:
                    sock.recv(1)
                except OSError:
                    pass
            return with_name()
        source, destination, tlvs = wait_until(attempt, "the origin is told of the client")[0]
        assert source[0] == CLIENT_IP
        assert destination == (NODE_IP, NODE_TCP)
        assert tlvs[2] == HOST.encode()
        assert not errors


def test_proxy_protocol_is_off_for_terminate_unless_asked(world):
    world.nginx()
    world.agent(world.invite(world.node()), terminate())
    assert world.curl("/whoami", check=True).stdout.startswith("proxy=: ")


def test_exact_names_win_over_the_wildcard_and_case_does_not_matter(world):
    def speak(text):
        def handle(sock):
            request = b""
            while b"\r\n\r\n" not in request:
                request += sock.recv(4096)
            sock.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}".encode())
        return handle

    node = world.node()
    token = world.invite(node, "*.w.example.test")
    with wire.origin(world.home, 5001, speak("exact")), wire.origin(world.home, 5002, speak("wildcard")):
        world.agent(token, terminate(5001, "one.w.example.test"), terminate(5002, "*.w.example.test"))
        assert world.curl(host="one.w.example.test", check=True).stdout == "exact"
        assert world.curl(host="two.w.example.test", check=True).stdout == "wildcard"
        assert world.curl(host="ONE.w.Example.TEST", check=True).stdout == "exact"
        # One level only, and not the apex.
        for unknown in ("deep.two.w.example.test", "w.example.test"):
            assert world.curl(host=unknown).returncode == 35, unknown


def test_two_agents_with_names_of_their_own(world):
    world.nginx()
    node = world.node()
    first = world.invite(node, "a.example.test", "first")
    second = world.invite(node, "b.example.test", "second")
    world.agent(first, terminate(host="a.example.test"))
    world.agent(second, terminate(host="b.example.test"))
    for host in ("a.example.test", "b.example.test"):
        assert world.status(host=host) == "200"


def test_a_hostname_outside_the_invite_is_refused_by_name(world):
    world.nginx()
    node = world.node()
    token = world.invite(node, "a.example.test")
    agent = world.agent(token, terminate(host="b.example.test"), ready=False)
    agent.wait_for(r"b\.example\.test")
    wait_until(lambda: world.curl(host="b.example.test").returncode == 35, "the name stays unknown")
    agent.expected_end = True


@pytest.mark.smoke
def test_an_unknown_name_gets_the_tls_alert_and_few_log_lines(world):
    node = world.node()
    for attempt in range(60):
        with wire.connect(world.client) as sock:
            sock.sendall(wire.hello_record(f"absent{attempt}.example.test"))
            answer = wire.receive_all(sock)
        assert answer[:1] == b"\x15" and answer[-2:] == b"\x02\x70", answer  # fatal, unrecognized_name (112)
    lines = [line for line in node.log.splitlines() if "absent" in line]
    assert 1 <= len(lines) <= 20, f"{len(lines)} log lines for 60 clients"
    # Each is counted: whom the log left out, its next line adds.
    clients = 60

    def told():
        nonlocal clients
        with wire.connect(world.client) as sock:
            sock.sendall(wire.hello_record("absent.example.test"))
            wire.receive_all(sock)
        clients += 1
        counts = [1 + int(left_out) for left_out in re.findall(r"event=unknown_hostname.*suppressed=(\d+)", node.log)]
        return len(counts) > len(lines) and sum(counts) == clients
    wait_until(told, "the log's lines add up to every client", interval=2.5)
    # The library's view of the same alert.
    with wire.connect(world.client) as sock:
        client = wire.FramedTls(sock, "absent.example.test")
        with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
            client.handshake()


def test_a_hello_without_a_name_reaches_no_origin(world):
    world.nginx()
    world.agent(world.invite(world.node()), terminate())
    done = world.curl(host=HOST)
    assert done.returncode == 0
    with world.client.entered():
        context = wire.insecure_context()
        with wire.connect(world.client) as sock, context.wrap_socket(sock) as tls:
            # Without a name the hub answers with its own certificate; a route's origin never does.
            tls.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
            assert b"hello from the origin" not in wire.receive_all(tls)


def test_bytes_that_are_no_tls_are_refused(world):
    node = world.node()
    for garbage in (b"SSH-2.0-x\r\n", b"\0" * 64, b"\x16\x03\x01\xff\xff"):
        with wire.connect(world.client) as sock:
            sock.sendall(garbage)
            try:
                answer = wire.receive_all(sock)
            except ConnectionResetError:
                answer = b""
            assert answer == b"" or answer[:1] == b"\x15", answer
    with wire.connect(world.client) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = wire.receive_all(sock)
        assert answer.startswith(b"HTTP/1.1 400 ") and b"https://" in answer, answer
    assert node.alive()
