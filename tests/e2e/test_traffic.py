"""What an operator sees of the connections that are open now: by route, tenant and agent, while they move bytes."""
import json
import threading

from lab.process import wait_until
from lab.world import HOST, terminate

STATIC = "static.example.test"
SIZE = 40_000_000  # the sockets on the way hold a part of it


class Transfer:
    """A download that takes some seconds, and ends well."""

    def __init__(self, world, host):
        self.answer = None
        self.thread = threading.Thread(target=self.run, args=(world, host))
        self.thread.start()

    def run(self, world, host):
        self.answer = world.curl("/big", "--limit-rate", "8M", "--output", "/dev/null", "--write-out", "%{size_download}", host=host)

    def finish(self):
        self.thread.join()
        assert self.answer.returncode == 0 and self.answer.stdout == str(SIZE), self.answer.stderr


def traffic(world, node, by):
    answer = world.culvert("traffic", "--by", by, "-o", "json", "--data-dir", node.data_dir)
    assert answer.returncode == 0, answer.stderr
    return {each["name"]: each for each in json.loads(answer.stdout)["traffic"]}


def test_open_connections_are_counted_while_they_move(world):
    nginx = world.nginx()
    (nginx.www / "big").write_bytes(b"b" * SIZE)
    beside = world.start("beside", ["python3", "-u", "-m", "http.server", "5000", "--bind", "127.0.0.1", "--directory", nginx.www], world.public)
    beside.wait_for("Serving", stream="stdout")
    node = world.node("--workers", 2, "--route", f"{STATIC}=127.0.0.1:5000,terminate,proxy=none")
    world.agent(world.invite(node, HOST), terminate())
    transfers = [Transfer(world, HOST), Transfer(world, HOST), Transfer(world, STATIC)]
    first = {}

    def all_are_open():
        first.update(traffic(world, node, "route"))
        return first.get(HOST, {}).get("connections") == 2 and first.get(STATIC, {}).get("connections") == 1

    wait_until(all_are_open, "three connections are open")
    wait_until(lambda: all(traffic(world, node, "route")[name]["bytes_out"] > first[name]["bytes_out"] for name in (HOST, STATIC)),
               "their bytes grow while they are open")
    tenants = traffic(world, node, "tenant").values()
    assert sorted(each["connections"] for each in tenants) == [1, 2]
    assert 2 in [each["connections"] for each in traffic(world, node, "agent").values()]

    status = world.culvert("status", "--data-dir", node.data_dir)
    assert status.returncode == 0, status.stderr
    assert HOST in status.stdout and STATIC in status.stdout, status.stdout
    table = world.culvert("traffic", "--data-dir", node.data_dir)
    assert table.stdout.splitlines()[0].split()[0] == "ROUTE" and HOST in table.stdout, table.stdout

    for transfer in transfers:
        transfer.finish()
    wait_until(lambda: traffic(world, node, "route")[HOST]["connections"] == 0, "none is open")
    ended = traffic(world, node, "route")
    assert ended[HOST]["bytes_out"] >= 2 * SIZE and ended[HOST]["begun"] >= 2
    assert ended[STATIC]["bytes_out"] >= SIZE and ended[STATIC]["begun"] == 1
