"""Endpoints behind NATs with a relay between them: stock iroh, or ours with a bridge to the relay.

Both have the same methods, so one test holds for every pair of them.
"""
import functools
import os
import re
import subprocess
from pathlib import Path

from .iroh import ALPN, PEER
from .nat import PUBLIC_IP, NatLaboratory
from .process import wait_until
from .world import ROOT

RUST = Path(os.environ.get("CULVERT_RUST_PEERS", ROOT / "build/interop/rust/debug"))
RELAY_URL = f"https://{PUBLIC_IP}/"
DISCOVERY = f"{PUBLIC_IP}:7842"
# Our endpoint has a fixed port, so that its NAT's port is known beforehand: masquerade keeps it.
OUR_PORT, BRIDGE_PORT = 4433, 4434
BRIDGE_ADDRESS = f"127.0.0.1:{BRIDGE_PORT}"
# The secret keys of endpoints with a bridge, which has to have the same one.
SEEDS = {"serve": "11" * 32, "connect": "22" * 32}


def built():
    return (RUST / "iroh-peer").exists()


@functools.cache
def our_peer_has_paths():
    """Whether interop_peer can use a relay path and NAT traversal."""
    shown = subprocess.run([PEER, "--help"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return "--relay-path" in shown.stdout


class Relayed(NatLaboratory):
    """Two NATs and a running relay."""

    def __init__(self, kind_a, kind_b):
        super().__init__(kind_a, kind_b)
        self.certificate = self.directory / "relay.pem"
        self.start_relay()

    def start_relay(self):
        """Also again after self.relay.kill()."""
        self.relay = self.background(
            "relay", [RUST / "iroh-relay", "--ip", PUBLIC_IP, "--certificate", self.certificate], self.public)
        self.relay.wait_for(r"^READY", stream="stdout")

    def background(self, name, argv, namespace):
        """A program that the test ends at will."""
        process = self.start(name, argv, namespace, env={"RUST_LOG": os.environ.get("CULVERT_RUST_LOG", "")})
        process.expected_end = True
        return process

    def bridge(self, side, seed, peer_id, target):
        """The relay path, at BRIDGE_ADDRESS on this side's host, of the endpoint with this secret key at `target`."""
        bridge = self.background("bridge", [
            RUST / "relay-bridge", "--relay", RELAY_URL, "--ca", self.certificate, "--seed", seed, "--peer", peer_id,
            "--listen", BRIDGE_ADDRESS, "--target", target], side.host)
        bridge.wait_for(r"^READY", stream="stdout")

    def discovery(self):
        """The options of interop_peer to ask the relay for an address. Its certificate is its own root."""
        der = self.directory / "relay.der"
        subprocess.run(["openssl", "x509", "-in", self.certificate, "-outform", "DER", "-out", der], check=True)
        return "--discover", DISCOVERY, "--root", der

    def observed(self, side):
        """The address that the relay sees a socket of this side at, by iroh's client."""
        return self._observed("qad-probe", [RUST / "qad-probe", "--server", DISCOVERY, "--ca", self.certificate], side)

    def observed_by_ours(self, side):
        return self._observed("discover", [PEER, "discover", "--bind", f"{side.host_ip}:0", *self.discovery()], side)

    def _observed(self, name, argv, side):
        probe = self.background(name, argv, side.host)
        assert probe.wait() == 0, probe.stdout
        return re.search(r"^OBSERVED (\S+)$", probe.stdout, re.MULTILINE).group(1)


class Peer:
    """One running endpoint of a test. `process` prints its lines; paths() lists the kinds of path (relay, direct) that have
    carried the data since the connection began."""

    def __init__(self, laboratory, side):
        self.laboratory, self.side = laboratory, side
        self.process = self.id = None

    def wait_for(self, pattern, timeout=20.0, count=1):
        return self.process.wait_for(pattern, timeout, stream="stdout", count=count)

    def path(self):
        """The kind of path that carries the data now."""
        return self.paths()[-1] if self.paths() else None

    def wait_for_path(self, kind, timeout):
        wait_until(lambda: self.path() == kind, f"{self.process.name} uses the {kind} path, not {self.path()}", timeout)

    def pings(self):
        """How many round trips a client has done, to the last ten."""
        return max(map(int, re.findall(r"^PING (\d+)$", self.process.stdout, re.MULTILINE)), default=0)

    def check(self):
        """Fails if a stream was lost."""
        said = self.process.stdout
        assert not re.search(r"^(ERROR|FAILED|ENDED|CLOSED|STREAM (?!echoed))", said, re.MULTILINE), said
        assert self.process.alive(), said


class IrohPeer(Peer):
    """Stock iroh with its own connection to the relay."""

    def _start(self, mode, *arguments):
        self.process = self.laboratory.background(
            f"iroh-{mode}", [RUST / "iroh-peer", mode, "--alpn", ALPN, *arguments], self.side.host)
        self.id = self.wait_for(r"^ID (\w+)").group(1)

    def serve(self):
        self._start("serve", "--relay", RELAY_URL, "--ca", self.laboratory.certificate)
        self.wait_for(r"^ONLINE")
        return self

    def connect(self, server, *arguments):
        self._start("connect", "--relay", RELAY_URL, "--ca", self.laboratory.certificate,
                    "--id", server.id, "--addr", RELAY_URL, *arguments)
        return self

    def connect_directly(self, server, *arguments):
        """To the server's own address, without a relay."""
        self._start("connect", "--id", server.id, "--addr", server.direct_address(), *arguments)
        return self

    def direct_address(self):
        """Where a server on a side without a NAT is reached."""
        return f"{self.side.host_ip}:" + self.wait_for(r"^ADDR 0\.0\.0\.0:(\d+)$").group(1)

    def paths(self):
        selected = re.findall(r"^PATHS selected=(\w+)", self.process.stdout, re.MULTILINE)
        return [{"relay": "relay", "ip": "direct"}.get(kind) for kind in selected]

    def direct_remotes(self):
        """The remote addresses of all direct paths so far."""
        return set(re.findall(r"@ip:([^\s,]+)", self.process.stdout))


class BridgedIrohPeer(IrohPeer):
    """Stock iroh without a relay, which sees the bridge as one more IP address of its peer."""

    def _start_bridged(self, mode, peer_id, *arguments):
        bind = f"{self.side.host_ip}:{OUR_PORT}"
        self.laboratory.bridge(self.side, SEEDS[mode], peer_id, bind)
        self._start(mode, "--seed", SEEDS[mode], "--bind", bind, "--candidates", f"{self.side.public_ip}:{OUR_PORT}", *arguments)
        return self

    def serve(self):
        return self._start_bridged("serve", "any")

    def connect(self, server, *arguments):
        return self._start_bridged("connect", server.id, "--id", server.id, "--addr", BRIDGE_ADDRESS, *arguments)


class OurPeer(Peer):
    """interop_peer and a relay-bridge on the same host: to interop_peer, the bridge's port is the relay path."""

    def _start(self, mode, *arguments):
        self.process = self.laboratory.background(
            f"ours-{mode}", [PEER, mode, "--alpn", ALPN, "--seed", SEEDS[mode], "--bind", self.direct_address(), *arguments],
            self.side.host)
        self.id = self.wait_for(r"^ID (\w+)").group(1)

    def _relay_path(self, mode, peer_id):
        """The options of an endpoint whose relay path is a bridge, started here."""
        self.laboratory.bridge(self.side, SEEDS[mode], peer_id, self.direct_address())
        return "--relay-path", BRIDGE_ADDRESS, "--candidates", self.direct_address(), *self.laboratory.discovery()

    def serve(self):
        self._start("serve", *self._relay_path("serve", "any"))
        self.wait_for(r"^READY")
        return self

    def connect(self, server, *arguments):
        self._start("connect", "--id", server.id, *self._relay_path("connect", server.id), *arguments)
        return self

    def connect_directly(self, server, *arguments):
        self._start("connect", "--id", server.id, "--addr", server.direct_address(), *arguments)
        return self

    def direct_address(self):
        return f"{self.side.host_ip}:{OUR_PORT}"

    def _events(self):
        """(path id, event, remote address) of each PATH line."""
        return re.findall(r"^PATH (\d+) (\S+) (\S+)$", self.process.stdout, re.MULTILINE)

    def paths(self):
        """A direct path that is open is the one that carries the data."""
        history, remotes = [], {}
        for number, event, remote in self._events():
            if event == "open":
                remotes[number] = remote
            elif event in ("abandoned", "closed", "discarded"):
                remotes.pop(number, None)
            if remotes:
                history.append("relay" if set(remotes.values()) == {BRIDGE_ADDRESS} else "direct")
        return history

    def direct_remotes(self):
        return {remote for _, event, remote in self._events() if event == "open" and remote != BRIDGE_ADDRESS}
