"""A record of every public connection, whatever becomes of it, of the file and of the process."""
import collections
import json
import signal
import subprocess
import sys

from lab.process import wait_until
from lab.upgrade import upgrade
from lab.world import CLIENT_IP, HOST, NODE_IP, terminate

# Connects so often and ends each in another way: a whole request, no TLS, a reset inside of the hello, silence. Prints how many.
CLIENT = """
import random, socket, ssl, struct, sys
address, count, seed, host = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
rng = random.Random(seed)
made = 0
for number in range(count):
    sock = socket.create_connection((address, 443), timeout=10)
    made += 1
    how = rng.randrange(4)
    try:
        if how == 0:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            sock = context.wrap_socket(sock, server_hostname=host)
            sock.sendall(f"GET / HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n\\r\\n".encode())
            while sock.recv(65536):
                pass
        elif how == 1:
            sock.sendall(b"no TLS at all\\n")
            sock.recv(100)
        elif how == 2:
            sock.sendall(b"\\x16\\x03\\x01\\x02\\x00\\x01")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass
    sock.close()
print(made)
"""


def records_of(*paths):
    """Those of the public client. One that was reset before it was accepted has no address any more."""
    out = []
    for path in paths:
        text = path.read_text()
        assert text == "" or text.endswith("\n"), text[-200:]
        out += [each for each in map(json.loads, text.splitlines()) if each["client"].startswith((f"{CLIENT_IP}:", "0.0.0.0:"))]
    return out


def start_clients(world, count):
    """Four at once, `count` connections each."""
    with world.client.entered():
        return [subprocess.Popen([sys.executable, "-c", CLIENT, NODE_IP, str(count), str(seed), HOST], stdout=subprocess.PIPE, text=True)
                for seed in range(4)]


def made_by(clients):
    return sum(int(each.communicate(timeout=300)[0]) for each in clients)


def served(world, *extra):
    world.nginx()
    path = world.directory / "access.json"
    node = world.node("--access-log", path, *extra)
    agent = world.agent(world.invite(node), terminate())
    return node, agent, path


def test_each_connection_has_one_record_whatever_becomes_of_it(world):
    node, agent, path = served(world)
    clients = start_clients(world, 125)
    wait_until(lambda: len(records_of(path)) > 50, "some have ended")
    agent.expected_end = True
    agent.kill()
    made = made_by(clients)
    assert made == 500
    records = wait_until(lambda: len(found := records_of(path)) >= made and found, "every connection has a record")
    assert len(records) == made
    assert len({each["id"] for each in records}) == made
    reasons = collections.Counter(each["reason"] for each in records)
    assert reasons["not_tls"] > 50 and reasons["client_gone"] > 100 and reasons["finished"] + reasons["client_closed"] > 5, reasons
    assert all(each["fault"] in ("nobody", "client", "edge", "agent", "origin") for each in records)
    served_ones = [each for each in records if each["reason"] == "finished"]
    assert all(each["host"] == HOST and each["agent"] and each["tls"] == "TLSv1.3" and each["bytes_out"] > 0 for each in served_ones)
    assert path.stat().st_mode & 0o777 == 0o640
    node.stop()


def test_a_rotated_file_loses_no_record(world):
    node, _, path = served(world)
    clients = start_clients(world, 75)
    old = []
    for number in range(5):
        before = node.log.count("event=config_reloaded")
        old.append(path.rename(path.with_suffix(f".{number}")))
        node.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: node.log.count("event=config_reloaded") > before and path.exists(), "the file is there again")
    made = made_by(clients)
    records = wait_until(lambda: len(found := records_of(path, *old)) >= made and found, "every connection has a record")
    assert len(records) == made == 300


def test_an_upgrade_goes_on_with_the_same_file(world):
    node, _, path = served(world)
    clients = start_clients(world, 75)
    wait_until(lambda: len(records_of(path)) > 20, "some have ended")
    upgrade(world, node)
    made = made_by(clients)
    records = wait_until(lambda: len(found := records_of(path)) >= made and found, "every connection has a record")
    assert len(records) == made == 300


def test_a_file_that_cannot_be_made_is_said(world):
    node = world.node("--access-log", "/nonexistent/access.json", wait=False)
    assert node.wait() == 1
    assert "--access-log: cannot open" in node.log and "No such file or directory" in node.log
