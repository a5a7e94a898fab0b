"""One UDP socket of ours serves clients with a key and clients that check an X.509 certificate, at once."""
import re
import subprocess

import pytest
from lab import peers
from lab.iroh import ALPN, SERVER_IP, iroh, ours

NAME = "edge.example"
TUNNEL_ALPN, WEB_ALPN, DISCOVERY_ALPN = "culvert-tunnel/1", "h3", "/iroh-qad/0"
# Not a CA: a certificate that is its own root must be a leaf.
REQUEST = f"""
[req]
distinguished_name = subject
x509_extensions = leaf
prompt = no
[subject]
CN = {NAME}
[leaf]
basicConstraints = critical, CA:FALSE
subjectAltName = DNS:{NAME}, IP:{SERVER_IP}
"""


class Certificate:
    def __init__(self, directory):
        def openssl(*arguments):
            subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
        config, key = directory / "request.cnf", directory / "key.pem"
        config.write_text(REQUEST)
        self.pem, self.der, self.key = directory / "leaf.pem", directory / "leaf.der", directory / "key.der"
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
        openssl("req", "-x509", "-new", "-key", key, "-config", config, "-days", 30, "-out", self.pem)
        openssl("x509", "-in", self.pem, "-outform", "DER", "-out", self.der)
        openssl("pkey", "-in", key, "-outform", "DER", "-out", self.key)


@pytest.fixture
def certificate(tmp_path):
    return Certificate(tmp_path)


def serve(pair, certificate):
    server = pair.serve(ours, "--alpn", f"{ALPN},{TUNNEL_ALPN}", "--x509-alpn", f"{WEB_ALPN},{DISCOVERY_ALPN}",
                        "--certificate", certificate.der, "--certificate-key", certificate.key)
    server.wait_for("^READY", stream="stdout")
    return server


def test_keys_and_certificates_on_one_socket(pair, certificate):
    server = serve(pair, certificate)
    tunnel = pair.connect(ours, server, "--alpn", TUNNEL_ALPN, "--bytes", "1000000", "--pings", "40")
    stock = pair.connect(iroh, server, "--bytes", "1000000", "--pings", "40")
    web = pair.connect(ours, server, "--alpn", WEB_ALPN, "--name", NAME, "--root", certificate.der,
                       "--bytes", "1000000", "--pings", "40")
    for client in (tunnel, stock, web):
        # All three are connected before the first ends.
        client.wait_for(r"^PING 10$", stream="stdout")
    for client in (tunnel, stock, web):
        assert client.wait(60) == 0, f"{client.stdout}\n{client.log}"
        assert "ECHO 1000000\n" in client.stdout and "PINGS 40" in client.stdout
    assert f"CONNECTED - {WEB_ALPN}" in web.stdout
    accepted = dict(re.findall(r"^ACCEPTED (\S+) (\S+)$", server.stdout, re.MULTILINE))
    assert sorted(accepted.values()) == sorted([ALPN, TUNNEL_ALPN, WEB_ALPN])
    assert accepted["-"] == WEB_ALPN


def test_another_name_is_refused(pair, certificate):
    server = serve(pair, certificate)
    client = pair.connect(ours, server, "--alpn", WEB_ALPN, "--name", "other.example", "--root", certificate.der)
    assert client.wait() == 1
    assert "ERROR connect unauthorized" in client.stdout, client.stdout
    assert "ACCEPTED" not in server.stdout


@pytest.mark.nat
def test_iroh_discovers_its_address_from_ours(pair, certificate):
    """iroh's own client, which checks the certificate, beside a client with a key. It may be gone before it is accepted."""
    if not peers.built():
        pytest.skip(f"no peers in {peers.RUST}: run scripts/interop")
    server = serve(pair, certificate)
    tunnel = pair.connect(ours, server, "--alpn", TUNNEL_ALPN, "--pings", "20")
    probe = pair.start("qad-probe", [peers.RUST / "qad-probe", "--server", server.address, "--ca", certificate.pem],
                       pair.client_ns)
    assert probe.wait() == 0, f"{probe.stdout}\n{probe.log}"
    assert re.search(r"^OBSERVED 10\.66\.0\.2:\d+$", probe.stdout, re.MULTILINE), probe.stdout
    assert tunnel.wait() == 0, tunnel.stdout
