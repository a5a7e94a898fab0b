"""Upgrades of a running node, and a false successor that speaks their protocol (src/node/hand_over_messages.h)."""
import array
import contextlib
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
from pathlib import Path

from .process import BUG, PATIENCE, wait_until
from .world import BINARY, CLEAN_ENV


class Successor:
    """The process that an upgrade left behind: no child of ours."""

    stdout = ""  # nobody reads it

    def __init__(self, name, pid, log_path, output):
        self.name, self.pid, self.log_path, self.output = name, pid, log_path, output

    @property
    def log(self):
        return self.log_path.read_text(errors="replace")

    def alive(self):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            return Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
        return False

    def kill(self, number=signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self, timeout=20.0):
        wait_until(lambda: not self.alive(), f"process {self.pid} has ended", timeout)

    def descriptors(self):
        return descriptors(self.pid)


def descriptors(pid):
    """What a process has open, by kind."""
    kinds = {}
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            kind = re.sub(r"[\d\[\]]+|\(deleted\)", "", os.readlink(link))
            kinds[kind] = kinds.get(kind, 0) + 1
    return kinds


def run_upgrade(world, node, *extra, env=None, namespace=None):
    """(exit status, what it and its successor said, pid of the successor) of an upgrade of `node` with its own arguments."""
    name = f"upgrade-{len(world.successors) + 1}"
    log_path = world.directory / f"{name}.err"
    start = next(i for i, word in enumerate(node.argv) if word == str(BINARY))
    argv = [str(BINARY), node.argv[start + 1], "--upgrade", *node.argv[start + 2:], *map(str, extra)]
    # The successor keeps it: a pipe would have no end.
    with (namespace or world.public).entered(), open(log_path, "ab") as log:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
                              env={**CLEAN_ENV, **(env or {})}, timeout=60 * PATIENCE)
    said = log_path.read_text(errors="replace")
    started = re.search(r"starts as process (\d+)", said)
    pid = int(started.group(1)) if started else None
    successor = Successor(name, pid, log_path, said)
    world.successors.append(successor)
    if pid:
        world.cleanups.append(successor.kill)
    return done.returncode, said, successor


def upgrade(world, node, *extra, **kwargs):
    status, said, successor = run_upgrade(world, node, *extra, **kwargs)
    assert status == 0 and re.search(r"process \d+ serves", said), said
    node.expected_end = True
    assert not BUG.search(said), said
    return successor


class FalseSuccessor:
    def __init__(self, node):
        # The path may be longer than a sockaddr_un.
        self.directory = os.open(node.data_dir, os.O_PATH)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(20 * PATIENCE)
        self.socket.connect(f"/proc/self/fd/{self.directory}/hand-over")

    def send(self, message):
        self.socket.send(message if isinstance(message, bytes) else json.dumps(message).encode())

    def receive(self):
        """The next message, and how many descriptors came with it; they are closed at once. None at the end."""
        data, control, flags, _ = self.socket.recvmsg(70_000, socket.CMSG_SPACE(256 * 4))
        fds = array.array("i")
        for level, kind, content in control:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds.frombytes(content[:len(content) - len(content) % fds.itemsize])
        for fd in fds:
            os.close(fd)
        return (json.loads(data), len(fds)) if data else None

    def close(self):
        self.socket.close()
        os.close(self.directory)


class FalsePredecessor:
    """Stands where a node of this data directory would run, and gives a successor the lock and no sockets."""

    def __init__(self, data_dir):
        self.data_dir = data_dir
        directory = os.open(data_dir, os.O_PATH)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(data_dir / "hand-over")
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.settimeout(20 * PATIENCE)
        self.listener.bind(f"/proc/self/fd/{directory}/hand-over")
        self.listener.listen(1)
        os.close(directory)

    def release(self):
        """The channel to the successor, which may say now that it serves."""
        channel, _ = self.listener.accept()
        channel.settimeout(20 * PATIENCE)
        assert json.loads(channel.recv(70_000))["type"] == "hello"
        channel.send(json.dumps({"type": "accepted", "generation": 1, "version": "test", "pid": os.getpid()}).encode())
        assert json.loads(channel.recv(70_000))["type"] == "ready"
        with open(self.data_dir / "lock", "r+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            released = {"type": "released", "database_lock": False, "run": "", "predecessors": []}
            socket.send_fds(channel, [json.dumps(released).encode()], [lock.fileno()])
        return channel

    def close(self):
        self.listener.close()


def hello(node, address, **changes):
    """As the node's own successor says it."""
    key = re.search(r"event=node_started id=(\S+) roles=(\S+)", node.log)
    return {"type": "hello", "protocol": 1, "version": "test", "id": key.group(1), "roles": key.group(2), "workers": 1,
            "tcp": address, "udp": address, **changes}
