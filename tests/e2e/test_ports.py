"""TCP ports of services: what a client sees of them, and what everybody is told of those that cannot be served."""
import json
import signal
import socket
import ssl
import subprocess
import sys
import time

import pytest
from lab import postgres
from lab.process import PATIENCE, wait_until
from lab.world import CLIENT_IP, NODE_IP, ROOT, passthrough

STATUS = "127.0.0.1:9100"


def port_service(name="mail", origin_port=2525, **members):
    return {"protocol": "tcp", "name": name, "origin": f"127.0.0.1:{origin_port}", **members}


def line_server(world, namespace, port, *options, address="127.0.0.1"):
    server = world.start(f"lines-{port}", [sys.executable, ROOT / "tests/lab/line_server.py", address, port, *options], namespace)
    server.expected_end = True
    server.wait_for("^ready", stream="stdout")
    return server


def connect(world, port, timeout=10.0):
    with world.client.entered():
        return socket.create_connection((NODE_IP, port), timeout * PATIENCE)


def line(connection):
    return connection.makefile("rb").readline().decode().strip()


def ask(connection, text):
    connection.sendall(text.encode() + b"\r\n")
    return line(connection)


def agent_status(world):
    answer = world.culvert("agent", "status", "--metrics-listen", STATUS, "-o", "json", namespace=world.home)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def refused(world, port):
    """Why a client is not served: the end of its connection, or that there is none."""
    try:
        with connect(world, port) as connection:
            return "ended" if connection.recv(1) == b"" else "served"
    except OSError as error:
        return type(error).__name__


@pytest.mark.smoke
def test_a_server_that_speaks_first_and_starts_tls_in_the_middle(world):
    pem, key = world.certificate("mail.example.test")
    line_server(world, world.home, 2525, "--starttls", pem, key)
    node = world.node()
    agent = world.agent(world.invite(node), port_service(listen_port=2525))
    assert f"tcp://{NODE_IP}:2525" in agent.wait_for(r"event=serving.*").group(0)
    with connect(world, 2525) as connection:
        assert line(connection).startswith("220 ready for 127.0.0.1:")
        assert ask(connection, "HELO") == "250 HELO"
        assert ask(connection, "STARTTLS") == "220 go ahead"
        context = ssl.create_default_context(cafile=pem)
        with context.wrap_socket(connection, server_hostname="mail.example.test") as inside:
            assert ask(inside, "QUIT") == "250 QUIT"
            assert inside.recv(1) == b""


def test_the_origin_learns_the_client_by_proxy_protocol(world):
    line_server(world, world.home, 2525, "--proxy")
    node = world.node()
    world.agent(world.invite(node), port_service(listen_port=2525, proxy_protocol="v2"))
    with connect(world, 2525) as connection:
        assert line(connection) == f"220 ready for {CLIENT_IP}:{connection.getsockname()[1]}"


@pytest.mark.skipif(postgres.binaries() is None, reason="PostgreSQL (Debian's package postgresql) is not installed")
def test_postgresql_at_a_port_that_the_hub_picks(world):
    database = postgres.Postgres(world.directory)
    world.cleanups.append(database.stop)
    database.start()
    # It listens on a unix socket only.
    bridge = world.start("bridge", [sys.executable, "-c", f"""
import asyncio
async def pipe(reader, writer):
    while data := await reader.read(65536):
        writer.write(data); await writer.drain()
    writer.close()
async def serve(reader, writer):
    there = await asyncio.open_unix_connection("{database.directory}/.s.PGSQL.5432")
    await asyncio.gather(pipe(reader, there[1]), pipe(there[0], writer), return_exceptions=True)
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 5432)
    print("ready", flush=True)
    await server.serve_forever()
asyncio.run(main())
"""], world.home)
    bridge.expected_end = True
    bridge.wait_for("^ready", stream="stdout")
    node = world.node()
    world.agent(world.invite(node), port_service("db", 5432), extra=("--metrics-listen", STATUS))
    port = agent_status(world)["services"][0]["listen_port"]
    with world.client.entered():
        answer = subprocess.run(["psql", f"postgres://culvert@{NODE_IP}:{port}/postgres?connect_timeout=10", "-Atc",
                                 "select sum(n) from generate_series(1, 100000) n"], capture_output=True, text=True)
    assert answer.stdout.strip() == "5000050000", answer.stderr


def test_a_port_that_is_taken_is_told_everywhere_and_served_once_it_is_free(world):
    world.nginx()
    line_server(world, world.home, 2525)
    other = line_server(world, world.public, 2525, address=NODE_IP)
    node = world.node("--metrics-listen", STATUS)
    agent = world.agent(world.invite(node), port_service(listen_port=2525), passthrough(), ready=False,
                        extra=("--metrics-listen", STATUS))
    reason = agent.wait_for(r'event=port_not_open.* port=tcp/2525 reason="(.*?)"').group(1)
    assert "in use" in reason
    node.wait_for(r"event=port_failed port=tcp/2525")
    wait_until(lambda: any("tcp/2525 of mail" in fault and "in use" in fault for fault in agent_status(world)["faults"]),
               "the agent's status names the port")
    shown = world.culvert("status", "--data-dir", node.data_dir)
    assert "tcp/2525" in shown.stdout and "in use" in shown.stdout, shown.stdout
    # The other service is served all the same.
    wait_until(lambda: world.status() == "200", "the hostname is served")
    other.kill()
    agent.wait_for(r"event=port_opened.* port=tcp/2525")
    agent.wait_for(r"event=ready")
    with connect(world, 2525) as connection:
        assert line(connection).startswith("220 ready")
    assert agent_status(world)["faults"] == []
    agent.signal(signal.SIGTERM)
    wait_until(lambda: refused(world, 2525) == "ConnectionRefusedError", "the port is released")


def test_what_the_hub_does_not_grant_is_told_with_the_reason(world):
    line_server(world, world.home, 2525)
    node = world.node()
    world.agent(world.invite(node, name="first", hostnames="a.example.test"), port_service(listen_port=2525))
    token = world.invite(node, name="second", hostnames="b.example.test")
    second = world.agent(token, port_service("mail", listen_port=2525), port_service("low", listen_port=25),
                         port_service("free"), ready=False)
    said = second.wait_for(r"event=refused.*").group(0)
    assert "tcp:mail" in said and "2525" in said
    assert "tcp:low" in said and "25" in said
    second.wait_for(r"event=ready")
    with connect(world, 2525) as connection:
        assert line(connection).startswith("220 ready")


def test_an_origin_that_is_down_ends_the_connection_and_says_so_once(world):
    node = world.node()
    agent = world.agent(world.invite(node), port_service(listen_port=2525), ready=False)
    agent.wait_for(r"event=origin_unreachable service=.tcp:mail")
    wait_until(lambda: refused(world, 2525) == "ConnectionResetError", "clients are reset")
    line_server(world, world.home, 2525)
    agent.wait_for(r"event=ready")
    with connect(world, 2525) as connection:
        assert line(connection).startswith("220 ready")


def test_bytes_are_carried_both_ways_at_once_and_to_a_half_close(world):
    """64 MiB each way at once, then the end of one side."""
    sink = world.start("echo", [sys.executable, "-c", """
import socketserver
class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(65536):
            self.request.sendall(data)
        self.request.sendall(b"bye")
with socketserver.ThreadingTCPServer(("127.0.0.1", 7), Handler) as server:
    print("ready", flush=True)
    server.serve_forever()
"""], world.home)
    sink.expected_end = True
    sink.wait_for("^ready", stream="stdout")
    node = world.node("--workers", "2")
    world.agent(world.invite(node), port_service("echo", 7, listen_port=7007))
    sent = bytes(range(256)) * 4096 * 64
    with connect(world, 7007, timeout=60) as connection:
        connection.setblocking(False)
        received, at, deadline = bytearray(), 0, time.monotonic() + 60 * PATIENCE
        finished = False
        while time.monotonic() < deadline:
            try:
                at += connection.send(sent[at:at + 262144]) if at < len(sent) else 0
            except BlockingIOError:
                pass
            if at == len(sent) and not finished:
                connection.shutdown(socket.SHUT_WR)
                finished = True
            try:
                data = connection.recv(262144)
                if not data:
                    break
                received += data
            except BlockingIOError:
                time.sleep(0.001)
    assert len(received) == len(sent) + 3
    assert bytes(received) == sent + b"bye"


def test_an_agent_that_is_killed_leaves_its_port_to_another(world):
    line_server(world, world.home, 2525)
    node = world.node()
    token = world.invite(node)
    first = world.agent(token, port_service(listen_port=2525))
    world.agent(token, port_service(listen_port=2525))
    first.kill()
    # A client is served at once: nothing of it was given to the agent that is gone.
    began = time.monotonic()
    for _ in range(4):
        with connect(world, 2525) as connection:
            assert line(connection).startswith("220 ready")
    assert time.monotonic() - began < 12 * PATIENCE
