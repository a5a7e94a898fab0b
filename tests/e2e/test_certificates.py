"""Certificates of a public CA: pebble stands in for one, and so does `culvert ca serve`."""
import socket
import ssl
import subprocess

import pytest
from lab import culvert_ca, pebble, unbound
from lab.names import mount_over, use_name_server
from lab.process import wait_until
from lab.world import HOST, NODE_IP, passthrough, terminate

OTHER = "other.w.example.test"


@pytest.fixture(params=[
    pytest.param(pebble.Pebble, id="pebble", marks=pytest.mark.skipif(
        pebble.PROGRAM is None, reason="pebble (Debian's package pebble) is not installed")),
    pytest.param(culvert_ca.CulvertCa, id="culvert")])
def kind_of_ca(request):
    return request.param


@pytest.fixture
def ca(world, kind_of_ca):
    world.records = {name: {"A": [NODE_IP]} for name in (HOST, OTHER, pebble.NAME, "blocked.example.test")}
    use_name_server(world, world.public, world.records)
    return kind_of_ca(world, world.public, NODE_IP)


def acme_node(world, ca, *extra, **kwargs):
    return world.node("--acme-directory", ca.directory_url, "--acme-root", ca.roots(), "--acme-agree-terms", "yes",
                      "--acme-contact", "admin@example.test", *extra, **kwargs)


def trusted(world, ca, host=HOST):
    """The status that a client sees that trusts the CA, and nothing else."""
    root = world.directory / "ca-root.pem"
    root.write_text(ca.root())
    return world.curl(host=host, cacert=root, timeout=5.0)


def test_a_terminated_service_gets_a_certificate_before_its_first_visitor(world, ca):
    world.nginx()
    ca.start()
    node = acme_node(world, ca)
    agent = world.agent(world.invite(node), terminate(), terminate(host=OTHER))
    node.wait_for(rf'event=acme_certificate_issued name="{HOST}"')
    node.wait_for(rf'event=acme_certificate_issued name="{OTHER}"')
    # The agent looked at its names as a client that trusts the CA.
    assert HOST in agent.wait_for(r"event=serving.*").group(0)
    for host in (HOST, OTHER):
        answer = trusted(world, ca, host)
        assert answer.returncode == 0 and "hello from the origin" in answer.stdout, answer.stderr
    database = node.data_dir / "hub.db"
    assert database.stat().st_mode & 0o777 == 0o600
    assert b"BEGIN CERTIFICATE" in database.read_bytes() and b"PRIVATE KEY" not in database.read_bytes()
    # A restart without the CA serves what is stored, at once.
    ca.process.kill()
    root = world.directory / "ca-root.pem"
    node.kill()
    acme_node(world, ca, wait=True)
    wait_until(lambda: world.curl(cacert=root, timeout=5.0).returncode == 0, "the stored certificate is served")


def test_http_proves_a_name_where_tls_cannot_and_sends_clients_to_https(world, ca):
    world.nginx()
    ca.start()
    node = acme_node(world, ca, "--http-listen", f"{NODE_IP}:80")
    world.agent(world.invite(node), terminate())
    assert trusted(world, ca).returncode == 0
    with world.client.entered():
        answer = subprocess.run(["curl", "--silent", "--show-error", "--noproxy", "*", "--resolve", f"{HOST}:80:{NODE_IP}", "--include",
                                 f"http://{HOST}/path?x=1"], capture_output=True, text=True)
        stranger = subprocess.run(["curl", "--silent", "--noproxy", "*", "--resolve", f"x.example.com:80:{NODE_IP}", "--include",
                                   "http://x.example.com/"], capture_output=True, text=True)
    assert answer.stdout.startswith("HTTP/1.1 308") and f"Location: https://{HOST}/path?x=1\n" in answer.stdout, answer.stdout
    assert stranger.stdout.startswith("HTTP/1.1 404"), stranger.stdout


@pytest.mark.skipif(unbound.PROGRAM is None, reason="unbound (Debian's package unbound) is not installed")
def test_a_wildcard_is_proven_by_the_nodes_own_name_server(world, kind_of_ca):
    world.nginx()
    base = "w.example.test"
    mount_over(world, "/etc/resolv.conf", "nameserver 127.0.0.1\n")
    unbound.resolver(world, world.public, {pebble.NAME: NODE_IP, "ns.example.test": NODE_IP, OTHER: NODE_IP},
                     {f"_acme-challenge.{base}": NODE_IP})
    ca = kind_of_ca(world, world.public, NODE_IP).start()
    node = acme_node(world, ca, "--dns-listen", f"{NODE_IP}:53", "--dns-domains", base, "--dns-name-server", "ns.example.test")
    world.agent(world.invite(node), terminate(host=f"*.{base}"), ready=False)
    node.wait_for(rf'event=acme_certificate_issued name="\*.{base}"', timeout=40)
    assert trusted(world, ca, OTHER).returncode == 0
    # What was proven is not there any more.
    with world.client.entered():
        left = subprocess.run(["dig", "+short", f"@{NODE_IP}", f"_acme-challenge.{base}", "TXT"], capture_output=True, text=True)
    assert left.stdout.strip() == "", left.stdout


def test_a_ca_that_does_not_answer_is_told_and_delays_nothing_else(world, ca):
    world.nginx()
    node = acme_node(world, ca)
    agent = world.agent(world.invite(node), terminate(), passthrough(host=OTHER), ready=False)
    node.wait_for(rf'event=acme_order_failed name="{HOST}"')
    shown = world.culvert("status", "--data-dir", node.data_dir)
    assert f"the certificate of {HOST} is not issued" in shown.stdout and "is tried again at" in shown.stdout, shown.stdout
    assert world.status(host=OTHER) == "200"
    assert agent.alive()


def test_a_refusal_of_the_ca_says_what_to_do(world, ca):
    world.nginx()
    ca.start()
    node = acme_node(world, ca)
    world.agent(world.invite(node, hostnames="blocked.example.test"), terminate(host="blocked.example.test"), ready=False)
    said = node.wait_for(r'event=acme_order_failed name="blocked.example.test".*').group(0)
    assert "refuse" in said or "polic" in said or "rejected" in said, said


def test_the_challenges_of_passthrough_origins_reach_them(world, ca):
    """An origin that has its own certificates answers its own challenge on port 443."""
    world.nginx()
    pem, key = world.certificate()
    origin = world.start("origin", ["openssl", "s_server", "-accept", "3445", "-cert", pem, "-key", key, "-alpn", "acme-tls/1", "-quiet"],
                         world.home)
    origin.expected_end = True
    ca.start()
    node = acme_node(world, ca)
    world.agent(world.invite(node), passthrough(port=3445, proxy_protocol="none"), ready=False).wait_for("event=edge_connected")
    context = ssl.create_default_context(cafile=pem)
    context.set_alpn_protocols(["acme-tls/1"])

    def protocol():
        try:
            with world.client.entered(), socket.create_connection((NODE_IP, 443), 5) as tcp:
                with context.wrap_socket(tcp, server_hostname=HOST) as tls:
                    return tls.selected_alpn_protocol()
        except OSError:
            return None
    wait_until(lambda: protocol() == "acme-tls/1", "the origin answers its challenge")


def test_an_origin_proves_its_name_on_port_80_through_the_tunnel(world, ca):
    """As with certbot --webroot: the origin's web server has a file for each challenge on its own port 80."""
    world.nginx()
    webroot = world.directory / "webroot"
    (webroot / ".well-known" / "acme-challenge").mkdir(parents=True)
    (webroot / ".well-known" / "acme-challenge" / "token_1").write_text("token_1.thumbprint")
    (webroot / "private").write_text("of port 80")
    origin = world.start("webroot", ["/usr/bin/python3", "-m", "http.server", "80", "--bind", "127.0.0.1", "--directory", webroot], world.home)
    origin.expected_end = True
    node = world.node("--http-listen", f"{NODE_IP}:80")
    agent = world.agent(world.invite(node), passthrough(port=3443, proxy_protocol="none"), passthrough(host=OTHER, http_origin="none"))

    def get(path, host=HOST):
        with world.client.entered():
            return subprocess.run(["curl", "--silent", "--noproxy", "*", "--resolve", f"{host}:80:{NODE_IP}", "--write-out", "\n%{http_code}",
                                   f"http://{host}{path}"], capture_output=True, text=True).stdout
    wait_until(lambda: get("/.well-known/acme-challenge/token_1") == "token_1.thumbprint\n200", "the origin answers")
    assert get("/.well-known/acme-challenge/missing").endswith("\n404")
    assert get("/private").endswith("\n308")
    assert get("/.well-known/acme-challenge/token_1", OTHER).endswith("\n502")
    origin.kill()
    assert get("/.well-known/acme-challenge/token_1").endswith("\n502")
    agent.wait_for(r"event=challenge_not_answered .*http_origin=127.0.0.1:80")


def test_bad_settings_name_what_is_wrong(world, ca):
    broken = world.directory / "broken.pem"
    broken.write_text("nonsense")
    for options, expected in [
        (["--acme-directory", "nonsense"], "letsencrypt"),
        (["--acme-directory", "http://ca.example.test/dir"], "https"),
        (["--acme-directory", "letsencrypt", "--acme-root", "/nonexistent.pem"], "/nonexistent.pem"),
        (["--acme-directory", "letsencrypt", "--acme-root", str(broken)], "broken.pem"),
        (["--acme-directory", "letsencrypt", "--acme-eab-key-id", "kid"], "eab-mac-key"),
        (["--acme-second-directory", "letsencrypt"], "acme.directory"),
        (["--dns-listen", f"{NODE_IP}:53"], "--acme-directory"),
        (["--acme-directory", ca.directory_url, "--dns-listen", f"{NODE_IP}:53"], "--dns-domains"),
        (["--acme-directory", ca.directory_url, "--dns-listen", f"{NODE_IP}:53", "--dns-domains", "a.test"], "dns-name-server"),
        (["--acme-directory", ca.directory_url, "--dns-domains", "a.test"], "--dns-listen"),
        (["--acme-directory", ca.directory_url, "--dns-hook", "/nonexistent"], "/nonexistent"),
        (["--acme-directory", ca.directory_url, "--dns-update-server", "ns.test:53", "--dns-update-key-file", str(broken)], "broken.pem"),
    ]:
        node = world.node(*options, wait=False)
        assert node.wait() != 0
        assert expected in node.log, (options, node.log)
