"""testssl.sh (the Debian package of this name) at a name that the edge terminates; tests/e2e/test_tls.py has the same checks, quicker."""
import json
import subprocess

from lab.process import wait_until
from lab.world import HOST, NODE_IP, NODE_TCP, World, terminate

# What it minds and is so: the internal CA is nobody's and has no list of revoked certificates; what is left to the client to choose
# are AEAD suites only; and HSTS is the origin's to say.
EXPECTED = {"cert_chain_of_trust", "cert_revocation", "cert_crlDistributionPoints", "cert_ocspURL", "cipher_order", "HSTS", "OCSP_stapling",
            "DNS_CAArecord", "security_headers"}


def test_nothing_weak_is_found():
    world = World()
    try:
        world.nginx()
        world.agent(world.invite(world.node()), terminate())
        wait_until(lambda: world.status() == "200", "it serves")
        found = world.directory / "found.json"
        with world.client.entered():
            subprocess.run(["testssl", "--ip", NODE_IP, "--nodns", "none", "--warnings", "batch", "--color", "0", "--quiet", "--jsonfile", found,
                            "--severity", "LOW", f"{HOST}:{NODE_TCP}"], capture_output=True, timeout=600)
        findings = {each["id"].split(" ")[0]: each["finding"] for each in json.loads(found.read_text())
                    if each["severity"] in ("LOW", "MEDIUM", "HIGH", "CRITICAL", "FATAL")}
        assert set(findings) <= EXPECTED, findings
        assert "cert_chain_of_trust" in findings, "it looked at nothing"
    finally:
        world.close()
