"""Configuration files, ports, data directories and databases that cannot be used: each is named, and nothing is lost."""
import os
import re
import shutil
import stat
import subprocess

import pytest
from lab.refusals import SERVICES, UNPRIVILEGED, node_arguments, refused, replace, snapshot, valid_token
from lab.world import BINARY, NODE_IP, NODE_TCP

# --- configuration files

@pytest.mark.smoke
@pytest.mark.parametrize("line,key", [
    ("[edge]\nworkers = 'many'", "workers"), ("[edge]\nworker = 1", "worker"), ("workers 1", None), ("= 1", None),
    ("[nodes]", "nodes"), ("[edge", None), ("[edge]\nworkers = 1\nworkers = 2", "workers"), ("workers = 1", "workers"),
    ("[edge]\nlisten = 'nonsense'", "listen"), ("listen = 0.0.0.0:443", "listen"), ("[hub]\ntls = 'maybe'", "tls"),
    ("[edge]\nhello-timeout = 3", "hello-timeout"), ("\0\1\2", None), ("[edge]\nworkers =", "workers"),
])
def test_a_bad_line_of_a_configuration_file_is_named_with_file_line_and_key(world, line, key):
    path = world.directory / "node.conf"
    path.write_text(f"# a comment\n\n{line}\n")
    number = 2 + len(line.splitlines())
    arguments, _ = replace(node_arguments(world), key, "")  # a flag would win over the file
    told = refused(world, *arguments, "--config", path, says=[f"{path}:{number}"])
    if key:
        assert key in told
    refused(world, *arguments, env={"CULVERT_CONFIG": str(path)}, says=[f"{path}:{number}"])


def test_a_configuration_file_works_and_flags_win_over_it(world):
    path = world.directory / "node.conf"
    path.write_text(f"# all of it\ndata-dir = '{world.directory}/from-file'\n[edge]\nlisten = '{NODE_IP}:{NODE_TCP}'\n"
                    f"udp-listen='{NODE_IP}:443'\nworkers = 2\n\n  [hub]\n  public-url = ['https://{NODE_IP}']\n"
                    "[log]\nlevel = 'warn'\n")
    node = world.start("node", [BINARY, "node", "--config", path, "--log-level", "info"], world.public)
    node.wait_for(r"event=node_started")
    assert (world.directory / "from-file" / "node.key").exists()


def test_configuration_files_that_cannot_be_read(world):
    refused(world, *node_arguments(world), "--config", world.directory / "none.conf", says=["none.conf"])
    refused(world, *node_arguments(world), "--config", world.directory, says=[str(world.directory)])
    path = world.directory / "secret.conf"
    path.write_text("edge.workers = 1\n")
    path.chmod(0)
    refused(world, *node_arguments(world), "--config", path, says=["secret.conf"], prefix=UNPRIVILEGED)
    big = world.directory / "big.conf"
    big.write_text("# x\n" * 1_000_000)
    refused(world, *node_arguments(world), "--config", big, says=["big.conf"])


def test_a_secret_in_a_bad_configuration_file_is_not_repeated(world):
    token = valid_token(world)
    path = world.directory / "agent.conf"
    for line in (f"token = {token}", f"token {token}", token, f"tokn = {token}", f"[agent]\ntoken = '{token}x'", f"{token} = 1",
                 f"[{token}]", f"[agent]\ntokn = '{token}'", f"[agent]\ntoken = '{token}'\nmax-streams = '{token}'",
                 f"[agent]\ntoken = ['{token}']", f"[agent]\ntoken = '{token}"):
        path.write_text(f"{line}\n")
        refused(world, "agent", "--services", SERVICES, "--config", path, says=[str(path)],
                secrets=[part for part in token.split(".") if len(part) > 30], namespace=world.home)


# --- the machine's refusals

@pytest.mark.smoke
@pytest.mark.parametrize("flag,kind", [("listen", "tcp"), ("udp-listen", "udp")])
def test_a_port_in_use_is_named_and_nothing_is_left_half_started(world, flag, kind):
    first = world.node()
    arguments, _ = replace(node_arguments(world), flag, "")
    told = refused(world, *arguments, f"--{flag}={NODE_IP}:443", says=[f"{NODE_IP}:443"])
    assert "use" in told
    assert first.alive()


def test_the_data_directory_of_a_running_node_is_not_taken(world):
    """A second node on the same data directory must not disturb the first, whichever way it ends."""
    first = world.node()
    world.invite(first)
    before = {name: digest for name, digest in snapshot(first.data_dir).items() if name.endswith((".key", ".pem"))}
    info = (first.data_dir / "node.info").read_bytes()
    refused(world, "node", "--data-dir", first.data_dir, "--listen", f"{NODE_IP}:9443", "--udp-listen", f"{NODE_IP}:9443",
            "--public-url", f"https://{NODE_IP}:9443", says=["another node (pid", str(first.data_dir)])
    assert (first.data_dir / "node.info").read_bytes() == info
    after = snapshot(first.data_dir)
    assert {name: after[name] for name in before} == before
    assert world.culvert("invite", "list", "--data-dir", first.data_dir).returncode == 0


def test_an_address_of_another_machine(world):
    arguments, _ = replace(node_arguments(world), "listen", "")
    refused(world, *arguments, "--listen=198.51.100.99:443", says=["198.51.100.99:443"])


@pytest.mark.smoke
def test_a_privileged_port_without_the_privilege(world):
    arguments, _ = replace(node_arguments(world), "listen", "")
    told = refused(world, *arguments, f"--listen={NODE_IP}:443", says=[f"{NODE_IP}:443"], prefix=UNPRIVILEGED)
    assert re.search(r"privilege|cap_net_bind_service|permission|root", told, re.IGNORECASE), told


def test_a_data_directory_that_cannot_be_made_or_used(world):
    blocked = world.directory / "file"
    blocked.write_text("precious")
    refused(world, *replace(node_arguments(world), "data-dir", "")[0], "--data-dir", blocked, says=[str(blocked)])
    refused(world, *replace(node_arguments(world), "data-dir", "")[0], "--data-dir", blocked / "below", says=[str(blocked)])
    assert blocked.read_text() == "precious"
    locked = world.directory / "locked"
    locked.mkdir(mode=0o500)
    refused(world, *replace(node_arguments(world), "data-dir", "")[0], "--data-dir", locked / "data", says=[str(locked)],
            prefix=UNPRIVILEGED)


@pytest.fixture
def stopped_node(world):
    """A data directory with everything in it, and no process that uses it."""
    node = world.node()
    world.invite(node)
    node.stop()
    return node.data_dir


def start_refused(world, data_dir, says, prefix=()):
    before = snapshot(data_dir) if not prefix else None
    told = refused(world, *replace(node_arguments(world), "data-dir", "")[0], "--data-dir", data_dir, says=says, prefix=prefix)
    if before is not None:
        after = snapshot(data_dir)
        # The lock holds the pid of the process that tried last, which is no data.
        lost = {name for name in before if name != "lock" and after.get(name) != before[name]}
        assert not lost, f"a refused start changed {lost}"
    return told


@pytest.mark.smoke
@pytest.mark.parametrize("name", ["node.key", "operator.key", "ca.key", "ca.pem"])
def test_unreadable_and_broken_key_files(world, stopped_node, name):
    path = stopped_node / name
    good = path.read_bytes()
    for broken in (b"", b"short", good[:-1], good + b"x", os.urandom(len(good)), b"\0" * 5000):
        if name == "node.key" and len(broken) == len(good):
            continue  # any 32 bytes are a key
        if name == "operator.key" and broken.strip()[:43] == good[:43] and len(broken.strip()) == 43:
            continue
        if name.startswith("ca.") and broken in (good + b"x", good[:-1]):
            continue  # PEM may be followed by anything
        path.write_bytes(broken)
        start_refused(world, stopped_node, [name])
    path.write_bytes(good)
    path.chmod(0)
    start_refused(world, stopped_node, [name], prefix=UNPRIVILEGED)
    path.chmod(0o600)
    path.unlink()
    path.mkdir()
    start_refused(world, stopped_node, [name])
    path.rmdir()
    path.write_bytes(good)
    path.chmod(0o600)
    world.node()  # nothing was lost


@pytest.mark.smoke
def test_a_corrupt_database(world, stopped_node):
    path = stopped_node / "hub.db"
    good = path.read_bytes()
    for broken in (b"garbage" * 1000, os.urandom(8192), good[:100] + os.urandom(len(good) - 100), good[:len(good) // 3]):
        for side in stopped_node.glob("hub.db-*"):
            side.unlink()
        path.write_bytes(broken)
        told = start_refused(world, stopped_node, ["hub.db"])
        assert re.search(r"corrupt|damaged|not a database|malformed|no database", told, re.IGNORECASE), told
    path.write_bytes(good)
    node = world.node()
    assert "home" in world.culvert("invite", "list", "--data-dir", node.data_dir).stdout


def test_an_unreadable_or_strange_database(world, stopped_node):
    path = stopped_node / "hub.db"
    kept = stopped_node / "kept"
    shutil.copy(path, kept)
    path.chmod(0)
    start_refused(world, stopped_node, ["hub.db"], prefix=UNPRIVILEGED)
    path.chmod(0o600)
    path.unlink()
    path.mkdir()
    start_refused(world, stopped_node, ["hub.db"])
    path.rmdir()
    shutil.copy(kept, path)
    newer = subprocess.run(["/usr/bin/python3", "-c",
                            "import sqlite3,sys; d=sqlite3.connect(sys.argv[1]); d.execute('pragma user_version=9999'); d.commit()",
                            str(path)], check=False)
    assert newer.returncode == 0
    told = start_refused(world, stopped_node, ["hub.db"])
    assert "newer" in told or "version" in told, told


def test_a_place_where_the_root_certificate_cannot_be_written(world):
    node = world.node()
    refused(world, "ca", "export", "--data-dir", node.data_dir, "--out", world.directory / "no" / "such" / "place.pem",
            says=["place.pem"])
    # What is no regular file must stay what it is; a pipe stands for devices, which a test must not risk.
    pipe = world.directory / "pipe"
    os.mkfifo(pipe)
    refused(world, "ca", "export", "--data-dir", node.data_dir, "--out", pipe, says=["pipe"])
    assert stat.S_ISFIFO(pipe.lstat().st_mode)


def test_an_invite_without_a_running_node(world, stopped_node):
    told = refused(world, "invite", "create", "--data-dir", stopped_node, "--hostnames", "x.example.test", "--name", "n")
    assert "running" in told or "refused" in told or "connect" in told, told
