"""Requests to the hub's API that are not allowed, malformed or too slow."""
import json
import subprocess

from lab import wire
from lab.world import NODE_IP, NODE_TCP


def test_requests_of_unauthenticated_clients_to_the_hub(world):
    """The hub's API on the public port: no operator key, no signature, no way in, and it stays up."""
    node = world.node()
    token = world.invite(node)
    for expected, method, path, body in (
            (401, "GET", "/v1/invites", ""), (401, "POST", "/v1/invites", "{}"), (401, "DELETE", "/v1/invites/x", ""),
            (400, "POST", "/v1/leases", "{}"), (413, "POST", "/v1/leases", "x" * 100_000), (431, "GET", "/" + "a" * 20_000, ""),
            (404, "BREW", "/", ""), (404, "GET", "/../../etc/passwd", "")):
        with world.client.entered():
            done = subprocess.run(["curl", "--silent", "--insecure", "--max-time", "20", "--path-as-is", "--request", method,
                                   "--data", body, "--header", "Authorization: Bearer wrong",
                                   "--write-out", "\n%{http_code}", f"https://{NODE_IP}:{NODE_TCP}{path}"],
                                  text=True, capture_output=True)
        assert done.stdout.splitlines()[-1] == str(expected), (method, path[:40], done.stdout[-300:], done.stderr)
        assert token.split(".")[4] not in done.stdout
    for garbage in (b"\0" * 1000, b"GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", b"POST /v1/leases HTTP/9.9\r\n\r\n"):
        with world.client.entered():
            try:
                with wire.connect(world.client) as sock, wire.insecure_context().wrap_socket(sock) as tls:
                    tls.sendall(garbage)
                    tls.recv(1000)
            except OSError:
                pass
    assert node.alive()
    assert world.culvert("invite", "list", "--data-dir", node.data_dir).returncode == 0


def test_a_request_that_comes_too_slowly_is_answered(world):
    """The hub gives a request ten seconds from its first byte, then says so."""
    world.node()
    halves = (b"POST /v1/lea", f"POST /v1/leases HTTP/1.1\r\nHost: {NODE_IP}\r\nContent-Length: 10\r\n\r\nhalf".encode())
    clients = []
    for half in halves:
        clients.append(wire.FramedTls(wire.connect(world.client, timeout=40), None))
        clients[-1].handshake()
        clients[-1].write(half)
    for client in clients:
        answer = b""
        while part := client.read():
            answer += part
        client.sock.close()
        assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n"), answer
        assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["error"]["code"] == "request_timeout", answer
