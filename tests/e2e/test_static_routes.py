"""Static routes of a node: origins beside it, without an agent."""
import hashlib
import signal
import socket
import threading

import pytest
from lab import wire
from lab.process import wait_until
from lab.upgrade import upgrade
from lab.world import BINARY, HOST, NODE_IP, NODE_TCP

MIB = 1 << 20


@pytest.fixture
def beside(world):
    """The origins are beside the node."""
    world.home, home = world.public, world.home
    yield world
    world.home = home


def routes(*texts):
    return [word for text in texts for word in ("--route", text)]


def raw_client(world, name, **kwargs):
    client = wire.connect(world.client, **kwargs)
    client.sendall(wire.hello_record(name))
    return client


def greeting(text):
    """An origin that says who it is and echoes what follows the hello."""

    def handle(sock):
        sock.recv(65536)
        sock.sendall(text)
        while data := sock.recv(65536):
            sock.sendall(data)

    return handle


def resident(process):
    with open(f"/proc/{process.popen.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) * 1024


@pytest.mark.smoke
def test_a_passthrough_and_a_terminated_name(beside):
    beside.nginx()
    node = beside.node(*routes(f"{HOST}=127.0.0.1:3000,terminate", "raw.example.test=127.0.0.1:3444"))
    assert beside.curl(cacert=beside.root_certificate(node), check=True).stdout
    assert beside.status(host="raw.example.test") == "200"


def test_a_unix_socket(beside):
    place = beside.directory / "app.sock"
    beside.serve_http("origin", f"""server {{ listen unix:{place}; location / {{ return 200 "from a socket\\n"; }} }}
  server {{ listen 127.0.0.1:3999; location / {{ return 200 "up"; }} }}""", probe=3999)
    beside.node(*routes(f"{HOST}=unix:{place},terminate"))
    assert beside.curl(check=True).stdout == "from a socket\n"


def test_a_port_whose_origin_speaks_first(beside):
    with wire.origin(beside.home, 5022, lambda sock: (sock.sendall(b"SSH-2.0-x\r\n"), sock.recv(100))):
        node = beside.node(*routes("tcp/2222=127.0.0.1:5022"))
        node.wait_for(r"event=port_opened port=tcp/2222")
        with wire.connect(beside.client, (NODE_IP, 2222)) as client:
            assert wire.receive_exactly(client, 11) == b"SSH-2.0-x\r\n"


def test_another_origin_gets_the_clients_of_one_that_is_down_and_a_page_tells_of_none(beside):
    beside.nginx()
    node = beside.node(*routes(f"{HOST}=127.0.0.1:3998,terminate", f"{HOST}=127.0.0.1:3000,terminate",
                               "down.example.test=127.0.0.1:3998,terminate,health=tcp"))
    for _ in range(10):
        assert beside.status() == "200"
    page = beside.curl(host="down.example.test").stdout
    assert "502" in page and "cannot be reached" in page, page
    node.wait_for(r"event=origin_unhealthy service=.?down.example.test")
    status = beside.culvert("status", "--data-dir", node.data_dir)
    assert "static route down.example.test=127.0.0.1:3998" in status.stdout, status.stdout + status.stderr


def test_a_reload_adds_and_removes_and_touches_nothing_else(beside):
    with wire.origin(beside.home, 5001, greeting(b"one")):
        path = beside.directory / "node.toml"
        names = {name: f"{name}=127.0.0.1:5001,proxy=none" for name in ("a.example.test", "b.example.test", "c.example.test")}

        def write(*chosen):
            path.write_text("[edge]\nroute = [" + ", ".join(f'"{names[name]}"' for name in chosen) + "]\n")

        write("a.example.test", "b.example.test")
        node = beside.node("--config", path)
        stays, goes = raw_client(beside, "a.example.test"), raw_client(beside, "b.example.test")
        assert wire.receive_exactly(stays, 3) == wire.receive_exactly(goes, 3) == b"one"
        write("a.example.test", "c.example.test")
        node.popen.send_signal(signal.SIGHUP)
        node.wait_for(r"event=config_reloaded")
        with pytest.raises(ConnectionResetError):
            goes.recv(1)
        with raw_client(beside, "c.example.test") as added:
            assert wire.receive_exactly(added, 3) == b"one"
        stays.sendall(b"more")
        assert wire.receive_exactly(stays, 4) == b"more"
        stays.close()


def test_an_upgrade_keeps_a_connection(beside):
    with wire.origin(beside.home, 5001, greeting(b"one")):
        node = beside.node(*routes("a.example.test=127.0.0.1:5001,proxy=none"))
        held = raw_client(beside, "a.example.test")
        assert wire.receive_exactly(held, 3) == b"one"
        upgrade(beside, node)
        held.sendall(b"more")
        assert wire.receive_exactly(held, 4) == b"more"
        with raw_client(beside, "a.example.test") as later:
            assert wire.receive_exactly(later, 3) == b"one"
        held.close()


def test_a_gibibyte_arrives_as_it_was_sent(beside):
    part = bytes(range(256)) * (MIB // 256)
    sent = hashlib.sha256()

    def serve(sock):
        sock.recv(65536)
        for number in range(1024):
            data = number.to_bytes(8, "big") + part[8:]
            sent.update(data)
            sock.sendall(data)

    with wire.origin(beside.home, 5001, serve):
        beside.node(*routes("a.example.test=127.0.0.1:5001,proxy=none"))
        got, size = hashlib.sha256(), 0
        with raw_client(beside, "a.example.test", timeout=120.0) as client:
            while data := client.recv(MIB):
                got.update(data)
                size += len(data)
        assert size == 1024 * MIB
        assert got.digest() == sent.digest()


def test_slow_readers_take_no_memory_of_the_node(beside):
    stop = threading.Event()

    def flood(sock):
        sock.recv(65536)
        sock.settimeout(1.0)
        while not stop.is_set():
            try:
                sock.sendall(bytes(MIB))
            except socket.timeout:
                continue
            except OSError:
                return

    with wire.origin(beside.home, 5001, flood):
        node = beside.node(*routes("a.example.test=127.0.0.1:5001,proxy=none"))
        before = resident(node)
        clients = [raw_client(beside, "a.example.test", receive_buffer=8192) for _ in range(50)]
        for client in clients:
            assert client.recv(1000)
        wait_until(lambda: resident(node) - before < 16 * MIB, "little memory is used", 5)
        stop.set()
        for client in clients:
            client.close()


@pytest.mark.parametrize("wrong, says", [
    (["a.test=127.0.0.1:1", "a.test=127.0.0.1:1"], "given twice"),
    (["a.test=127.0.0.1:1", "a.test=127.0.0.1:2,terminate"], "same mode"),
    ([f"{HOST}=127.0.0.1:1,nonsense"], "unknown or given twice"),
    (["udp/53=127.0.0.1:53"], "--udp-service"),
    (["hub.example.test=127.0.0.1:1"], "name of the hub itself"),
])
def test_routes_that_a_node_cannot_serve(world, wrong, says):
    done = world.culvert("node", "--data-dir", world.directory / "unused", "--listen", f"{NODE_IP}:{NODE_TCP}",
                         "--public-url", "https://hub.example.test", *routes(*wrong), namespace=world.public)
    assert done.returncode != 0 and says in done.stderr, done.stderr
    assert BINARY.exists() and not (world.directory / "unused").exists()
