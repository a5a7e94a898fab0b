"""Two hubs on one PostgreSQL behind one name, with edges on hosts of their own."""
import json
import shutil
import statistics
import threading
import time

import pytest
from lab import postgres, wire
from lab.names import mount_over
from lab.process import PATIENCE, wait_until
from lab.world import BINARY, HOST, terminate
from test_edges import Edges

HUB_NAME = "hub.example.test"

pytestmark = pytest.mark.skipif(postgres.binaries() is None, reason="PostgreSQL (Debian's package postgresql) is not installed")


class Hubs(Edges):
    def __init__(self, world, *options):
        self.world, self.hosts, self.options, self.hubs = world, {}, options, []
        self.database = postgres.Postgres(world.directory)
        world.cleanups.append(self.database.stop)
        self.database.start()
        for name in ("hub1", "hub2"):
            self.start_hub(name)
        self.hub = self.hubs[0]
        addresses = [self.host(name)[1] for name in ("hub1", "hub2")]
        mount_over(world, "/etc/hosts", "127.0.0.1 localhost\n" + "".join(f"{address} {HUB_NAME}\n" for address in addresses))

    def start_hub(self, name):
        namespace, address = self.host(name)
        data = self.world.directory / name
        if self.hubs and not data.exists():
            # All hubs of a database are one hub to others: they have its keys.
            data.mkdir(mode=0o700)
            for file in ("node.key", "operator.key", "ca.key", "ca.pem"):
                shutil.copy2(self.hubs[0].data_dir / file, data / file)
        hub = self.world.start(name, [BINARY, "hub", "--data-dir", data, "--listen", f"{address}:443",
                                      "--public-url", f"https://{HUB_NAME}", *self.options], namespace, env={"CULVERT_DATABASE": self.database.url})
        hub.data_dir, hub.address = data, address
        hub.wait_for(r"event=node_started")
        self.hubs.append(hub)
        return hub

    def operator(self, *words, hub=None):
        hub = hub or self.hub
        namespace = self.hosts[hub.name.split("#")[0]][0]
        answer = self.world.culvert(*words, "--data-dir", hub.data_dir, namespace=namespace)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout


@pytest.fixture
def hubs(world):
    world.nginx()
    return Hubs(world)


def test_a_killed_hub_leaves_agents_edges_and_changes_to_the_other(world, hubs):
    edges = [hubs.start(name, hubs.token(name)) for name in ("paris", "lyon")]
    world.agent(hubs.operator("invite", "create", "--name", "home", "--hostnames", HOST).strip(), terminate())
    for edge in edges:
        wait_until(lambda edge=edge: hubs.status(edge) == "200", f"{edge.name} serves")
    # Each hub knows what the other was told.
    for hub in hubs.hubs:
        names = {edge["name"] for edge in json.loads(hubs.operator("edge", "list", "-o", "json", hub=hub))["edges"]}
        assert names == {"paris", "lyon"}
    hubs.hubs[0].kill()
    hubs.hub = hubs.hubs[1]
    for edge in edges:
        assert hubs.status(edge) == "200"
    wait_until(lambda: set(hubs.states().values()) == {"connected"}, "both edges follow the other hub", timeout=40)
    times = []
    for number in range(20):
        word, wanted = ("suspend", "503") if number % 2 == 0 else ("resume", "200")
        began = time.monotonic()
        hubs.operator("tenant", word, "home")
        wait_until(lambda wanted=wanted: [hubs.status(edge) for edge in edges] == [wanted, wanted], f"both edges answer {wanted}")
        times.append(time.monotonic() - began)
    assert sorted(times)[-1] < 2 * PATIENCE, f"a change took {times}, median {statistics.median(times):.2f} s"
    time.sleep(100 * min(PATIENCE, 1))  # longer than any lease that the dead hub kept
    assert [hubs.status(edge) for edge in edges] == ["200", "200"]


def test_a_database_that_is_away_fails_changes_and_nothing_else(world, hubs):
    edge = hubs.start("paris", hubs.token("paris"))
    world.agent(hubs.operator("invite", "create", "--name", "home", "--hostnames", HOST).strip(), terminate())
    wait_until(lambda: hubs.status(edge) == "200", "the edge serves")
    hubs.database.stop()
    answer = world.culvert("invite", "create", "--hostnames", "other.example.test", "--data-dir", hubs.hub.data_dir,
                           namespace=hubs.hosts["hub1"][0])
    assert answer.returncode == 4, answer.stderr
    assert "postgres" not in answer.stdout and "database" in answer.stderr, answer.stderr
    assert hubs.status(edge) == "200"
    time.sleep(5)
    assert hubs.status(edge) == "200"
    hubs.database.start()
    wait_until(lambda: world.culvert("invite", "create", "--hostnames", "other.example.test", "--data-dir", hubs.hub.data_dir,
                                     namespace=hubs.hosts["hub1"][0]).returncode == 0, "changes are stored again", timeout=30)
    assert hubs.status(edge) == "200"


class Writers:
    """Clients that make invites at both hubs, and what each was told: `stored`, `refused` and `unknown` are names."""

    OUTAGE = 30.0  # seconds
    SLOWEST = 20.0  # of an answer: the hub's own limit is 10 s

    def __init__(self, world, hubs):
        self.world, self.hubs = world, hubs
        self.key = (hubs.hub.data_dir / "operator.key").read_text().strip()
        self.stored, self.refused, self.unknown, self.wrong, self.slowest = set(), set(), set(), [], 0.0
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self.write, args=(hub, f"{hub.name}-{letter}")) for hub in hubs.hubs for letter in "ab"]

    def call(self, hub, method, path, body=""):
        """The status and the JSON of an answer."""
        with wire.connect(self.world.client, (hub.address, 443), timeout=60) as sock, \
                wire.insecure_context().wrap_socket(sock, server_hostname=HUB_NAME) as tls:
            tls.sendall(f"{method} {path} HTTP/1.1\r\nHost: {HUB_NAME}\r\nAuthorization: Bearer {self.key}\r\n"
                        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())
            head, _, answer = wire.receive_all(tls).partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(answer)

    def create(self, hub, name):
        began = time.monotonic()
        status, answer = self.call(hub, "POST", "/v1/invites", json.dumps({"name": name, "hostnames": [f"{name}.example.test"]}))
        self.slowest = max(self.slowest, time.monotonic() - began)
        error = answer.get("error", {})
        if status == 200:
            self.stored.add(name)
        elif status == 503 and "database" in error["message"]:
            # `busy`: it may be stored later, and is revoked then.
            (self.unknown if error["code"] == "busy" else self.refused).add(name)
        else:
            self.wrong.append((name, status, answer))
        return status

    def write(self, hub, prefix):
        number = 0
        while not self.ending.is_set():
            number += 1
            try:
                self.create(hub, f"{prefix}-{number}")
            except (OSError, EOFError, ValueError) as error:
                self.wrong.append((prefix, number, repr(error)))
            time.sleep(0.1)

    def health(self):
        return {self.call(hub, "GET", "/v1/health")[1]["status"] for hub in self.hubs.hubs}

    def invites(self, hub):
        """Name to status."""
        return {invite["name"]: invite["status"] for invite in json.loads(self.hubs.operator("invite", "list", "-o", "json", hub=hub))["invites"]}


def test_a_database_that_is_away_for_30_s_under_load_loses_nothing_and_hides_nothing(world, hubs):
    edges = [hubs.start(name, hubs.token(name)) for name in ("paris", "lyon")]
    world.agent(hubs.operator("invite", "create", "--name", "home", "--hostnames", HOST).strip(), terminate())
    for edge in edges:
        wait_until(lambda edge=edge: hubs.status(edge) == "200", f"{edge.name} serves")
    writers = Writers(world, hubs)
    for thread in writers.threads:
        thread.start()
    try:
        for away, back in ((hubs.database.stop, hubs.database.start), (hubs.database.freeze, hubs.database.thaw)):
            before = len(writers.stored)
            wait_until(lambda before=before: len(writers.stored) > before + 8, "changes are stored", timeout=60)
            assert writers.health() == {"ok"}
            away()
            began = time.monotonic()
            try:
                wait_until(lambda: writers.health() == {"degraded"}, "both hubs say that they cannot store changes", timeout=28)
                while time.monotonic() - began < writers.OUTAGE:
                    assert [hubs.status(edge) for edge in edges] == ["200", "200"]
                    time.sleep(0.5)
            finally:
                back()
            before = set(writers.stored)
            wait_until(lambda before=before: {name.split("-")[0] for name in writers.stored - before} == {"hub1", "hub2"},
                       "both hubs store changes again", timeout=20)
            wait_until(lambda: writers.health() == {"ok"}, "both hubs say that they can", timeout=20)
    finally:
        writers.ending.set()
        for thread in writers.threads:
            thread.join()
    assert not writers.wrong, writers.wrong[:3]
    # Four clients, each of whose requests waits for 10 s at most.
    assert len(writers.refused | writers.unknown) >= 8, "the outages were under load"
    assert writers.slowest < writers.SLOWEST * PATIENCE
    print(f"stored {len(writers.stored)}, refused {len(writers.refused)}, without an answer in time {len(writers.unknown)}, "
          f"slowest answer {writers.slowest:.1f} s")
    for hub in hubs.hubs:
        wait_until(lambda hub=hub: all(writers.invites(hub).get(name) in (None, "revoked") for name in writers.unknown),
                   "what was not answered in time is not in force")
        # A hub that has not heard the database again yet sees the other's changes when it does.
        wait_until(lambda hub=hub: all(writers.invites(hub).get(name) not in (None, "revoked") for name in writers.stored),
                   "what was stored is there at each hub")
        there = writers.invites(hub)
        assert [name for name in writers.refused if name in there] == [], "told as refused"
    assert [hubs.status(edge) for edge in edges] == ["200", "200"]
