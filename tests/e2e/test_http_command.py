"""`culvert http`: the URL, the requests, the token that is kept."""
import os
import signal
import stat
import subprocess

import pytest
from lab.process import wait_until
from lab.world import BINARY


@pytest.mark.smoke
def test_culvert_http_prints_the_url_once_it_answers_then_the_requests(world):
    world.nginx()
    node = world.node()
    token = world.invite(node, "*.w.example.test")
    first = world.http(token, "--hostname", "shop.w.example.test")
    url = first.wait_for(r"https://\S+", stream="stdout").group(0)
    assert "shop.w.example.test" in url
    # The URL was printed: from now on there is no "not yet".
    assert world.status(host="shop.w.example.test") == "200"
    for path in ("/small", "/missing"):
        world.status(path, host="shop.w.example.test")
    first.wait_for(r"GET +/small +200\b", stream="stdout")
    first.wait_for(r"GET +/missing +404\b", stream="stdout")
    first.signal(signal.SIGINT)
    assert first.wait() == 0
    wait_until(lambda: world.curl(host="shop.w.example.test").returncode == 35, "the name is gone", 5)

    # The token was saved, for its owner only.
    saved = [path for path in (world.directory / "config").rglob("*") if path.is_file() and token in path.read_text()]
    assert saved and all(stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 for path in saved)
    second = world.http(None, "--hostname", "shop.w.example.test")
    second.wait_for(r"https://shop\.w\.example\.test", stream="stdout")
    assert world.status(host="shop.w.example.test") == "200"
    second.signal(signal.SIGINT)
    assert second.wait() == 0


def test_culvert_http_chooses_a_granted_name(world):
    world.nginx()
    node = world.node()
    command = world.http(world.invite(node, "only.example.test"))
    url = command.wait_for(r"https://\S+", stream="stdout").group(0)
    assert "only.example.test" in url
    command.signal(signal.SIGINT)
    assert command.wait() == 0


def test_culvert_http_waits_for_a_hub_that_is_not_there_yet(world):
    world.nginx()
    node = world.node()
    token = world.invite(node, "only.example.test")
    node.stop()
    for extra in ((), ("--hostname", "only.example.test")):
        command = world.http(token, *extra)
        command.wait_for(r"the hub does not answer .*Waiting for it; Ctrl-C ends")
        command.wait_for(r"still waiting for the hub, for \d+ s now", timeout=30)
        node = world.node()
        command.wait_for(r"the hub answers again, after \d+ s")
        command.wait_for(r"https://only\.example\.test", stream="stdout", timeout=30)
        command.signal(signal.SIGINT)
        assert command.wait() == 0
        node.stop()
    waits = world.http(token)
    waits.wait_for(r"Waiting for it; Ctrl-C ends")
    waits.signal(signal.SIGINT)
    assert waits.wait(timeout=2) == 0, "a stop is a success, also before there is a hostname"


def test_a_second_culvert_http_for_one_name_says_that_it_shares_it(world):
    world.nginx()
    node = world.node()
    token = world.invite(node, "only.example.test")
    first = world.http(token)
    first.wait_for(r"https://only\.example\.test", stream="stdout")
    first.wait_for(r"the token is kept")
    second = world.http(None)  # with the token that the first one kept
    second.wait_for(r"1 other agent of this invite serves only\.example\.test too")
    second.wait_for(r"https://only\.example\.test", stream="stdout")
    for command in (second, first):
        command.signal(signal.SIGINT)
        assert command.wait() == 0


def test_culvert_http_says_which_saved_token_it_replaces(world):
    world.nginx()
    node = world.node()
    tokens = [world.invite(node, f"{name}.example.test", name) for name in ("one", "two")]
    for token in tokens:
        command = world.http(token)
        command.wait_for(r"https://\S+", stream="stdout")
        command.wait_for(r"token is kept in")
        command.signal(signal.SIGINT)
        assert command.wait() == 0
    kept = world.directory / "config" / "culvert"
    assert f"is in {kept}/token.old now" in command.log and "it replaces" in command.log
    assert (kept / "token").read_text().strip() == tokens[1]
    assert (kept / "token.old").read_text().strip() == tokens[0]
    assert not any(token.split(".")[4] in command.log for token in tokens)


def test_culvert_http_without_any_token_says_where_to_get_one(world):
    with world.home.entered():
        done = subprocess.run([BINARY, "http", "3000"], text=True, capture_output=True, timeout=30,
                              env={"PATH": os.environ["PATH"], "HOME": str(world.directory),
                                   "XDG_CONFIG_HOME": str(world.directory / "none")})
    assert done.returncode != 0
    assert "token" in done.stderr and "invite" in done.stderr
