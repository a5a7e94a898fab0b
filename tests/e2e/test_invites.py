"""Invites and their ends: revocation, expiry, restarts."""
import json
import time

import pytest
from lab import wire
from lab.process import PATIENCE, wait_until
from lab.world import HOST, passthrough, terminate


def test_the_output_of_invite_create_is_a_token_file(world):
    node = world.node()
    made = world.culvert("invite", "create", "--data-dir", node.data_dir, "--hostnames", HOST)
    assert made.returncode == 0, made.stderr
    assert len(made.stdout.splitlines()) == 1 and made.stdout.startswith("cvt_inv_1.")
    assert "hostnames" in made.stderr and made.stdout.strip() not in made.stderr
    path = world.directory / "token"
    path.write_text(made.stdout)
    path.chmod(0o600)
    assert world.culvert("token", "inspect", "--token-file", path).returncode == 0


def test_invites_are_listed_as_one_document(world):
    node = world.node()
    hub = ["--data-dir", node.data_dir]
    made = world.culvert("invite", "create", *hub, "--hostnames", HOST, "--name", "first", "-o", "json")
    assert made.returncode == 0 and json.loads(made.stdout)["token"].startswith("cvt_inv_1."), made
    world.invite(node, hostnames="second.example.test", name="second")
    listing = world.culvert("invite", "list", *hub, "--output", "json")
    assert listing.returncode == 0, listing.stderr
    assert {invite["name"] for invite in json.loads(listing.stdout)["invites"]} == {"first", "second"}
    assert world.culvert("invite", "list", *hub, "--json").stdout == listing.stdout
    as_yaml = world.culvert("invite", "list", *hub, env={"CULVERT_OUTPUT": "yaml"}).stdout
    assert as_yaml.startswith("invites:\n") and "name: first\n" in as_yaml


@pytest.mark.smoke
def test_revoking_an_invite_cuts_live_streams_and_refuses_new_ones(world):
    def handle(sock):
        while True:
            sock.sendall(b"x" * 100)
            time.sleep(0.05)

    with wire.origin(world.home, 5000, handle):
        node = world.node()
        token = world.invite(node)
        agent = world.agent(token, passthrough(5000, proxy_protocol="none"), ready=False)
        agent.expected_end = True  # a final refusal may end it

        def begun():
            sock = wire.connect(world.client)
            sock.sendall(wire.hello_record())
            try:
                if wire.receive_exactly(sock, 100) == b"x" * 100:
                    return sock
            except (OSError, EOFError):
                pass
            return None
        with wait_until(begun, "a stream is open") as sock:
            world.revoke(node)
            sock.settimeout(5 * PATIENCE)
            with pytest.raises(ConnectionResetError):  # cut, not ended: the client must not take it for the whole
                wire.receive_all(sock)
                pytest.fail("a clean end")
        wait_until(lambda: world.curl().returncode == 35, "the name is unknown", 5)
        agent.wait_for(r"revoked")
        second = world.agent(token, passthrough(5000), ready=False)
        second.expected_end = True
        second.wait_for(r"revoked")
        assert world.curl().returncode == 35
        listing = world.culvert("invite", "list", "--data-dir", node.data_dir).stdout
        assert "revoked" in listing


def test_an_expired_invite_is_refused_with_that_reason(world):
    world.nginx()
    node = world.node()
    token = world.invite(node, expires="1s")
    time.sleep(2.5)
    agent = world.agent(token, terminate(), ready=False)
    agent.expected_end = True
    agent.wait_for(r"expired")
    assert world.curl().returncode == 35


def test_an_invite_that_expires_while_in_use(world):
    world.nginx()
    node = world.node()
    agent = world.agent(world.invite(node, expires="6s"), terminate())
    agent.expected_end = True
    assert world.status() == "200"
    wait_until(lambda: world.curl().returncode == 35, "the route ends with its invite", 60, interval=0.5)


def test_revoking_twice_and_revoking_what_never_was(world):
    node = world.node()
    world.invite(node)
    identifier = world.invite_id(node)
    world.revoke(node)
    again = world.culvert("invite", "revoke", "--data-dir", node.data_dir, identifier)
    assert again.returncode != 0 and "revoked" in again.stderr
    never = world.culvert("invite", "revoke", "--data-dir", node.data_dir, "AAAAAAAAAAAAAAAAAAAAAA")
    assert never.returncode != 0 and never.stderr.strip()


def test_an_invite_is_revoked_by_its_name_and_by_its_tenants_id(world):
    node = world.node()
    world.invite(node, "a.example.test", "laptop")
    world.invite(node, "b.example.test", "desktop")
    by_name = world.culvert("invite", "revoke", "--data-dir", node.data_dir, "laptop")
    assert by_name.returncode == 0 and by_name.stdout == "revoked laptop\n", by_name.stderr
    again = world.culvert("invite", "revoke", "--data-dir", node.data_dir, "laptop")
    assert again.returncode == 5 and "no invite is called" in again.stderr
    shown = world.culvert("invite", "show", "--data-dir", node.data_dir, "desktop", "-o", "json")
    by_tenant = world.culvert("invite", "revoke", "--data-dir", node.data_dir, json.loads(shown.stdout)["tenant_id"])
    assert by_tenant.returncode == 0, by_tenant.stderr
    listing = json.loads(world.culvert("invite", "list", "--data-dir", node.data_dir, "-o", "json").stdout)
    assert [invite["status"] for invite in listing["invites"]] == ["revoked", "revoked"]


def test_two_invites_cannot_hold_one_name(world):
    node = world.node()
    world.invite(node, "*.w.example.test", "first")
    second = world.culvert("invite", "create", "--data-dir", node.data_dir, "--name", "second", "--hostnames", "a.w.example.test")
    assert second.returncode != 0
    assert "a.w.example.test" in second.stderr


def test_invites_survive_a_restart(world):
    world.nginx()
    node = world.node()
    token = world.invite(node)
    node.kill()
    world.node()
    world.agent(token, terminate())
    assert world.status() == "200"


@pytest.mark.smoke
def test_a_suspended_tenant_is_refused_and_served_again_without_a_new_tunnel(world):
    world.nginx()
    node = world.node()
    agent = world.agent(world.invite(node), terminate())
    assert world.status() == "200"

    def tenant(verb):
        done = world.culvert("tenant", verb, "--data-dir", node.data_dir, "home")
        assert done.returncode == 0, done.stderr
        return done.stdout

    tenant("suspend")
    refused = world.curl()
    assert "503: this service is suspended" in refused.stdout, refused.stdout
    assert "suspended" in tenant("show")
    assert "home" in world.culvert("agent", "list", "--data-dir", node.data_dir).stdout, "its lease stays"
    agent.wait_for(r"event=tenant_suspended", 40)
    tenant("resume")
    assert world.status() == "200", "at once"
    assert agent.log.count("event=edge_connected") == 1, "the tunnel was never closed"
    audit = world.culvert("audit", "list", "--data-dir", node.data_dir).stdout
    assert audit.count("invite.change") == 2 and audit.count("invite.create") == 1


def test_a_node_that_is_killed_serves_again_before_its_agents_declare(world):
    world.nginx()
    node = world.node()
    agent = world.agent(world.invite(node), terminate())
    node.kill()
    again = world.node(data_dir=node.data_dir)
    routes = world.culvert("route", "list", "--data-dir", again.data_dir).stdout
    assert HOST in routes, "leases are stored"
    wait_until(lambda: world.status() == "200", "it is served", 10)
    assert agent.log.count("event=lease_granted") == 1


def test_an_operator_key_that_may_only_read_changes_nothing(world):
    node = world.node()
    world.invite(node)
    made = world.culvert("operator", "key", "create", "--data-dir", node.data_dir, "grafana", "--role", "read-only")
    assert made.returncode == 0, made.stderr
    key = made.stdout.strip()
    assert len(key) == 43 and key not in made.stderr
    env = {"CULVERT_OPERATOR_KEY": key}
    assert "home" in world.culvert("invite", "list", "--data-dir", node.data_dir, env=env).stdout
    for change in (["tenant", "suspend", "home"], ["tenant", "remove", "home"], ["invite", "edit", "home", "--name", "x"]):
        refused = world.culvert(*change, "--data-dir", node.data_dir, env=env)
        assert refused.returncode == 3 and "may only read" in refused.stderr, refused.stderr
    assert world.culvert("operator", "key", "revoke", "--data-dir", node.data_dir, "grafana").returncode == 0
    assert world.culvert("invite", "list", "--data-dir", node.data_dir, env=env).returncode == 3
    assert world.culvert("tenant", "show", "--data-dir", node.data_dir, "nobody").returncode == 5
