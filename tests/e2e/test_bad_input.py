"""Wrong input: each time a clear message that names the thing, a non-zero status, and nothing lost."""
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess

import pytest
from lab import wire
from lab.process import BUG, PATIENCE
from lab.world import BINARY, CLEAN_ENV, HOST, NODE_IP, NODE_TCP, terminate

SERVICES = json.dumps([terminate()])
# As setpriv drops them, even root and the root of a user namespace are bound by file modes and privileged ports.
UNPRIVILEGED = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--"]

# Nonsense for every setting, by command. test_every_setting_has_its_nonsense keeps this complete.
# None: any text is a value (a name, a path); its bad cases have tests of their own below.
NODE = {
    "config": None,
    "data-dir": None,
    "listen": ["nonsense", "1.2.3.4", "1.2.3.4:70000", "1.2.3.4:-1", "localhost:443", ":443", "[::1:443", "1.2.3:80", "0.0.0.0:"],
    "udp-listen": ["nonsense", "1.2.3.4", "1.2.3.4:70000", "[::1]", "1.2.3.4:x"],
    "public-url": ["http://example.test", "example.test", "https://", "https://example.test/path", "https://example.test?q=1",
                   "https://0.0.0.0", "https://example.test:70000", "ftp://x", "https://user@example.test"],
    "edge-addr": ["nonsense", ":443", "example.test:0", "example.test:70000", "2001:db8::1:443"],
    "workers": ["0", "-1", "many", "1.5", "100000", "1 ", "0x2"],
    "tls": ["nonsense", "acme", "Internal ", "none"],
    "hello-timeout": ["3", "s", "-1s", "3 s", "3parsecs", "99999999999999999999s", "0s"],
    "drain-timeout": ["3", "s", "-1s", "3parsecs"],
    "max-connections": ["0", "-1", "many"],
    "max-connections-per-tenant": ["0", "-1", "many"],
    "metrics-listen": ["nonsense", "1.2.3.4", "localhost:9100"],
    "max-handshakes": ["0", "-1", "many"],
    "max-handshakes-per-source": ["0", "-1", "many"],
    "idle-timeout": ["3", "s", "-1s", "0s"],
    "half-open-timeout": ["3", "s", "-1s", "0s"],
    "log-level": ["loud", "INFO2", "5"],
}
AGENT = {
    "config": None,
    "token": None,
    "token-file": None,
    "services-file": None,
    "origin-timeout": ["3", "s", "-1s", "3parsecs"],
    "services": ["nonsense", "{}", "[{]", "[1]", "[{}]", '[{"hostname":"a.example.test"}]',
                 '[{"hostname":"a.example.test","origin":"nope"}]', '[{"hostname":"a.example.test","origin":"x:0"}]',
                 '[{"hostname":"a.example.test","origin":"x:70000"}]', '[{"hostname":"a b.example.test","origin":"x:80"}]',
                 '[{"hostname":"a.*.example.test","origin":"x:80"}]', '[{"hostname":"","origin":"x:80"}]',
                 '[{"hostname":"a.example.test","origin":"x:80","tls_mode":"maybe"}]',
                 '[{"hostname":"a.example.test","origin":"x:80","proxy_protocol":"v1"}]',
                 '[{"hostname":"a.example.test","origin":"x:80","surplus":1}]',
                 '[{"hostname":"a.example.test","origin":"x:80"},{"hostname":"A.example.test","origin":"x:81"}]',
                 "[", "[]extra", "null", "[[]]"],
    "service": ["nonsense", "=x:80", "a.example.test=", "a.example.test=x", "a.example.test=x:80,maybe"],
    "max-streams": ["0", "-1", "many"],
    "idle-timeout": ["3", "s", "-1s", "0s"],
    "half-open-timeout": ["3", "s", "-1s", "0s"],
    "log-level": ["loud"],
}
HTTP = {
    "config": None,
    "token": None,
    "token-file": None,
    "hostname": ["x!.example.test", "x", "a..b", "x y.example.test", "*.*.test"],
    "log-level": ["loud"],
}
HUB_ACCESS = {
    "config": None,
    "data-dir": None,
    "hub-url": ["http://example.test", "example.test", "https://", "https://x/path", "https://a.test,nonsense", ","],
    "hub-key": ["nonsense", "ab" * 31, "zz" * 32, "00" * 33],
    "operator-key": ["nonsense", "A" * 42, "A" * 44, "!" * 43],
}
INVITE_CREATE = {
    **HUB_ACCESS,
    "name": None,
    "hostnames": ["", "x", ",", "a.example.test,", "a.example.test,a.example.test", "a b.example.test", "*.*.test", "*.test.",
                  "a!.example.test", "x" * 64 + ".example.test", ".".join(["x" * 60] * 5)],
    "expires": ["soon", "48", "-1h", "1y", "h", "99999d", "1ms"],
}
CA_EXPORT = {"config": None, "data-dir": None, "out": None}
TOKEN_INSPECT = {"config": None, "token": None, "token-file": None}
# Of every command that takes settings: its own, and the words behind which they can come.
COMMANDS = {
    ("node",): (NODE, []),
    ("agent",): (AGENT, []),
    ("http",): (HTTP, ["3000"]),
    ("invite", "create"): (INVITE_CREATE, []),
    ("invite", "list"): (HUB_ACCESS, []),
    ("invite", "revoke"): (HUB_ACCESS, ["A" * 22]),
    ("ca", "export"): (CA_EXPORT, []),
    ("token", "inspect"): (TOKEN_INSPECT, []),
}
LISTS = {"public-url", "edge-addr", "hostnames", "hub-url", "service"}  # may be given more than once
every_command = pytest.mark.parametrize("command", COMMANDS, ids="-".join)


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


BAD_USAGE = 2


@every_command
def test_every_setting_has_its_nonsense(command):
    missing = set(flags_of(*command)) - set(COMMANDS[command][0])
    assert not missing, f"add bad values for {missing}"


@every_command
def test_settings_without_a_value_or_with_two(world, command):
    table, words = COMMANDS[command]
    for flag in table:
        # One line, which names the flag; the last word, so that nothing can be taken for its value.
        for bad in ([f"--{flag}"], [f"--{flag}="], *([] if flag in LISTS else [[f"--{flag}=x", f"--{flag}=x"]])):
            told = refused(world, *command, *words, *bad, says=[f"--{flag}: "], status=BAD_USAGE)
            assert len(told.splitlines()) == 1, told


@every_command
def test_words_and_flags_that_a_command_does_not_take(world, command):
    _, words = COMMANDS[command]
    help_text = f"`culvert {' '.join(command)} --help`"
    secret = "cvt_inv_1.aHR0cHM6Ly9odWI.secret"
    refused(world, *command, *words, "surplus", says=['"surplus"', help_text], status=BAD_USAGE)
    refused(world, *command, *words, "--nonsense=secret", says=["--nonsense", help_text], secrets=["secret"], status=BAD_USAGE)
    refused(world, *command, *words, "--nonsense", "secret", says=["--nonsense"], secrets=["secret"], status=BAD_USAGE)
    refused(world, *command, *words, secret, says=["token", "--token"], secrets=[secret], status=BAD_USAGE)
    if words:
        refused(world, *command, says=["is missing", help_text], status=BAD_USAGE)
    if len(command) > 1:
        refused(world, command[0], says=["a command is missing", f"`culvert {command[0]} --help`"], status=BAD_USAGE)
        refused(world, command[0], "nonsense", says=['"nonsense"'], status=BAD_USAGE)


@every_command
def test_configuration_files_that_no_command_takes(world, command):
    _, words = COMMANDS[command]
    unknown = world.directory / "unknown.conf"
    unknown.write_text("\nnonsense = 'secret'\n")
    for path, says in ((world.directory / "none.conf", "none.conf"), (world.directory, str(world.directory)),
                       (unknown, f"{unknown}:2:1: nonsense: ")):
        refused(world, *command, *words, "--config", path, says=[says], secrets=["secret"], status=BAD_USAGE)
        refused(world, *command, *words, env={"CULVERT_CONFIG": str(path)}, says=[says], secrets=["secret"], status=BAD_USAGE)


def cases(table):
    return [(flag, value) for flag, values in table.items() for value in values or ()]


@pytest.mark.smoke
def test_nonsense_for_every_setting_of_the_node(world):
    known = flags_of("node")
    for flag, value in cases(NODE):
        if flag not in known:
            continue
        arguments, word = replace(node_arguments(world), flag, value)
        refused(world, *arguments, word, says=[f"--{flag}"])
        refused(world, *arguments, env={known[flag]: value}, says=[known[flag]])
    assert snapshot(world.directory / "data") == {}, "a refused start left files behind"


def valid_token(world):
    if not hasattr(world, "token"):
        world.running = world.node()
        world.token = world.invite(world.running)
    return world.token


@pytest.mark.smoke
def test_nonsense_for_every_setting_of_the_agent(world):
    token, known = valid_token(world), flags_of("agent")
    for flag, value in cases(AGENT):
        if flag not in known:
            continue
        others = [] if flag in ("services", "service") else ["--services", SERVICES]
        arguments = ["agent", "--token", token, *others]
        refused(world, *arguments, f"--{flag}={value}", says=[f"--{flag}"], secrets=[token], namespace=world.home)
        refused(world, *arguments, env={known[flag]: value}, says=[known[flag]], secrets=[token], namespace=world.home)


def test_nonsense_for_every_setting_of_http(world):
    token, known = valid_token(world), flags_of("http")
    config = world.directory / "config"
    environment = {"XDG_CONFIG_HOME": str(config)}

    def refuse_all(*given):
        for flag, value in cases(HTTP):
            if flag in known:
                refused(world, "http", "3000", *given, f"--{flag}={value}", env=environment, says=[f"--{flag}"],
                        secrets=[token], namespace=world.home, status=BAD_USAGE)
                refused(world, "http", "3000", *given, env={**environment, known[flag]: value}, says=[known[flag]],
                        secrets=[token], namespace=world.home, status=BAD_USAGE)
        for target in ("0", "70000", "-1", "x:", ":3000", "https://localhost:3000", "http://localhost:3000/path", "", "3000x",
                       token):
            refused(world, "http", *given, "--", target, env=environment, says=["TARGET: "], secrets=[token],
                    namespace=world.home, status=BAD_USAGE)

    refuse_all("--token", token)
    for variable, value in (("CULVERT_TOKEN", token[:-1]), ("CULVERT_TOKEN_FILE", str(config / "none"))):
        refused(world, "http", "3000", env={**environment, variable: value}, says=[f"{variable}: "], secrets=[token[:40]],
                namespace=world.home, status=BAD_USAGE)
        flag = "--" + variable.removeprefix("CULVERT_").lower().replace("_", "-")
        refused(world, "http", "3000", flag, value, env=environment, says=[f"{flag}: "], secrets=[token[:40]],
                namespace=world.home, status=BAD_USAGE)
    assert snapshot(config) == {}, "a token was saved by a start that was refused"
    (config / "culvert").mkdir(parents=True)
    (config / "culvert" / "token").write_text(token)
    (config / "culvert" / "token").chmod(0o600)
    before = snapshot(config)
    refuse_all()
    assert snapshot(config) == before, "a refused start touched the saved token"
    (config / "culvert" / "token").write_text(token[:40])
    refused(world, "http", "3000", env=environment, says=["saved token", str(config)], secrets=[token[:40]],
            namespace=world.home, status=BAD_USAGE)


def test_nonsense_for_every_setting_of_invite(world):
    node = world.node()
    world.invite(node)
    before = world.culvert("invite", "list", "--data-dir", node.data_dir).stdout
    assert " live " in before
    taken = ["--data-dir", node.data_dir]
    for command, its_own in ((("invite", "create"), ["--name", "n", "--hostnames", "x.example.test"]),
                             (("invite", "list"), []),
                             (("invite", "revoke"), [world.invite_id(node)])):
        known = flags_of(*command)
        for flag, value in cases(COMMANDS[command][0]):
            arguments, word = replace([*command, *taken, *its_own], flag, value)
            refused(world, *arguments, word, says=[f"--{flag}"], status=BAD_USAGE)
            if value:  # an empty variable counts as unset
                refused(world, *arguments, env={known[flag]: value}, says=[known[flag]], status=BAD_USAGE)
        # Well formed, and not this hub's.
        refused(world, *command, *taken, *its_own, "--operator-key", "A" * 43, says=["--operator-key"], secrets=["A" * 43], status=1)
        refused(world, *command, *taken, *its_own, env={"CULVERT_OPERATOR_KEY": "A" * 43}, says=["CULVERT_OPERATOR_KEY"], status=1)
        refused(world, *command, *taken, *its_own, "--hub-key", "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c",
                says=["another hub or server answers there", "8a88e3dd74"], status=1)
        refused(world, *command, *taken, *its_own, "--hub-url", f"https://{NODE_IP}:9", says=[f"{NODE_IP}:9", "--hub-url"], status=1)
        elsewhere = {"CULVERT_DATA_DIR": str(world.directory / "nowhere")}
        refused(world, *command, *its_own, env=elsewhere, says=["nowhere", "--hub-url"], status=BAD_USAGE)
        refused(world, *command, *its_own, "--hub-url", f"https://{NODE_IP}", env=elsewhere, says=["CULVERT_HUB_KEY"], status=BAD_USAGE)
        refused(world, *command, *its_own, "--data-dir", node.data_dir / "node.key", says=["node.key", "--data-dir"], status=BAD_USAGE)
    for identifier in ("", "nonsense", "AAAA", "../..", "A" * 1000):
        refused(world, "invite", "revoke", *taken, "--", identifier, says=["ID"], status=BAD_USAGE)
    refused(world, "invite", "revoke", *taken, "A" * 22, says=["no such invite"], status=1)
    for name in ("a\nb", "x" * 65):
        refused(world, "invite", "create", *taken, "--name", name, "--hostnames", "x.example.test", says=["name"], status=1)
    refused(world, "invite", "create", *taken, says=["--hostnames"], status=BAD_USAGE)
    assert world.culvert("invite", "list", *taken).stdout == before


def test_a_reader_that_leaves_early_is_no_news_unless_something_is_lost(world):
    node = world.node()
    world.invite(node)

    def into_closed_pipe(*arguments):
        reading, writing = os.pipe()
        os.close(reading)
        with world.public.entered(), os.fdopen(writing) as output:
            return subprocess.run([BINARY, *arguments, "--data-dir", node.data_dir], env=CLEAN_ENV, text=True, stdout=output,
                                  stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=20 * PATIENCE)
    for command in (["invite", "list"], ["invite", "list", "--json"], ["ca", "export"]):
        done = into_closed_pipe(*command)
        assert (done.returncode, done.stderr) == (1, ""), (command, done)
    done = into_closed_pipe("invite", "create", "--hostnames", "lost.example.test", "--name", "lost")
    assert done.returncode == 1 and world.invite_id(node, "lost") in done.stderr, done


def test_nonsense_for_ca_export(world):
    node = world.node()
    known = flags_of("ca", "export")
    before = snapshot(node.data_dir)
    for data_dir in (world.directory / "nowhere", node.data_dir / "node.key"):
        for how in ({"env": {known["data-dir"]: str(data_dir)}}, {}):
            given = [] if how else ["--data-dir", data_dir]
            refused(world, "ca", "export", *given, "--out", world.directory / "x", says=[str(data_dir)], **how, status=1)
    assert not (world.directory / "nowhere").exists() and not (world.directory / "x").exists()
    for out in (world.directory / "no" / "such" / "place.pem", world.directory):
        refused(world, "ca", "export", "--data-dir", node.data_dir, "--out", out, says=[str(out), "--out"], status=1)
        refused(world, "ca", "export", "--data-dir", node.data_dir, env={known["out"]: str(out)}, says=[str(out)], status=1)
    assert snapshot(node.data_dir) == before


def test_nonsense_for_token_inspect(world):
    token = valid_token(world)
    pieces = [part for part in token.split(".") if len(part) > 30]
    path = world.directory / "token"
    for _, damaged in damaged_tokens(token):
        hidden = [piece for piece in pieces if piece in damaged]
        told = refused(world, "token", "inspect", f"--token={damaged}", says=["--token: ", "token"], secrets=hidden, status=BAD_USAGE)
        assert len(told) < 2000
    path.write_text(token[:-1])
    path.chmod(0o600)
    for file, says in ((path, str(path)), (world.directory / "none", "none"), (world.directory, str(world.directory))):
        refused(world, "token", "inspect", "--token-file", file, says=["--token-file", says], secrets=pieces, status=BAD_USAGE)
        refused(world, "token", "inspect", env={"CULVERT_TOKEN_FILE": str(file)}, says=["CULVERT_TOKEN_FILE", says], secrets=pieces,
                status=BAD_USAGE)
    for content in ("", "\n", "x" * 100_000):
        path.write_text(content)
        refused(world, "token", "inspect", "--token-file", path, says=["--token-file", str(path)], status=BAD_USAGE)
    for content, says in ((b"\xef\xbb\xbf" + token.encode(), "byte order mark"), (token.encode("utf-16"), "UTF-16"),
                          (f'"{token}"'.encode(), "quotes"), (f"'{token}'\n".encode(), "quotes")):
        path.write_bytes(content)
        refused(world, "token", "inspect", "--token-file", path, says=["--token-file", says], secrets=pieces, status=BAD_USAGE)
    path.write_text(token)
    path.chmod(0)
    refused(world, "token", "inspect", "--token-file", path, says=[str(path)], prefix=UNPRIVILEGED, status=BAD_USAGE)
    path.chmod(0o600)
    refused(world, "token", "inspect", "--token-file", path, env={"CULVERT_TOKEN": token}, says=["CULVERT_TOKEN", "--token-file"],
            secrets=pieces, status=BAD_USAGE)
    refused(world, "token", "inspect", says=["--token", "CULVERT_TOKEN", "invite create"], status=BAD_USAGE)
    assert path.read_text() == token
    assert world.culvert("token", "inspect", "--token-file", path).returncode == 0


def test_words_and_flags_that_do_not_exist(world):
    refused(world, "nonsense", says=["nonsense"])
    refused(world, "node", "--nonsense", "x", says=["--nonsense"])
    refused(world, "agent", "surplus", says=["surplus"])
    refused(world, "invite", "nonsense")
    refused(world, "invite", "list", "--data-dir", world.directory / "nowhere", says=["nowhere"])
    refused(world, "ca", "export", "--data-dir", world.directory / "nowhere", "--out", world.directory / "x", says=["nowhere"])
    assert not (world.directory / "nowhere").exists()


# --- tokens

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


@pytest.mark.smoke
def test_damaged_tokens_are_refused_without_repeating_them(world):
    token = valid_token(world)
    pieces = [part for part in token.split(".") if len(part) > 30]
    for what, damaged in damaged_tokens(token):
        hidden = [piece for piece in pieces if piece in damaged]
        told = refused(world, "agent", "--services", SERVICES, env={"CULVERT_TOKEN": damaged}, says=["token", "CULVERT_TOKEN"],
                       secrets=hidden, namespace=world.home)
        assert len(told) < 2000, what
    # Blanks around it are what copying does.
    agent = world.agent(f"  {token}\n", terminate(), ready=False)
    agent.wait_for(r"event=(edge_connected|lease_granted|ready)")


def test_a_missing_token_says_where_to_get_one(world):
    told = refused(world, "agent", "--services", SERVICES, namespace=world.home)
    assert "token" in told and ("CULVERT_TOKEN" in told or "--token" in told)


def test_missing_services_are_named(world):
    token = valid_token(world)
    refused(world, "agent", "--token", token, says=["service"], secrets=[token], namespace=world.home)
    refused(world, "agent", "--token", token, "--services", "[]", says=["service"], secrets=[token], namespace=world.home)


def test_a_token_of_another_hub_is_not_trusted(world):
    """The hub's key is in the token: whoever answers at its address with another key is refused."""
    world.nginx()
    node = world.node()
    token = world.invite(node)
    node.stop()
    stranger = world.node(data_dir=world.directory / "stranger")
    agent = world.agent(token, terminate(), ready=False)
    agent.wait_for(r"event=(hub_unreachable|refused) .*another hub or server answers there.*new tokens")
    assert "event=lease_granted" not in agent.log
    assert stranger.alive()
    told = refused(world, "http", "3000", "--token", token, env={"XDG_CONFIG_HOME": str(world.directory / "config")},
                   says=["another hub or server answers there", "new tokens"], namespace=world.home)
    assert "unrecognized" not in told


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
    """A data directory with everything in it, nobody using it."""
    node = world.node()
    world.invite(node)
    node.stop()
    return node.data_dir


def start_refused(world, data_dir, says, prefix=()):
    before = snapshot(data_dir) if not prefix else None
    told = refused(world, *replace(node_arguments(world), "data-dir", "")[0], "--data-dir", data_dir, says=says, prefix=prefix)
    if before is not None:
        after = snapshot(data_dir)
        # The lock holds the pid of whoever tried last; it is nobody's data.
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


def test_requests_that_strangers_send_to_the_hub(world):
    """The hub's API on the public port: no operator key, no signature, no way in, and it stays up."""
    node = world.node()
    token = world.invite(node)
    for method, path, body in (("GET", "/v1/invites", ""), ("POST", "/v1/invites", "{}"), ("DELETE", "/v1/invites/x", ""),
                               ("POST", "/v1/leases", "{}"), ("POST", "/v1/leases", "x" * 100_000), ("GET", "/" + "a" * 20_000, ""),
                               ("BREW", "/", ""), ("GET", "/../../etc/passwd", "")):
        with world.client.entered():
            done = subprocess.run(["curl", "--silent", "--insecure", "--max-time", "20", "--path-as-is", "--request", method,
                                   "--data", body, "--header", "Authorization: Bearer wrong",
                                   "--write-out", "\n%{http_code}", f"https://{NODE_IP}:{NODE_TCP}{path}"],
                                  text=True, capture_output=True)
        status = done.stdout.splitlines()[-1] if done.stdout else "000"
        assert status == "000" or 400 <= int(status) < 500, (method, path[:40], done.stdout[-300:])
        assert token.split(".")[4] not in done.stdout
    for garbage in (b"\0" * 1000, b"GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", b"POST /v1/leases HTTP/9.9\r\n\r\n"):
        with world.client.entered():
            try:
                with wire.connect(world.client) as sock, wire.insecure_context().wrap_socket(sock) as tls:
                    tls.sendall(garbage)
                    tls.recv(1000)
            except OSError:
                pass
    assert node.alive()
    assert world.culvert("invite", "list", "--data-dir", node.data_dir).returncode == 0


def test_a_request_that_comes_too_slowly_is_answered(world):
    """The hub gives a request ten seconds from its first byte, then says so."""
    world.node()
    halves = (b"POST /v1/lea", f"POST /v1/leases HTTP/1.1\r\nHost: {NODE_IP}\r\nContent-Length: 10\r\n\r\nhalf".encode())
    clients = []
    for half in halves:
        clients.append(wire.FramedTls(wire.connect(world.client, timeout=40), None))
        clients[-1].handshake()
        clients[-1].write(half)
    for client in clients:
        answer = b""
        while part := client.read():
            answer += part
        client.sock.close()
        assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n"), answer
        assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["error"]["code"] == "request_timeout", answer
