"""Wrong settings: each time a clear message that names the setting, a non-zero status, and nothing lost."""
import os
import subprocess

import pytest
from lab.process import PATIENCE
from lab.refusals import (BAD_USAGE, NOT_FOUND, REFUSED, SERVICES, UNREACHABLE, flags_of, node_arguments, refused, replace, snapshot,
                          valid_token)
from lab.world import BINARY, CLEAN_ENV, NODE_IP

# Nonsense for every setting, by command. test_every_setting_has_its_nonsense keeps this complete.
# None: any text is a value (a name, a path); its bad cases have tests of their own below.
NODE = {
    "config": None,
    "data-dir": None,
    "ca-dir": None,
    "node-key-file": None,
    "operator-key-file": None,
    "route-file": None,
    "listen": ["nonsense", "1.2.3.4", "1.2.3.4:70000", "1.2.3.4:-1", "localhost:443", ":443", "[::1:443", "1.2.3:80", "0.0.0.0:"],
    "udp-listen": ["nonsense", "1.2.3.4", "1.2.3.4:70000", "[::1]", "1.2.3.4:x"],
    "public-url": ["http://example.test", "example.test", "https://", "https://example.test/path", "https://example.test?q=1",
                   "https://0.0.0.0", "https://example.test:70000", "ftp://x", "https://user@example.test"],
    "edge-addr": ["nonsense", ":443", "example.test:0", "example.test:70000", "2001:db8::1:443"],
    "roles": ["nonsense", "hub,relay", "Hub", "hub edge"],
    "edge-token": None,
    "edge-token-file": None,
    "database": ["nonsense", "mysql://example.test/culvert", "http://example.test", "sqlite:", "sqlite://hub.db", "sqlite:/d/"],
    "audit-entries": ["0", "-1", "many"],
    "allow-privileged-ports": ["maybe", "2", "Yes "],
    "port-range": ["nonsense", "30000-20000", "0-10", "1-70000"],
    "tenant-hostnames": ["-1", "many"],
    "tenant-tcp-ports": ["-1", "many"],
    "tenant-udp-ports": ["-1", "many"],
    "tenant-agents": ["-1", "many"],
    "trusted-proxies": ["nonsense", "10.0.0.1/8", "10.0.0.0/33", "example.test"],
    "workers": ["0", "-1", "many", "1.5", "100000", "1 ", "0x2"],
    "tls": ["nonsense", "acme", "Internal ", "none"],
    "hello-timeout": ["3", "s", "-1s", "3 s", "3parsecs", "99999999999999999999s", "0s"],
    "drain-timeout": ["3", "s", "-1s", "3parsecs"],
    "upgrade-timeout": ["3", "s", "-1s", "3parsecs"],
    "max-connections": ["0", "-1", "many"],
    "max-connections-per-tenant": ["0", "-1", "many"],
    "max-connections-per-source": ["0", "-1", "many"],
    "max-new-connections": ["-1", "many", "10000001"],
    "max-new-connections-per-tenant": ["-1", "many"],
    "max-new-connections-per-source": ["-1", "many"],
    "max-bandwidth": ["-1", "many", "1.5M", "1 M", "10MB"],
    "max-bandwidth-per-tenant": ["-1", "many", "1m"],
    "max-bandwidth-per-source": ["-1", "many", "1T"],
    "max-memory": ["-1", "many", "80%"],
    "metrics-listen": ["nonsense", "1.2.3.4", "localhost:9100"],
    "route": ["nonsense", "a.test=", "=127.0.0.1:1", "a.test=127.0.0.1", "a.test=127.0.0.1:1,nonsense", "udp/53=127.0.0.1:53", "tcp/0=127.0.0.1:1",
              "a.test=127.0.0.1:1,weight=0", "a.test=127.0.0.1:1,insecure"],
    "max-handshakes": ["0", "-1", "many"],
    "max-handshakes-per-source": ["0", "-1", "many"],
    "balance": ["random", "Round-Robin", "1"],
    "access-log": None,
    "udp-idle-timeout": ["3", "s", "-1s", "0s"],
    "max-udp-flows": ["0", "-1", "many"],
    "max-udp-flows-per-tenant": ["0", "-1", "many"],
    "max-udp-flows-per-port": ["0", "-1", "many"],
    "max-new-udp-flows": ["0", "-1", "many"],
    "http-listen": ["nonsense", "1.2.3.4", "localhost:80"],
    "acme-directory": ["nonsense", "http://ca.test/dir", "https://", "ftp://ca.test"],
    "acme-root": None,
    "acme-eab-key-id": None,
    "acme-eab-mac-key": None,
    "acme-profile": None,
    "acme-preferred-root": None,
    "acme-second-root": None,
    "acme-second-eab-key-id": None,
    "acme-second-eab-mac-key": None,
    "acme-second-profile": None,
    "acme-second-preferred-root": None,
    "acme-second-directory": ["nonsense", "http://ca.test/dir"],
    "acme-agree-terms": ["maybe", "2"],
    "acme-contact": ["nonsense", "@a.test", "a@", "a@b@c.test"],
    "acme-challenges": ["nonsense", "http-02", "tls-alpn-01,nonsense"],
    "acme-max-per-domain": ["0", "-1", "many"],
    "acme-max-per-tenant": ["0", "-1", "many"],
    "dns-listen": ["nonsense", "1.2.3.4", "localhost:53"],
    "dns-domains": ["a..b", "x" * 64 + ".test", "a.test,,b.test"],
    "dns-name-server": ["a..b"],
    "dns-hook": None,
    "dns-update-server": ["nonsense", "ns.test", "ns.test:0"],
    "dns-update-key-file": None,
    "idle-timeout": ["3", "s", "-1s", "0s"],
    "half-open-timeout": ["3", "s", "-1s", "0s"],
    "log-level": ["loud", "INFO2", "5"],
    "log-format": ["xml", "JSON", "text,json"],
}
AGENT = {
    "config": None,
    "token": None,
    "token-file": None,
    "services-file": None,
    "origin-timeout": ["3", "s", "-1s", "3parsecs"],
    "priority": ["-1", "many", "1001"],
    "weight": ["0", "-1", "many", "1001"],
    "services": ["nonsense", "{}", "[{]", "[1]", "[{}]", '[{"hostname":"a.example.test"}]',
                 '[{"hostname":"a.example.test","origin":"nope"}]', '[{"hostname":"a.example.test","origin":"x:0"}]',
                 '[{"hostname":"a.example.test","origin":"x:70000"}]', '[{"hostname":"a b.example.test","origin":"x:80"}]',
                 '[{"hostname":"a.*.example.test","origin":"x:80"}]', '[{"hostname":"","origin":"x:80"}]',
                 '[{"hostname":"a.example.test","origin":"x:80","tls_mode":"maybe"}]',
                 '[{"hostname":"a.example.test","origin":"x:80","proxy_protocol":"v1"}]',
                 '[{"hostname":"a.example.test","origin":"unix:"}]', '[{"hostname":"a.example.test","origin":"unix:relative"}]',
                 '[{"hostname":"a.example.test","origin":"x:80","origin_server_name":"a b"}]',
                 '[{"hostname":"a.example.test","origin":"x:80","tls_mode":"terminate","origin_ca_file":"/nonexistent"}]',
                 '[{"hostname":"a.example.test","origin":"x:80","tls_mode":"terminate","origin_tls":"insecure"}]',
                 '[{"hostname":"a.example.test","origin":"x:80","tls_mode":"terminate","health":"icmp"}]',
                 '[{"hostname":"a.example.test","origin":"x:80","tls_mode":"terminate","health":{"check":"http","path":"x"}}]',
                 '[{"hostname":"a.example.test","origin":"x:80","surplus":1}]',
                 '[{"hostname":"a.example.test","origin":"x:80"},{"hostname":"A.example.test","origin":"x:81"}]',
                 "[", "[]extra", "null", "[[]]"],
    "service": ["nonsense", "=x:80", "a.example.test=", "a.example.test=x", "a.example.test=x:80,maybe"],
    "max-udp-flows": ["0", "-1", "many"],
    "udp-idle-timeout": ["3", "s", "-1s", "0s"],
    "udp-service": ["nonsense", "=x:80", "dns=", "dns=x", "dns=x:80,port=0", "dns=x:80,port=65536", "dns=x:80,terminate",
                    "a=x:1,port=40100-40000", "a=x:1,port=0-10", "a=x:1,port=65535-65536", "a=x:1,port=1-513",
                    "a=x:65500,port=40000-40100", "a=x:1,port=40000,origin-ports=one", "a=x:1,port=1-2,origin-ports=all"],
    "tcp-service": ["nonsense", "=x:80", "ssh=", "ssh=x", "ssh=x:80,port=0", "ssh=x:80,port=65536", "ssh=x:80,terminate",
                    "ssh=x:80,port=2222-2223"],
    "exclusive": ["maybe", "TRUE", "2"],
    "max-streams": ["0", "-1", "many"],
    "idle-timeout": ["3", "s", "-1s", "0s"],
    "half-open-timeout": ["3", "s", "-1s", "0s"],
    "metrics-listen": ["nonsense", "1.2.3.4", "localhost:9100"],
    "log-level": ["loud"],
    "log-format": ["xml"],
}
HTTP = {
    "config": None,
    "token": None,
    "token-file": None,
    "hostname": ["x!.example.test", "x", "a..b", "x y.example.test", "*.*.test"],
    "metrics-listen": ["nonsense", "1.2.3.4", "localhost:9100"],
    "log-level": ["loud"],
    "log-format": ["xml"],
}
HUB_ACCESS = {
    "config": None,
    "data-dir": None,
    "hub-url": ["http://example.test", "example.test", "https://", "https://x/path", "https://a.test,nonsense", ","],
    "hub-key": ["nonsense", "ab" * 31, "zz" * 32, "00" * 33],
    "operator-key": ["nonsense", "A" * 42, "A" * 44, "!" * 43],
    "operator-key-file": ["/nonexistent/operator.key", "/"],
}
OUTPUT = {"output": ["xml", "JSON", "table,json"]}
INVITE_CREATE = {
    **HUB_ACCESS,
    **OUTPUT,
    "name": None,
    "hostnames": ["", "x", ",", "a.example.test,", "a.example.test,a.example.test", "a b.example.test", "*.*.test", "*.test.",
                  "a!.example.test", "x" * 64 + ".example.test", ".".join(["x" * 60] * 5)],
    "max-hostnames": ["-1", "many"],
    "max-tcp-ports": ["-1", "many"],
    "max-udp-ports": ["-1", "many"],
    "max-agents": ["-1", "many"],
    "max-connections": ["-1", "many"],
    "max-new-connections": ["-1", "many"],
    "max-bandwidth": ["-1", "fast", "1X"],
    "max-udp-flows": ["-1", "many"],
    "allow-custom-domains": ["maybe", "2"],
    "allow-overlap": ["maybe", "2"],
    "ports": None,  # the hub judges them
    "expires": ["soon", "48", "-1h", "1y", "h", "99999d", "1ms"],
}
TRAFFIC = {**HUB_ACCESS, **OUTPUT, "by": ["nonsense", "hostname"], "sort": ["nonsense", "age"], "limit": ["-1", "many", "501"]}
CA_EXPORT = {"config": None, "data-dir": None, "ca-dir": None, "out": None}
TOKEN_INSPECT = {"config": None, "token": None, "token-file": None, **OUTPUT}
# Of every command that takes settings: its own, and the words behind which they can come.
COMMANDS = {
    ("node",): (NODE, []),
    ("agent",): (AGENT, []),
    ("http",): (HTTP, ["3000"]),
    ("invite", "create"): (INVITE_CREATE, []),
    ("invite", "list"): ({**HUB_ACCESS, **OUTPUT}, []),
    ("invite", "revoke"): ({**HUB_ACCESS, **OUTPUT}, ["A" * 22]),
    ("traffic",): (TRAFFIC, []),
    ("ca", "export"): (CA_EXPORT, []),
    ("token", "inspect"): (TOKEN_INSPECT, []),
}
LISTS = {"public-url", "edge-addr", "hostnames", "hub-url", "service", "trusted-proxies", "ports", "acme-challenges", "dns-domains"}  # may be given more than once
ANSWERS = {"allow-privileged-ports", "exclusive", "allow-custom-domains", "allow-overlap",
           "acme-agree-terms"}  # without a value they mean yes
every_command = pytest.mark.parametrize("command", COMMANDS, ids="-".join)


@every_command
def test_every_setting_has_its_nonsense(command):
    flags = set(flags_of(*command))
    assert flags == set(COMMANDS[command][0]), "each setting has bad values, and no other one"


@every_command
def test_settings_without_a_value_or_with_two(world, command):
    table, words = COMMANDS[command]
    for flag in table:
        # One line, which names the flag; the last word, so that nothing can be taken for its value.
        for bad in (*([] if flag in ANSWERS else [[f"--{flag}"]]), [f"--{flag}="], *([] if flag in LISTS else [[f"--{flag}=x", f"--{flag}=x"]])):
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
        refused(world, command[0], says=["missing command", f"`culvert {command[0]} --help`"], status=BAD_USAGE)
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
        arguments, word = replace(node_arguments(world), flag, value)
        refused(world, *arguments, word, says=[f"--{flag}"])
        refused(world, *arguments, env={known[flag]: value}, says=[known[flag]])
    assert snapshot(world.directory / "data") == {}, "a refused start left files behind"


@pytest.mark.smoke
def test_nonsense_for_every_setting_of_the_agent(world):
    token, known = valid_token(world), flags_of("agent")
    for flag, value in cases(AGENT):
        others = [] if flag in ("services", "service", "tcp-service", "udp-service") else ["--services", SERVICES]
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
        refused(world, *command, *taken, *its_own, "--operator-key", "A" * 43, says=["--operator-key"], secrets=["A" * 43], status=REFUSED)
        refused(world, *command, *taken, *its_own, env={"CULVERT_OPERATOR_KEY": "A" * 43}, says=["CULVERT_OPERATOR_KEY"], status=REFUSED)
        refused(world, *command, *taken, *its_own, "--hub-key", "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c",
                says=["another hub or server answers there", "8a88e3dd74"], status=UNREACHABLE)
        refused(world, *command, *taken, *its_own, "--hub-url", f"https://{NODE_IP}:9", says=[f"{NODE_IP}:9", "--hub-url"], status=UNREACHABLE)
        elsewhere = {"CULVERT_DATA_DIR": str(world.directory / "nowhere")}
        refused(world, *command, *its_own, env=elsewhere, says=["nowhere", "--hub-url"], status=BAD_USAGE)
        refused(world, *command, *its_own, "--hub-url", f"https://{NODE_IP}", env=elsewhere, says=["CULVERT_HUB_KEY"], status=BAD_USAGE)
        refused(world, *command, *its_own, "--data-dir", node.data_dir / "node.key", says=["node.key", "--data-dir"], status=BAD_USAGE)
    for word in ("", "nonsense", "AAAA", "../..", "A" * 1000):
        refused(world, "invite", "revoke", *taken, "--", word, says=["no invite is called"], status=NOT_FOUND)
    refused(world, "invite", "revoke", *taken, "A" * 22, says=["no such invite"], status=NOT_FOUND)
    for name in ("a\nb", "x" * 65):
        refused(world, "invite", "create", *taken, "--name", name, "--hostnames", "x.example.test", says=["name"], status=REFUSED)
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


def test_words_and_flags_that_do_not_exist(world):
    refused(world, "nonsense", says=["nonsense"])
    refused(world, "node", "--nonsense", "x", says=["--nonsense"])
    refused(world, "agent", "surplus", says=["surplus"])
    refused(world, "invite", "nonsense")
    refused(world, "invite", "list", "--data-dir", world.directory / "nowhere", says=["nowhere"])
    refused(world, "ca", "export", "--data-dir", world.directory / "nowhere", "--out", world.directory / "x", says=["nowhere"])
    assert not (world.directory / "nowhere").exists()
