"""UDP ports of services: what clients see of them, large datagrams, real peers, floods and losses."""
import os
import shutil
import socket
import subprocess
import sys
import time

import pytest
from lab.process import PATIENCE, wait_until
from lab.world import BINARY, CLIENT_IP, HOST, NODE_IP, ROOT

STATUS = "127.0.0.1:9100"


def udp_service(name="game", origin_port=5300, **members):
    return {"protocol": "udp", "name": name, "origin": f"127.0.0.1:{origin_port}", **members}


def udp_server(world, port, *options, address="127.0.0.1", namespace=None):
    server = world.start(f"udp-{port}", [sys.executable, ROOT / "tests/lab/udp_server.py", address, port, *options],
                         namespace or world.home)
    server.expected_end = True
    server.wait_for("^ready", stream="stdout")
    return server


def client(world, timeout=5.0, bind=None):
    with world.client.entered():
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    if bind:
        made.bind(bind)
    made.settimeout(timeout * PATIENCE)
    return made


def ask(made, port, data):
    made.sendto(data, (NODE_IP, port))
    answer, peer = made.recvfrom(65535)
    assert peer == (NODE_IP, port)
    return answer


def metric(world, name):
    """The sum over its labels, of the node."""
    with world.public.entered():
        text = subprocess.run(["curl", "-s", f"http://{STATUS}/metrics"], capture_output=True, text=True, check=True).stdout
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith((name + " ", name + "{")))


@pytest.mark.smoke
def test_datagrams_of_every_size_go_to_the_origin_and_back(world):
    udp_server(world, 5300)
    node = world.node("--workers", "2")
    agent = world.agent(world.invite(node), udp_service(listen_port=5300))
    assert f"udp://{NODE_IP}:5300" in agent.wait_for(r"event=serving.*").group(0)
    with client(world) as first, client(world) as second:
        for size in (0, 1, 100, 1200, 1372, 1472, 1500, 9000, 65507):
            data = bytes(range(256)) * 256
            assert ask(first, 5300, data[:size]) == data[:size], size
            assert ask(second, 5300, data[:size] if size else b"x") == (data[:size] or b"x")


def test_the_origin_learns_the_client_by_proxy_protocol(world):
    udp_server(world, 5300, "--proxy")
    node = world.node()
    world.agent(world.invite(node), udp_service(listen_port=5300, proxy_protocol="v2"))
    with client(world) as made:
        assert ask(made, 5300, b"first") == b"first"
        assert ask(made, 5300, b"who").decode() == f"{CLIENT_IP}:{made.getsockname()[1]} to {NODE_IP}:5300"


@pytest.mark.skipif(not shutil.which("unbound") or not shutil.which("dig"),
                    reason="unbound and dig (Debian's packages unbound and bind9-dnsutils) are not installed")
def test_dig_asks_unbound_over_udp_and_tcp_at_one_port(world):
    configuration = world.directory / "unbound.conf"
    configuration.write_text(f"""
server:
  directory: "{world.directory}"
  pidfile: "{world.directory}/unbound.pid"
  chroot: ""
  username: ""
  interface: 127.0.0.1@5300
  do-daemonize: no
  use-syslog: no
  access-control: 127.0.0.0/8 allow
  local-zone: "example.test." static
  local-data: "www.example.test. A 192.0.2.7"
  local-data: 'large.example.test. TXT "{"x" * 200}"'
  local-data: 'large.example.test. TXT "{"y" * 200}"'
  local-data: 'large.example.test. TXT "{"z" * 200}"'
remote-control:
  control-enable: no
""")
    unbound = world.start("unbound", ["unbound", "-d", "-c", configuration], world.home)
    unbound.expected_end = True
    node = world.node()
    tcp = {"protocol": "tcp", "name": "dns", "origin": "127.0.0.1:5300", "listen_port": 5353}
    world.agent(world.invite(node), udp_service("dns", listen_port=5353), tcp)

    def dig(*arguments):
        with world.client.entered():
            return subprocess.run(["dig", f"@{NODE_IP}", "-p", "5353", "+short", "+tries=3", "+time=2", *arguments],
                                  capture_output=True, text=True).stdout.strip()

    assert dig("www.example.test", "A") == "192.0.2.7"
    assert len(dig("+bufsize=512", "large.example.test", "TXT").splitlines()) == 3, "truncated, and then over TCP"
    assert len(dig("+bufsize=4096", "+notcp", "+ignore", "large.example.test", "TXT").splitlines()) == 3


def wireguard(world, name, namespace, address, key, *peer):
    """One end of a tunnel of WireGuard."""
    process = world.start(name, ["wireguard-go", "-f", name], namespace)
    process.expected_end = True

    def is_configured():
        with namespace.entered():
            return subprocess.run(["wg", "set", name, "private-key", key, *peer], capture_output=True).returncode == 0
    wait_until(is_configured, f"{name} is configured")
    namespace.ip(f"address add {address} dev {name}")
    namespace.ip(f"link set {name} mtu 1280 up")


@pytest.fixture
def wireguard_sockets():
    """The place of its control sockets, which have the names of interfaces, is this test's own."""
    place = "/run/wireguard"
    try:
        os.makedirs(place, mode=0o700, exist_ok=True)
    except OSError as error:
        pytest.skip(f"wireguard-go has no place for its control sockets: {error}")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=True)
    yield
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.skipif(not os.access("/dev/net/tun", os.R_OK | os.W_OK), reason="there is no /dev/net/tun here")
@pytest.mark.usefixtures("wireguard_sockets")
def test_wireguard_at_a_udp_port(world):
    keys = {}
    for name in ("wghome", "wgaway"):
        path = world.directory / f"{name}.key"
        path.touch(0o600)
        path.write_bytes(subprocess.run(["wg", "genkey"], check=True, capture_output=True).stdout)
        public = subprocess.run(["wg", "pubkey"], check=True, capture_output=True, input=path.read_bytes()).stdout
        keys[name] = path, public.decode().strip()
    node = world.node()
    world.agent(world.invite(node), udp_service("wireguard", 51820, listen_port=51820))
    wireguard(world, "wghome", world.home, "10.99.0.1/24", keys["wghome"][0], "listen-port", "51820",
              "peer", keys["wgaway"][1], "allowed-ips", "10.99.0.2/32")
    wireguard(world, "wgaway", world.client, "10.99.0.2/24", keys["wgaway"][0],
              "peer", keys["wghome"][1], "allowed-ips", "10.99.0.1/32", "endpoint", f"{NODE_IP}:51820")
    files = world.directory / "files"
    files.mkdir()
    (files / "large").write_bytes(os.urandom(4 << 20))
    origin = world.start("origin", [sys.executable, "-m", "http.server", "8000", "--bind", "10.99.0.1", "--directory", files], world.home)
    origin.expected_end = True

    def fetched():
        with world.client.entered():
            return subprocess.run(["curl", "--silent", "--noproxy", "*", "--max-time", f"{30 * PATIENCE:g}", "http://10.99.0.1:8000/large"],
                                  capture_output=True).stdout
    wait_until(lambda: fetched() == (files / "large").read_bytes(), "a file comes through WireGuard", 60)


def test_a_quic_tunnel_inside_a_udp_port(world):
    """A second node at home is reached through the first, by TCP for its hub and by UDP for its tunnels; its agent is abroad."""
    first = world.node("--workers", "2")
    data = world.directory / "inner-data"
    inner = world.start("inner", [BINARY, "node", "--data-dir", data, "--listen", "127.0.0.1:7443", "--public-url",
                                  f"https://{NODE_IP}:7443"], world.home)
    inner.wait_for("event=node_started")
    face = {"name": "inner", "origin": "127.0.0.1:7443", "listen_port": 7443}
    world.agent(world.invite(first), {"protocol": "tcp", **face}, {"protocol": "udp", **face})
    made = world.culvert("invite", "create", "--data-dir", data, "--name", "abroad", "--hostnames", HOST, namespace=world.home)
    assert made.returncode == 0, made.stderr
    files = world.directory / "files"
    files.mkdir()
    (files / "large").write_bytes(bytes(range(256)) * 4096 * 16)
    origin = world.start("origin", [sys.executable, "-m", "http.server", "3000", "--bind", "127.0.0.1", "--directory", files], world.client)
    origin.expected_end = True
    abroad = world.start("abroad", [BINARY, "agent", "--service", f"{HOST}=127.0.0.1:3000,terminate"], world.client,
                         env={"CULVERT_TOKEN": made.stdout.strip().splitlines()[-1]})
    abroad.wait_for("event=ready")
    with world.client.entered():
        got = subprocess.run(["curl", "--silent", "--show-error", "--insecure", "--noproxy", "*", "--max-time", f"{60 * PATIENCE:g}",
                              "--resolve", f"{HOST}:7443:{NODE_IP}", f"https://{HOST}:7443/large"], capture_output=True)
    assert got.returncode == 0, got.stderr
    assert got.stdout == (files / "large").read_bytes()


def test_a_port_that_is_taken_is_told_and_served_once_it_is_free(world):
    udp_server(world, 5300)
    other = udp_server(world, 5300, address=NODE_IP, namespace=world.public)
    node = world.node()
    agent = world.agent(world.invite(node), udp_service(listen_port=5300), ready=False)
    reason = agent.wait_for(r'event=port_not_open.* port=udp/5300 reason="(.*?)"').group(1)
    assert "in use" in reason
    other.kill()
    agent.wait_for(r"event=port_opened.* port=udp/5300")
    agent.wait_for(r"event=ready")
    with client(world) as made:
        assert ask(made, 5300, b"served") == b"served"


def test_a_flow_moves_to_another_agent_when_its_own_is_killed(world):
    udp_server(world, 5300)
    node = world.node()
    token = world.invite(node)
    agents = [world.agent(token, udp_service(listen_port=5300)) for _ in range(2)]
    with client(world, timeout=0.2) as made:
        assert ask(made, 5300, b"x") == b"x"
        agents[0].kill()
        began = time.monotonic()
        answers = 0
        while answers < 10 and time.monotonic() - began < 12 * PATIENCE:
            try:
                ask(made, 5300, b"again")
                answers += 1
            except TimeoutError:
                pass
        assert answers == 10


def test_a_flood_from_many_addresses_takes_no_flow_that_is_in_use(world):
    """100,000 sources; then those who were there before it are, and another tenant's clients are served as ever."""
    udp_server(world, 5300)
    udp_server(world, 5400)
    node = world.node("--metrics-listen", STATUS)
    world.agent(world.invite(node), udp_service(listen_port=5300))
    world.agent(world.invite(node, name="other", hostnames="b.example.test"), udp_service("other", 5400, listen_port=5400))
    # Answers to it need a way back, or they would cost the node a neighbour look-up each.
    world.client.ip("route add local 10.64.0.0/10 dev lo")
    world.public.ip(f"route add 10.64.0.0/10 via {CLIENT_IP}")
    flood = world.start("flood", [sys.executable, "-c", f"""
import socket, time
IP_TRANSPARENT = 19
for index in range(100_000):
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_IP, IP_TRANSPARENT, 1)
    made.bind((f"10.{{64 + (index >> 16)}}.{{index >> 8 & 255}}.{{index & 255}}", 1024 + index % 60000))
    made.sendto(b"flood", ("{NODE_IP}", 5300))
    made.close()
    if index % 500 == 0:
        time.sleep(0.01)
print("done", flush=True)
"""], world.client)
    flood.expected_end = True
    with client(world) as player, client(world) as other:
        for each, port in ((player, 5300), (other, 5400)):
            assert ask(each, port, b"1") == b"1"
            assert ask(each, port, b"2") == b"2"
        lost, asked = {5300: 0, 5400: 0}, 0
        for each in (player, other):
            each.settimeout(1 * PATIENCE)
        while flood.alive():
            asked += 1
            for each, port in ((player, 5300), (other, 5400)):
                try:
                    ask(each, port, b"%d" % asked)
                except TimeoutError:
                    lost[port] += 1
            time.sleep(0.05)
        assert asked > 10
        # The flooded port's socket may overflow; nobody else notices.
        assert lost[5300] <= asked / 5 and lost[5400] <= asked / 50, f"{lost} of {asked} were not answered"
        assert ask(player, 5300, b"there") == b"there"
        # Another tenant's new clients.
        with client(world) as fresh:
            assert ask(fresh, 5400, b"new") == b"new"
    assert metric(world, "culvert_edge_udp_flows") <= 8192 + 2
    assert metric(world, "culvert_edge_udp_flows_total") > 8192 + 2


def test_a_loss_in_the_middle_loses_as_much_and_delays_nothing_else(world):
    udp_server(world, 5300)
    node = world.node()
    world.agent(world.invite(node), udp_service(listen_port=5300))
    with client(world, timeout=1) as made:
        ask(made, 5300, b"x" * 1000)
        time.sleep(1)  # the path's MTU is being looked for
        world.nat.run("nft", "-f", "-", input="""
table ip loss {
  chain forward {
    type filter hook forward priority -10
    udp dport 443 numgen random mod 100 < 1 drop
    udp sport 443 numgen random mod 100 < 1 drop
  }
}
""")
        count, sent, got, slow = 2000, {}, 0, 0
        made.setblocking(False)
        deadline = time.monotonic() + 30 * PATIENCE
        index = 0
        while (index < count or got + (time.monotonic() - sent[count - 1] > 1) * count < count) and time.monotonic() < deadline:
            if index < count:
                sent[index] = time.monotonic()
                made.sendto(index.to_bytes(4, "big") + b"x" * 996, (NODE_IP, 5300))
                index += 1
            end = time.monotonic() + 0.001
            while time.monotonic() < end:
                try:
                    data = made.recv(2000)
                except BlockingIOError:
                    time.sleep(0.0002)
                    continue
                got += 1
                slow += time.monotonic() - sent[int.from_bytes(data[:4], "big")] > 0.2 * PATIENCE
    # 1 % each way, 2 % in all; five standard deviations of that are 1.6 %.
    assert count * 0.96 <= got < count, f"{got} of {count}"
    # A stream would hold back what follows each that is lost, and lose none.
    assert slow <= count * 0.1, f"{slow} of {got} came late"


def test_a_range_leads_to_as_many_ports_of_the_origin(world):
    for port in (6000, 6001, 6099):
        udp_server(world, port)
    node = world.node("--workers", "2", "--tenant-udp-ports", "100")
    agent = world.agent(world.invite(node), udp_service("turn", 6000, listen_port="40000-40099"))
    assert f"udp://{NODE_IP}:40000-40099" in agent.wait_for(r"event=serving.*").group(0)
    with client(world) as made:
        for port in (40000, 40001, 40099):
            assert ask(made, port, b"at %d" % port) == b"at %d" % port
    agent.stop()
    for port in (40000, 40099):
        node.wait_for(rf"event=port_closed port=udp/{port}")


def test_a_range_of_which_one_port_is_taken_serves_the_others(world):
    udp_server(world, 6000)
    other = udp_server(world, 40001, address=NODE_IP, namespace=world.public)
    node = world.node()
    agent = world.agent(world.invite(node), udp_service("turn", 6000, listen_port="40000-40002", origin_ports="one"), ready=False)
    reason = agent.wait_for(r'event=port_not_open.* port=udp/40001 reason="(.*?)"').group(1)
    assert "in use" in reason
    with client(world) as made:
        for port in (40000, 40002):
            assert ask(made, port, b"served") == b"served"
    other.kill()
    agent.wait_for(r"event=ready")
    with client(world) as made:
        assert ask(made, 40001, b"served as well") == b"served as well"


def test_a_range_that_overlaps_with_a_port_of_another_tenant_is_refused(world):
    udp_server(world, 6000)
    node = world.node()
    world.agent(world.invite(node), udp_service("turn", 6000, listen_port="40000-40007"))
    token = world.invite(node, name="other", hostnames="b.example.test")
    agent = world.agent(token, udp_service("below", 6000, listen_port="39990-40000"), udp_service("within", 6000, listen_port=40007),
                        udp_service("beyond", 6000, listen_port="40008-40010"), udp_service("too-many", 6000, listen_port="41000-41016"),
                        ready=False)
    agent.wait_for(r"udp/40000 of udp/39990-40000 is claimed by another tenant")
    node.wait_for(r'event=service_refused.* service="within" reason="udp/40007 is claimed by another tenant')
    node.wait_for(r'event=service_refused.* reason="udp/41000-41016 has 17 ports, and the tenant may claim 16 udp ports')
    with client(world) as made:
        assert ask(made, 40000, b"of the first") == b"of the first"
