"""Limits that the hub gives one tenant, at an edge that has none: the tenant keeps them, and no other is slowed."""
import json
import re
import threading

from lab.process import wait_until
from lab.world import HOST, terminate

OTHER = "other.example.test"


def edit(world, node, *changes):
    answer = world.culvert("invite", "edit", "home", "--data-dir", node.data_dir, *changes)
    assert answer.returncode == 0, answer.stderr


def seconds(world, host, path):
    done = world.curl(path, "--output", "/dev/null", "--write-out", "%{time_total} %{http_code} %{size_download}", host=host, check=True)
    took, status, size = done.stdout.split()
    assert status == "200", done.stdout
    return float(took), int(size)


def test_a_tenants_bandwidth_is_its_own(world):
    nginx = world.nginx()
    (nginx.www / "big").write_bytes(b"b" * 3_000_000)
    (nginx.www / "long").write_bytes(b"l" * 60_000_000)
    node = world.node()
    world.agent(world.invite(node, HOST), terminate())
    world.agent(world.invite(node, OTHER, name="other"), terminate(host=OTHER))

    edit(world, node, "--max-bandwidth", "1M")
    shown = world.culvert("invite", "show", "home", "--data-dir", node.data_dir)
    assert re.search(r"(?i)max bandwidth:? +1000000", shown.stdout), shown.stdout
    took = {}
    slow = threading.Thread(target=lambda: took.update(slow=seconds(world, HOST, "/big")[0]))
    slow.start()
    beside, _ = seconds(world, OTHER, "/big")
    slow.join()
    assert took["slow"] > 2.3, f"3 MB at 1 MB/s took {took['slow']:.2f} s"
    assert beside < took["slow"], f"the other tenant took {beside:.2f} s"

    # One that would take a minute is there soon after the limit has gone.
    before = sum_of_bytes(world)
    long = threading.Thread(target=lambda: took.update(long=seconds(world, HOST, "/long")))
    long.start()
    wait_until(lambda: sum_of_bytes(world) > before + 1_500_000, "the long transfer has begun")
    edit(world, node, "--max-bandwidth", "default")
    long.join()
    assert took["long"][0] < 40 and took["long"][1] == 60_000_000, took["long"]


def sum_of_bytes(world):
    """That the origin's host has sent so far."""
    shown = world.home.run("ip", "-s", "-j", "link", "show", "eth0").stdout
    return json.loads(shown)[0]["stats64"]["tx"]["bytes"]


def test_a_tenants_new_connections_are_its_own(world):
    world.nginx()
    node = world.node()
    world.agent(world.invite(node, HOST), terminate())
    world.agent(world.invite(node, OTHER, name="other"), terminate(host=OTHER))
    edit(world, node, "--max-new-connections", "1")
    wait_until(lambda: "503" in [world.status() for _ in range(4)], "the tenant is over its rate")
    node.wait_for(r'event=tenant_rate host="app.example.test" per_second=1')
    assert [world.status(host=OTHER) for _ in range(6)] == ["200"] * 6
    edit(world, node, "--max-new-connections", "default")
    wait_until(lambda: [world.status() for _ in range(6)] == ["200"] * 6, "there is no limit any more")
