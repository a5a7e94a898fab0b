"""One certificate for all edges: the hub orders, any edge answers the CA. Pebble stands in for that."""
import json
import shutil
import socket
import ssl
import threading
import time
from collections import Counter

import pytest
from lab import pebble, postgres
from lab.names import use_name_server
from lab.process import wait_until
from lab.world import HOST, NODE_IP, terminate
from test_edges import Edges
from test_several_hubs import HUB_NAME, Hubs

pytestmark = pytest.mark.skipif(pebble.PROGRAM is None, reason="pebble (Debian's package pebble) is not installed")

PARIS, LYON = "192.0.2.2", "192.0.2.6"
OTHER = "other.w.example.test"


class Installation(Edges):
    """A hub with a CA, and two edges without a setting of their own, which the DNS names both for every hostname."""

    def __init__(self, world, *options, validity=None, names=(HOST, OTHER)):
        self.records = {pebble.NAME: {"A": [NODE_IP]}, **{name: {"A": [PARIS, LYON]} for name in names}}
        use_name_server(world, world.public, self.records)
        self.ca = pebble.Pebble(world, world.public, NODE_IP, validity)
        self.ca.start()
        super().__init__(world, "--acme-directory", self.ca.directory_url, "--acme-root", self.ca.roots(), "--acme-agree-terms", "yes",
                         *options)
        self.tokens = {}

    def start_edges(self, *options):
        self.edges = [self.start(name, self.tokens.setdefault(name, self.token(name)), *options) for name in ("paris", "lyon")]
        assert [edge.address for edge in self.edges] == [PARIS, LYON]
        return self.edges

    def serial(self, address, host=HOST):
        """Of the certificate that is served there; None: none that the CA has issued."""
        context = ssl.create_default_context(cadata=self.root())
        try:
            with self.world.client.entered(), socket.create_connection((address, 443), 5) as tcp:
                with context.wrap_socket(tcp, server_hostname=host) as tls:
                    return tls.getpeercert()["serialNumber"]
        except OSError:
            return None

    def root(self):
        if not hasattr(self, "_root"):
            self._root = self.ca.root()
        return self._root

    def both_serve(self, host=HOST):
        """The serial of the one certificate that both serve."""
        serials = []

        def same():
            serials[:] = [self.serial(PARIS, host), self.serial(LYON, host)]
            return serials[0] is not None and serials[0] == serials[1]
        wait_until(same, f"both edges serve one certificate for {host}", 30)
        return serials[0]

    def listed(self):
        return {each["name"]: each for each in json.loads(self.operator("certificate", "list", "-o", "json"))["certificates"]}


@pytest.fixture
def world_with_origin(world):
    world.nginx()
    return world


@pytest.mark.parametrize("challenge", ["tls-alpn-01", "http-01"])
def test_two_edges_share_one_certificate(world_with_origin, challenge):
    world = world_with_origin
    all_of = Installation(world, "--acme-challenges", challenge)
    for name, address in (("paris", PARIS), ("lyon", LYON)):
        token = all_of.token(name)
        all_of.start(name, token, *(["--http-listen", f"{address}:80"] if challenge == "http-01" else []))
    world.agent(world.invite(all_of.hub), terminate(), terminate(host=OTHER))
    serials = {all_of.both_serve(), all_of.both_serve(OTHER)}
    assert len(serials) == 2
    root = world.directory / "pebble-root.pem"
    root.write_text(all_of.root())
    for address in (PARIS, LYON):
        assert world.curl(cacert=root, at=[address]).stdout == "hello from the origin\n"
    shown = all_of.listed()
    assert shown[HOST]["state"] == "valid" and "Pebble" in shown[HOST]["issuer"] and shown[HOST]["age_secs"] < 120, shown
    assert HOST in all_of.operator("certificate", "list")
    status = json.loads(all_of.operator("status", "-o", "json"))
    assert (status["certificates"], status["failing_certificates"]) == (2, 0) and status["first_expiry"] > time.time(), status
    # The private keys rest in the database sealed, and are not in what operators are told.
    database = (all_of.hub.data_dir / "hub.db").read_bytes()
    assert b"BEGIN CERTIFICATE" in database and b"PRIVATE KEY" not in database
    assert "PRIVATE KEY" not in all_of.operator("certificate", "list", "-o", "json")


def test_an_edge_serves_its_certificates_while_the_hub_is_away(world_with_origin):
    world = world_with_origin
    all_of = Installation(world)
    paris, _ = all_of.start_edges()
    token = world.invite(all_of.hub)
    world.agent(token, terminate())
    serial = all_of.both_serve()
    kept = world.directory / "state-paris" / "hub-certificates"
    wait_until(lambda: (kept / "names" / f"{HOST}.json").exists(), "the certificate is kept")
    assert {path.stat().st_mode & 0o777 for path in kept.rglob("*.json")} == {0o600}
    assert kept.stat().st_mode & 0o777 == 0o700
    all_of.hub.kill()
    paris.kill()
    again = all_of.start("paris", all_of.tokens["paris"], following=False)
    assert all_of.serial(PARIS) == serial
    assert again.alive()
    all_of.start_hub()
    wait_until(lambda: all_of.states() == {"paris": "connected", "lyon": "connected"}, "the hub is followed", 30)
    assert all_of.both_serve() == serial, "a restart orders nothing"
    # What is suspended or revoked loses its certificate everywhere.
    all_of.operator("tenant", "suspend", "home")
    wait_until(lambda: all_of.serial(PARIS) is None and all_of.serial(LYON) is None, "no edge has it")
    assert all_of.listed()[HOST]["state"] == "unused"
    all_of.operator("tenant", "resume", "home")
    assert all_of.both_serve() == serial
    all_of.operator("edge-invite", "revoke", "paris")
    wait_until(lambda: not (kept / "names" / f"{HOST}.json").exists(), "the revoked edge has it no more", 20)
    assert all_of.serial(LYON) == serial


def test_a_hub_that_is_killed_in_an_order_orders_again(world_with_origin):
    world = world_with_origin
    all_of = Installation(world)
    all_of.ca.process.kill()
    all_of.ca.start(env={"PEBBLE_VA_SLEEPTIME": "6"})
    all_of.options = ("--acme-directory", all_of.ca.directory_url, "--acme-root", all_of.ca.roots(), "--acme-agree-terms", "yes")
    all_of.hub.stop()
    all_of.start_hub()
    all_of.start_edges()
    world.agent(world.invite(all_of.hub), terminate(), ready=False)
    wait_until(lambda: b"acme-challenge" in (all_of.hub.data_dir / "hub.db").read_bytes(), "a challenge is pending", 20)
    all_of.hub.kill()
    all_of.start_hub()
    all_of.both_serve()
    assert all_of.listed()[HOST]["state"] == "valid"


def test_a_hundred_names_are_issued_and_renewed_under_load(world_with_origin):
    world = world_with_origin
    names = [f"h{number}.w.example.test" for number in range(100)]
    all_of = Installation(world, "--acme-max-per-domain", "1000", "--acme-max-per-tenant", "1000", validity=70, names=names)
    all_of.start_edges()
    token = all_of.operator("invite", "create", "--name", "many", "--hostnames", "*.w.example.test", "--max-hostnames", "200").strip()
    world.agent(token, *(terminate(host=name) for name in names), ready=False)
    served, failed, serials, end = {}, [], {name: set() for name in names}, threading.Event()
    context = ssl.create_default_context(cadata=all_of.root())

    def knock(address):
        """Clients at one edge: once a name has its certificate there, each handshake has to succeed."""
        with world.client.entered():
            while not end.is_set():
                for name in names:
                    try:
                        with socket.create_connection((address, 443), 5) as tcp, context.wrap_socket(tcp, server_hostname=name) as tls:
                            serials[name].add(tls.getpeercert()["serialNumber"])
                            served[address, name] = True
                    except OSError as error:
                        if (address, name) in served:
                            failed.append((address, name, str(error)))
                    if end.is_set():
                        return

    clients = [threading.Thread(target=knock, args=[address], daemon=True) for address in (PARIS, LYON)]
    for client in clients:
        client.start()
    try:
        wait_until(lambda: all(len(seen) >= 2 for seen in serials.values()), "every name has its second certificate", 100)
    finally:
        end.set()
        for client in clients:
            client.join(20)
    assert not failed, (len(failed), failed[:5])
    assert len(served) == 2 * len(names)


@pytest.mark.skipif(postgres.binaries() is None, reason="PostgreSQL (Debian's package postgresql) is not installed")
def test_of_two_hubs_one_orders_and_the_other_goes_on(world_with_origin):
    world = world_with_origin
    records = {pebble.NAME: {"A": [NODE_IP]}}
    use_name_server(world, world.public, records)
    ca = pebble.Pebble(world, world.public, NODE_IP)
    ca.start()
    hubs = Hubs(world, "--acme-directory", ca.directory_url, "--acme-root", ca.roots(), "--acme-agree-terms", "yes")
    (world.directory / "hosts").write_text((world.directory / "hosts").read_text() + f"{NODE_IP} {pebble.NAME}\n")
    edges = [hubs.start(name, hubs.token(name)) for name in ("paris", "lyon")]
    for name in (HOST, OTHER):
        records[name] = {"A": [edge.address for edge in edges]}
    root = ca.root()

    def serial(edge, host):
        context = ssl.create_default_context(cadata=root)
        try:
            with world.client.entered(), socket.create_connection((edge.address, 443), 5) as tcp:
                with context.wrap_socket(tcp, server_hostname=host) as tls:
                    return tls.getpeercert()["serialNumber"]
        except OSError:
            return None

    def is_shared(host):
        serials = {serial(edge, host) for edge in edges}
        return None not in serials and len(serials) == 1

    token = hubs.operator("invite", "create", "--name", "home", "--hostnames", f"{HOST},{OTHER}").strip()
    agent = world.agent(token, terminate(), ready=False)
    wait_until(lambda: is_shared(HOST), "both edges serve one certificate", 40)
    orders = Counter(hub.name for hub in hubs.hubs for line in hub.log.splitlines() if "event=acme_certificate_issued" in line)
    assert sum(orders.values()) == 1, orders
    orderer = next(hub for hub in hubs.hubs if hub.name in orders)
    other = next(hub for hub in hubs.hubs if hub is not orderer)
    orderer.stop()
    hubs.hub = other
    other.wait_for(r"event=acme_orderer ", timeout=20)
    agent.stop()
    world.agent(token, terminate(), terminate(host=OTHER), ready=False)
    wait_until(lambda: is_shared(OTHER), "the other hub orders", 60)
    assert is_shared(HOST)
