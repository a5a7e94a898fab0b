"""Two agents of the same names, one of which stops answering while new connections go on."""
import re
import signal
import threading
import time

import pytest
from lab import wire
from lab.process import PATIENCE, wait_until
from lab.world import HOST, passthrough, terminate

PASSED = "passed.w.example.test"
PROMISE = 3.0  # seconds until every new connection succeeds
CLIENTS = 3  # of each mode at a time


class Clients:
    """New connections without end, each with one request; when each began and how it went."""

    def __init__(self, world):
        self.world, self.requests, self.stopping = world, [], False
        self.threads = [threading.Thread(target=self.visit, args=(host,)) for host in (HOST, PASSED) for _ in range(CLIENTS)]

    def visit(self, host):
        context = wire.insecure_context()
        while not self.stopping:
            began = time.monotonic()
            try:
                with wire.connect(self.world.client, timeout=15) as sock, context.wrap_socket(sock, server_hostname=host) as tls:
                    tls.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                    answer = wire.receive_all(tls)
                failure = None if answer.endswith(b"hello from the origin\n") else repr(answer[:60])
            except (OSError, EOFError) as error:
                failure = repr(error)
            self.requests.append((began, time.monotonic(), host, failure))
            time.sleep(0.01)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        for thread in self.threads:
            thread.join()


def drop_packets(world, node, number):
    """Both ways, of the agent that connected as the `number`th."""
    port = re.findall(r"event=agent_connected .*addr=\S+:(\d+)", node.log)[number]
    world.public.run("nft", "-f", "-", input=f"""
table inet failing {{
  chain in {{ type filter hook input priority 0; udp sport {port} drop; }}
  chain out {{ type filter hook output priority 0; udp dport {port} drop; }}
}}
""")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("which", ["older", "younger"])
@pytest.mark.parametrize("failure", ["killed", "stopped", "unreachable"])
def test_new_connections_go_to_the_agent_that_answers(world, failure, which, workers):
    world.nginx()
    node = world.node("--workers", workers)
    token = world.invite(node)
    services = [terminate(), passthrough(3443, host=PASSED, proxy_protocol="none")]
    agents = [world.agent(token, *services) for _ in range(2)]
    number = 0 if which == "older" else 1
    time.sleep(3)  # the older one is heard after the younger came: from then on both have their turns
    with Clients(world) as clients:
        wait_until(lambda: len(clients.requests) > 50, "clients are served")
        if failure == "unreachable":
            drop_packets(world, node, number)
        else:
            agents[number].signal(signal.SIGKILL if failure == "killed" else signal.SIGSTOP)
        failed_at = time.monotonic()
        time.sleep(PROMISE * PATIENCE + 3)
        node.wait_for(r"event=agent_disconnected .*did not answer data and probes")

    requests = clients.requests
    assert not [visit for visit in requests if visit[1] < failed_at and visit[3]]
    lost = [visit for visit in requests if visit[3]]
    # Those that it had answered already may be lost with it: an open one of each client at most.
    assert len(lost) <= len(clients.threads), lost
    assert not [visit for visit in lost if visit[0] > failed_at], lost
    late = [visit for visit in requests if visit[0] > failed_at + PROMISE * PATIENCE]
    assert len(late) > 50 and not [visit for visit in late if visit[3]]
    slowest = max(end - began for began, end, *_ in requests if began > failed_at)
    print(f"{len(requests)} connections, {len(lost)} lost, slowest after the failure {slowest:.2f} s", lost)
    assert slowest <= PROMISE * PATIENCE


def test_a_stopped_agent_that_goes_on_serves_again(world):
    world.nginx()
    node = world.node()
    token = world.invite(node)
    older, younger = (world.agent(token, terminate()) for _ in range(2))
    time.sleep(3)
    younger.signal(signal.SIGSTOP)
    for _ in range(20):
        assert world.status() == "200"
        time.sleep(0.15)
    node.wait_for(r"event=agent_disconnected .*did not answer data and probes")
    younger.signal(signal.SIGCONT)
    younger.wait_for(r"event=ready", count=2)
    older.kill()
    for _ in range(5):
        assert world.status() == "200"
