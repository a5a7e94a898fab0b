"""`culvert ca serve` on a host of the laboratory, with what pebble.Pebble has."""
from .pebble import NAME
from .world import BINARY, HOST


class CulvertCa:
    """Looks names up at the name server of `namespace`; its own NAME has to lead to `address` there. Issues for the names of
    the tests, not for blocked.example.test."""

    def __init__(self, world, namespace, address, *extra):
        self.world, self.namespace, self.address, self.extra = world, namespace, address, extra
        self.data_dir = world.directory / "ca-data"
        self.directory_url = f"https://{NAME}:14000/directory"

    def start(self):
        domains = ",".join((HOST, "w.example.test", "certbot.example.test"))
        self.process = self.world.start("ca", [BINARY, "ca", "serve", "--data-dir", self.data_dir, "--listen", f"{self.address}:14000",
                                               "--name", NAME, "--domains", domains, "--dns-server", "127.0.0.1", *self.extra],
                                        self.namespace)
        self.process.wait_for("event=ca_started")
        return self

    def root(self):
        """The root that its certificates end in; None: it has never run."""
        path = self.data_dir / "ca.pem"
        return path.read_text() if path.exists() else None

    def roots(self):
        """A file with that one; before it has run, with another certificate."""
        path = self.world.directory / "acme-roots.pem"
        path.write_text(self.root() or self.world.certificate(NAME)[0].read_text())
        return path

