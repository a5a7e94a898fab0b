"""Two hubs on one PostgreSQL behind one name, with edges on hosts of their own."""
import json
import shutil
import statistics
import time

import pytest
from lab import postgres
from lab.names import mount_over
from lab.process import PATIENCE, wait_until
from lab.world import BINARY, HOST, terminate
from test_edges import Edges

HUB_NAME = "hub.example.test"

pytestmark = pytest.mark.skipif(postgres.binaries() is None, reason="PostgreSQL (Debian's package postgresql) is not installed")


class Hubs(Edges):
    def __init__(self, world):
        self.world, self.hosts, self.hubs = world, {}, []
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
                                      "--public-url", f"https://{HUB_NAME}"], namespace, env={"CULVERT_DATABASE": self.database.url})
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
