"""Pebble of Debian's package: Let's Encrypt's test CA, on a host of the laboratory. It refuses nonces at random."""
import json
import shutil
import subprocess

from .process import wait_until

PROGRAM = shutil.which("pebble")
NAME = "ca.example.test"


class Pebble:
    """Looks names up at the name server of `namespace`; its own NAME has to lead to `address` there. `validity`: of certificates, in
    seconds."""

    def __init__(self, world, namespace, address, validity=None):
        self.world, self.namespace, self.address = world, namespace, address
        self.certificate, key = world.certificate(NAME)
        self.configuration = world.directory / "pebble.json"
        self.configuration.write_text(json.dumps({"pebble": {
            "listenAddress": f"{address}:14000", "managementListenAddress": f"{address}:15000", "certificate": str(self.certificate),
            "privateKey": str(key), "httpPort": 80, "tlsPort": 443, "ocspResponderURL": "", "externalAccountBindingRequired": False,
            "domainBlocklist": ["blocked.example.test"], **({"certificateValidityPeriod": validity} if validity else {})}}))
        self.directory_url = f"https://{NAME}:14000/dir"

    def start(self, env=None):
        self.process = self.world.start("pebble", [PROGRAM, "-config", self.configuration, "-strict", "-dnsserver", "127.0.0.1:53"],
                                        self.namespace, env=env or {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "30"})
        self.process.expected_end = True
        wait_until(lambda: self.root() is not None, "pebble answers")
        return self

    def root(self):
        """The root that its certificates end in, another one after each start; None: it does not answer."""
        with self.namespace.entered():
            answer = subprocess.run(["curl", "--silent", "--insecure", "--noproxy", "*", f"https://{self.address}:15000/roots/0"],
                                    capture_output=True, text=True)
        return answer.stdout if answer.returncode == 0 else None

    def roots(self):
        """A file with that one, and its own HTTPS certificate."""
        path = self.world.directory / "acme-roots.pem"
        path.write_text((self.root() or "") + self.certificate.read_text())
        return path
