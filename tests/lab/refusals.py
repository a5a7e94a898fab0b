"""Runs of the program that must be refused, and what such tests share."""
import hashlib
import json
import re
import subprocess

from .process import BUG, PATIENCE
from .world import BINARY, CLEAN_ENV, NODE_IP, terminate

SERVICES = json.dumps([terminate()])
# As setpriv drops them, even root and the root of a user namespace are bound by file modes and privileged ports.
UNPRIVILEGED = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--"]
BAD_USAGE, REFUSED, UNREACHABLE, NOT_FOUND = 2, 3, 4, 5  # exit statuses


def flags_of(*command):
    """{flag: variable} as --help lists them."""
    said = subprocess.run([BINARY, *command, "--help"], text=True, capture_output=True, timeout=30, env=CLEAN_ENV)
    assert said.returncode == 0, said.stderr
    found = re.findall(r"--([a-z][a-z-]*)(?:(?!\n\s+-)[\s\S])*?\[(CULVERT_[A-Z_]+)\]", said.stdout)
    return dict(found)


def snapshot(directory):
    """What is in a directory, by content."""
    return {path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(directory.rglob("*")) if path.is_file()} if directory.exists() else {}


def refused(world, *arguments, env=None, says=(), secrets=(), prefix=(), namespace=None, status=None):
    """Runs a command that must fail by itself, soon and with a message."""
    with (namespace or world.public).entered():
        done = subprocess.run([*prefix, BINARY, *map(str, arguments)], env={**CLEAN_ENV, **(env or {})}, text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=20 * PATIENCE)
    told = f"{arguments} {env or ''}: status {done.returncode}\n{done.stderr}"
    assert done.returncode > 0, told  # negative: a signal
    assert done.returncode == status or status is None, told
    assert done.stderr.strip(), told
    assert not BUG.search(done.stderr) and "what():" not in done.stderr, told
    assert len(done.stderr.splitlines()) <= 12, told
    for text in says:
        assert text in done.stderr, f"{text!r} is not in: {told}"
    for secret in secrets:
        assert secret not in done.stderr + done.stdout, f"a secret is repeated: {told}"
    return done.stderr


# Every command with what it needs to get as far as the setting under test.
def node_arguments(world):
    return ["node", "--data-dir", world.directory / "data", "--listen", f"{NODE_IP}:0", "--udp-listen", f"{NODE_IP}:0",
            "--public-url", f"https://{NODE_IP}"]


def replace(arguments, flag, value):
    """The arguments without `flag`, then the flag with its bad value, as one word so that '-1' stays a value."""
    out, skip = [], False
    for argument in arguments:
        if skip:
            skip = False
        elif argument == f"--{flag}":
            skip = True
        else:
            out.append(argument)
    return out, f"--{flag}={value}"


def valid_token(world):
    if not hasattr(world, "token"):
        world.running = world.node()
        world.token = world.invite(world.running)
    return world.token


def damaged_tokens(token):
    """(what was done, token): each part cut, changed, emptied, lengthened; the whole in other shapes."""
    parts = token.split(".")
    flip = lambda text: ("A" if text[0] != "A" else "B") + text[1:]  # noqa: E731
    names = ["prefix", "urls", "hub key", "invite id", "secret", "tenant key", "checksum"]
    assert len(parts) == len(names)
    for number, name in enumerate(names):
        for how, change in (("changed", flip(parts[number])), ("cut", parts[number][:-1]), ("empty", ""),
                            ("longer", parts[number] + "AAAA"), ("odd", parts[number][:-1] + "!")):
            yield f"{name} {how}", ".".join([*parts[:number], change, *parts[number + 1:]])
        yield f"{name} missing", ".".join([*parts[:number], *parts[number + 1:]])
    yield "another version", token.replace("cvt_inv_1", "cvt_inv_9", 1)
    yield "half", token[:len(token) // 2]
    yield "twice", token + token
    yield "a blank inside", token[:30] + " " + token[30:]
    yield "capitals", token.upper()
    yield "nothing like it", "hello"
    yield "long", "cvt_inv_1." + "A" * 100_000
