"""Origins of every kind: unix sockets, TLS with private CAs and client certificates, health; and what is told of each that
does not work."""
import json
import signal
import subprocess

import pytest
from lab.process import wait_until
from lab.world import BINARY, HOST, terminate

STATUS = "127.0.0.1:9100"
NAME = "inside.example.test"


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


class Pki:
    """A private CA with the certificates of origins and of an agent, as PEM files."""

    def __init__(self, directory):
        self.directory = directory
        self.ca, self.ca_key = directory / "ca.pem", directory / "ca.key"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=private CA",
                "-addext", "basicConstraints=critical,CA:TRUE", "-days", 2, "-keyout", self.ca_key, "-out", self.ca)

    def issue(self, label, name, days=1, usage="serverAuth"):
        pem, key, request, extensions = (self.directory / f"{label}.{end}" for end in ("pem", "key", "csr", "ext"))
        extensions.write_text(f"subjectAltName=DNS:{name}\nextendedKeyUsage={usage}\n")
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={label}",
                "-keyout", key, "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.ca_key, "-CAcreateserial", "-days", days,
                "-extfile", extensions, "-out", pem)
        return pem, key


@pytest.fixture
def pki(world):
    return Pki(world.directory)


def nginx(world, servers):
    """nginx in the agent's namespace with these server blocks."""
    return world.serve_http("origins", f"""{servers}
  server {{ listen 127.0.0.1:3999; location / {{ return 200 "up"; }} }}""", probe=3999)


def tls_server(port, pem, key, text="hello over TLS", more=""):
    return f"""server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {pem}; ssl_certificate_key {key}; {more}
    location / {{ return 200 "{text} sni=$ssl_server_name\\n"; }} }}"""


def agent(world, node, *services, ready=True, token=None):
    return world.agent(token or world.invite(node), *services, ready=ready, extra=("--metrics-listen", STATUS))


def agent_status(world):
    answer = world.culvert("agent", "status", "--metrics-listen", STATUS, "-o", "json", namespace=world.home)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def private(port, pki, **members):
    return terminate(port, origin_server_name=NAME, origin_ca_file=str(pki.ca), **members)


@pytest.mark.smoke
def test_a_unix_socket(world):
    place = world.directory / "app.sock"
    nginx(world, f'server {{ listen unix:{place}; location / {{ return 200 "from a socket\\n"; }} }}')
    node = world.node()
    agent(world, node, {"hostname": HOST, "origin": f"unix:{place}", "tls_mode": "terminate"})
    assert world.curl(check=True).stdout == "from a socket\n"
    assert agent_status(world)["services"][0]["origin"] == f"unix:{place}"


def test_a_unix_socket_that_is_missing_is_told_and_served_once_it_is_there(world):
    place = world.directory / "app.sock"
    node = world.node()
    process = agent(world, node, {"hostname": HOST, "origin": f"unix:{place}", "tls_mode": "terminate"}, ready=False)
    said = process.wait_for(r"event=origin_unreachable.*").group(0)
    assert str(place) in said and "there is no such file" in said
    wait_until(lambda: "cannot reach the origin" in world.curl().stdout, "the page says it")
    nginx(world, f'server {{ listen unix:{place}; location / {{ return 200 "from a socket\\n"; }} }}')
    process.wait_for(r"event=ready")
    assert world.curl(check=True).stdout == "from a socket\n"


@pytest.mark.smoke
def test_tls_with_a_private_ca_and_a_client_certificate(world, pki):
    server = pki.issue("server", NAME)
    client = pki.issue("agent", "agent.example.test", usage="clientAuth")
    nginx(world, tls_server(3443, *server, more=f"ssl_client_certificate {pki.ca}; ssl_verify_client on;",
                            text="client=$ssl_client_s_dn"))
    node = world.node()
    agent(world, node, private(3443, pki, origin_cert_file=str(client[0]), origin_key_file=str(client[1])))
    assert world.curl(check=True).stdout == f"client=CN=agent sni={NAME}\n"


def test_a_client_certificate_that_is_missing_is_the_origins_answer(world, pki):
    nginx(world, tls_server(3443, *pki.issue("server", NAME), more=f"ssl_client_certificate {pki.ca}; ssl_verify_client on;"))
    node = world.node()
    agent(world, node, private(3443, pki))
    answer = world.curl("/", "--write-out", "%{http_code}").stdout
    assert "No required SSL certificate was sent" in answer and answer.endswith("400")


@pytest.mark.parametrize("kind, expected, hint", [
    ("wrong_name", "it is for other.example.test", "set origin_server_name to a name of the certificate"),
    ("expired", "certificate has expired", "renew the certificate at the origin"),
    ("unknown_ca", "unable to get local issuer certificate", "as origin_ca_file"),
])
def test_a_certificate_that_is_not_trusted_is_told_with_what_to_do(world, pki, kind, expected, hint):
    certificate = {"wrong_name": lambda: pki.issue("wrong", "other.example.test"),
                   "expired": lambda: pki.issue("expired", NAME, days=-1),
                   "unknown_ca": lambda: pki.issue("server", NAME)}[kind]()
    nginx(world, tls_server(3443, *certificate))
    service = private(3443, pki) if kind != "unknown_ca" else terminate(3443, origin_server_name=NAME)
    node = world.node()
    token = world.invite(node)
    process = agent(world, node, service, ready=False, token=token)
    said = process.wait_for(r"event=origin_not_trusted.*").group(0)
    assert expected in said and hint in said, said
    wait_until(lambda: any("is not trusted" in fault and expected in fault and hint in fault
                           for fault in agent_status(world)["faults"]), "the agent's status names it")
    page = world.curl("/", "--write-out", "%{http_code}").stdout
    assert "does not trust the certificate" in page and page.endswith("502")
    assert page.count(NAME) == 0, "the public learns no inside names"
    # Where the operator says so, it is taken all the same.
    process.stop()
    agent(world, node, terminate(3443, origin_server_name=NAME, origin_tls="insecure"), token=token)
    assert world.curl(check=True).stdout == f"hello over TLS sni={NAME}\n"


def test_a_bad_file_stops_a_start_and_changes_nothing_at_a_reload(world, pki):
    nginx(world, tls_server(3443, *pki.issue("server", NAME)))
    node = world.node()
    token = world.invite(node)
    services = world.directory / "services.json"
    services.write_text(json.dumps([private(3443, pki)]))
    process = world.start("agent", [BINARY, "agent", "--services-file", services, "--metrics-listen", STATUS], world.home,
                          env={"CULVERT_TOKEN": token})
    process.wait_for(r"event=ready")
    good = pki.ca.read_text()
    pki.ca.write_text("not a certificate")
    process.signal(signal.SIGHUP)
    said = process.wait_for(r"event=config_refused.*").group(0)
    assert "origin_ca_file" in said and str(pki.ca) in said and "no PEM certificate" in said
    assert world.curl(check=True).stdout.startswith("hello over TLS")
    assert agent_status(world)["faults"] == []
    refused = world.culvert("agent", "--services-file", services, namespace=world.home, env={"CULVERT_TOKEN": token})
    assert refused.returncode != 0 and "origin_ca_file" in refused.stderr
    pki.ca.write_text(good)
    process.signal(signal.SIGHUP)
    process.wait_for(r"event=config_reloaded")


def test_an_unhealthy_origin_gets_no_clients_while_another_agent_has_a_healthy_one(world):
    nginx(world, """
    server { listen 127.0.0.1:3001; location = /healthz { return 503; } location / { return 200 "one\\n"; } }
    server { listen 127.0.0.1:3002; location / { return 200 "two\\n"; } }""")
    node = world.node("--metrics-listen", "127.0.0.1:9101")
    token = world.invite(node)
    check = {"check": "http", "path": "/healthz", "interval": "200ms", "fall": 2}
    first = world.agent(token, terminate(3001, health=check), extra=("--metrics-listen", STATUS))
    said = first.wait_for(r"event=origin_unhealthy.*").group(0)
    assert "status 503" in said
    service = agent_status(world)["services"][0]
    assert service["health"] == "unhealthy" and "status 503" in service["health_reason"]
    assert world.curl(check=True).stdout == "one\n", "it is all there is"
    node.wait_for(r"event=service_unhealthy.*status 503")
    world.agent(token, terminate(3002))
    wait_until(lambda: world.curl().stdout == "two\n", "the other agent serves")
    assert {world.curl(check=True).stdout for _ in range(10)} == {"two\n"}
    metrics = world.public.run("curl", "-s", "http://127.0.0.1:9101/metrics").stdout
    assert "culvert_edge_unhealthy_services 1" in metrics


def test_a_dead_origin_costs_no_request_while_another_agent_has_one_that_lives(world):
    nginx(world, 'server { listen 127.0.0.1:3002; location / { return 200 "two\\n"; } }')
    node = world.node()
    token = world.invite(node)
    world.agent(token, terminate(3002))
    world.agent(token, terminate(3001), ready=False).wait_for(r"event=edge_connected")
    assert {world.curl(check=True).stdout for _ in range(20)} == {"two\n"}


def test_priorities_and_weights(world):
    nginx(world, """
    server { listen 127.0.0.1:3001; location / { return 200 "one\\n"; } }
    server { listen 127.0.0.1:3002; location / { return 200 "two\\n"; } }
    server { listen 127.0.0.1:3003; location / { return 200 "spare\\n"; } }""")
    node = world.node()
    token = world.invite(node)
    first = world.agent(token, terminate(3001), extra=("--weight", "3"))
    second = world.agent(token, terminate(3002))
    world.agent(token, terminate(3003), extra=("--priority", "1"))
    # One that comes gets all clients of its priority until the others were heard after it.
    wait_until(lambda: world.curl(check=True).stdout == "one\n", "the edge has heard the first agent")
    answers = [world.curl(check=True).stdout for _ in range(40)]
    assert answers.count("spare\n") == 0
    assert 28 <= answers.count("one\n") <= 32, answers
    for each in (first, second):
        each.stop()
    assert {world.curl(check=True).stdout for _ in range(5)} == {"spare\n"}
