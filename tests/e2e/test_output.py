"""Programs whose output is closed, full or never read: they serve, and they stop in time with the right status."""
import os
import signal
import time

import pytest
from lab.process import wait_until
from lab.world import HOST, terminate

STOP = 8  # seconds; nothing is open, and the output is waited for 1 s at most


class Stuck:
    """A pipe that is full and never read."""

    def __init__(self, path):
        os.mkfifo(path)
        self.descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        try:
            while os.write(self.descriptor, b"x" * 4096):
                pass
        except BlockingIOError:
            pass


def output_to(world, how):
    """Words in front of a program that give it such an output; the log as well."""
    target = {"closed": "&-", "full": "/dev/full", "stuck": str(world.directory / "pipe")}[how]
    if how == "stuck":
        pipe = Stuck(world.directory / "pipe")
        world.cleanups.append(lambda: os.close(pipe.descriptor))
    return ["sh", "-c", f'exec "$@" >{target} 2>{target}', "sh"]


def serves(world, requests=40):
    wait_until(lambda: world.status() == "200", "it serves")
    for _ in range(requests):
        assert world.status() == "200"


def stops(process, status):
    began = time.monotonic()
    process.signal(signal.SIGTERM)
    assert process.wait(timeout=STOP) == status, f"after {time.monotonic() - began:.1f} s"


every_output = pytest.mark.parametrize("how", ["closed", "full", "stuck"])


@every_output
def test_a_node_without_an_output(world, how):
    world.nginx()
    node = world.node("--log-level", "debug", prefix=output_to(world, how), wait=False)
    wait_until(lambda: world.culvert("invite", "list", "--data-dir", node.data_dir).returncode == 0, "the hub answers")
    agent = world.agent(world.invite(node), terminate())
    serves(world)
    agent.stop()
    stops(node, 0)


@every_output
def test_an_agent_without_an_output(world, how):
    world.nginx()
    node = world.node()
    agent = world.agent(world.invite(node), terminate(), ready=False, extra=("--log-level", "debug"), prefix=output_to(world, how))
    serves(world)
    stops(agent, 0)
    node.wait_for(r"event=agent_disconnected .*by=agent code=7")


@every_output
def test_culvert_http_without_an_output(world, how):
    """The requests that it prints are its output: when they cannot be written it has failed. A slow reader is no failure."""
    world.nginx()
    node = world.node()
    http = world.http(world.invite(node), "--hostname", HOST, "--log-level", "debug", prefix=output_to(world, how))
    serves(world)
    stops(http, 0 if how == "stuck" else 1)
    node.wait_for(r"event=agent_disconnected .*by=agent code=7")
