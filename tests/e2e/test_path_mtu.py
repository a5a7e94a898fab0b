"""A path that stops to carry large packets in the middle of a transfer, and says nothing.

    client ──── node 203.0.113.1 ──── router ──── 192.168.7.2 agent, origin
"""
import subprocess
import threading
import time

import pytest
from lab.process import PATIENCE, wait_until
from lab.world import CLEAN_ENV, HOST, passthrough

MIB = 1 << 20
RATE = 4 * MIB  # of the transfer, per second
LONGEST_GAP = 3.0 * PATIENCE


def show_single_packets(world):
    """A batch that a socket sends at once is a packet for each datagram on these links, so that sizes are what they seem."""
    for namespace, device in ((world.public, "nats"), (world.nat, "wan"), (world.nat, "lan"), (world.home, "eth0")):
        namespace.ip(f"link set {device} gso_max_segs 1")


def swallow(world, size):
    """UDP packets that are longer than `size` vanish at the router, both ways."""
    world.nat.run("nft", "-f", "-", input=f"""
table ip hole {{
  chain forward {{
    type filter hook forward priority -10
    meta l4proto udp meta length > {size} counter drop
  }}
}}
""")


def swallowed(world):
    return "packets 0 " not in world.nat.run("nft", "list", "table", "ip", "hole").stdout


class Progress:
    """The longest time in which a growing number stood still, sampled until it reaches `size`."""

    def __init__(self, number, size):
        self.number, self.size = number, size
        self.longest, self.error = 0.0, None
        self.value = 0
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self):
        last, since = -1, time.monotonic()
        deadline = since + 60 * PATIENCE
        while time.monotonic() < deadline and self.value < self.size:
            self.value = self.number()
            if self.value != last:
                last, since = self.value, time.monotonic()
            self.longest = max(self.longest, time.monotonic() - since)
            time.sleep(0.02)

    def at_least(self, size):
        wait_until(lambda: self.value >= size, f"{size} bytes of the transfer", 30)

    def end(self):
        self.thread.join()
        return self.longest


class Transfer:
    """curl, throttled, in the client's namespace; counts what the receiving end has."""

    def __init__(self, world, direction, size):
        self.received = world.directory / "received"
        if direction == "download":
            (world.www / "big").write_bytes(bytes(size))
            what = ["--output", self.received, f"https://{HOST}/big"]
        else:
            source = world.directory / "source"
            source.write_bytes(bytes(size))
            what = ["--upload-file", source, "--output", "/dev/null", f"https://{HOST}/put/big"]
        with world.client.entered():
            self.curl = subprocess.Popen(
                ["curl", "--silent", "--show-error", "--insecure", "--noproxy", "*", "--limit-rate", str(RATE),
                 "--max-time", "60", "--resolve", f"{HOST}:443:203.0.113.1", *what], env=CLEAN_ENV)
        self.direction, self.world = direction, world
        world.cleanups.append(self.curl.kill)
        self.progress = Progress(self._count, size)

    def _count(self):
        if self.direction == "download":
            return self.received.stat().st_size if self.received.exists() else 0
        # nginx writes a request's body to a temporary file, then moves it.
        files = [path for path in self.world.directory.glob("nginx-tmp/**/*") if path.is_file()]
        done = self.world.www / "put" / "big"
        files += [done] if done.exists() else []
        return sum(path.stat().st_size for path in files if path.exists())

    def end(self):
        """The longest gap, in seconds."""
        assert self.curl.wait(90 * PATIENCE) == 0
        return self.progress.end()


@pytest.fixture
def transfers(world):
    show_single_packets(world)
    nginx = world.nginx()
    world.www = nginx.www
    world.agent(world.invite(world.node()), passthrough())
    world.curl("/", check=True)
    return lambda direction, size: Transfer(world, direction, size)


@pytest.mark.parametrize("direction", ["download", "upload"])
def test_a_transfer_survives_a_hole_for_large_packets(world, transfers, direction):
    size = 24 * MIB
    transfer = transfers(direction, size)
    transfer.progress.at_least(6 * MIB)
    swallow(world, 1400)
    longest = transfer.end()
    assert swallowed(world), "the path MTU was never above 1400: this tests nothing"
    assert longest < LONGEST_GAP
    print(f"longest gap: {longest:.2f} s")


@pytest.mark.parametrize("direction", ["download", "upload"])
def test_a_transfer_survives_a_smaller_mtu_of_the_local_link(world, transfers, direction):
    size = 24 * MIB
    transfer = transfers(direction, size)
    transfer.progress.at_least(6 * MIB)
    # Both ends of the link, as a VPN does; the node's packets meet the router's ICMP, which nobody listens to.
    world.home.ip("link set eth0 mtu 1400")
    world.nat.ip("link set lan mtu 1400")
    longest = transfer.end()
    assert longest < LONGEST_GAP
    print(f"longest gap: {longest:.2f} s")
