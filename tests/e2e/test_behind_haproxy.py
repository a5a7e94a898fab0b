"""HAProxy as the load balancer in front of a node: what it says of a client reaches the origin."""
from lab import wire
from lab.process import wait_until
from lab.world import CLIENT_IP, HOST, NODE_IP, passthrough

ALPN, AUTHORITY, CRC32C, UNIQUE_ID, SSL = 0x01, 0x02, 0x03, 0x05, 0x20
BALANCED_TLS, BALANCED_PORT = 8443, 8022
BALANCER_IP = "127.0.0.2"  # the operator at the node is no proxy


def haproxy(world):
    """At the node's own address: TLS that it ends and begins again towards the node, and a TCP port."""
    pem, key = world.certificate()
    pair = world.directory / "haproxy.pem"
    pair.write_bytes(pem.read_bytes() + key.read_bytes())
    configuration = world.directory / "haproxy.cfg"
    options = "send-proxy-v2 proxy-v2-options unique-id,crc32c,ssl,ssl-cipher,authority"
    configuration.write_text(f"""
defaults
  mode tcp
  timeout connect 10s
  timeout client 60s
  timeout server 60s
  source {BALANCER_IP}
  unique-id-format balanced-%ci-%cp
frontend tls
  bind {NODE_IP}:{BALANCED_TLS} ssl crt {pair} alpn h2,http/1.1
  default_backend node_tls
backend node_tls
  server node {NODE_IP}:443 {options} ssl verify none sni str({HOST})
frontend port
  bind {NODE_IP}:{BALANCED_PORT}
  default_backend node_port
backend node_port
  server node {NODE_IP}:2222 {options}
""")
    balancer = world.start("haproxy", ["haproxy", "-db", "-f", configuration], world.public)
    balancer.expected_end = True

    wait_until(lambda: listens(world), "HAProxy listens")


def listens(world):
    try:
        wire.connect(world.client, (NODE_IP, BALANCED_TLS)).close()
    except OSError:
        return False
    return True


def headers_at(namespace, port, seen):
    def handle(sock):
        seen.append(wire.read_proxy_v2(sock))
        sock.recv(1)

    return wire.origin(namespace, port, handle)


def only_one_of_the_client(seen):
    wait_until(lambda: [each for each in seen if each[0][0] == CLIENT_IP], "the origin is told of the client")
    return [each for each in seen if each[0][0] == CLIENT_IP][0]


def test_what_haproxy_says_reaches_the_origin_behind_an_agent(world):
    node = world.node("--trusted-proxies", f"{BALANCER_IP}/32")
    haproxy(world)
    of_host, of_port = [], []
    with headers_at(world.home, 5000, of_host) as errors, headers_at(world.home, 5001, of_port) as port_errors:
        agent = world.agent(world.invite(node), passthrough(5000), {
            "protocol": "tcp", "name": "ssh", "origin": "127.0.0.1:5001", "listen_port": 2222, "proxy_protocol": "v2"}, ready=False)
        agent.wait_for(r"event=edge_connected")
        node.wait_for(r"event=port_opened")

        context = wire.insecure_context()
        context.set_alpn_protocols(["http/1.1"])
        with wire.connect(world.client, (NODE_IP, BALANCED_TLS)) as sock:
            with context.wrap_socket(sock, server_hostname="other.example.test") as tls:
                port = tls.getsockname()[1]
                source, destination, tlvs = only_one_of_the_client(of_host)
        assert source == (CLIENT_IP, port) and destination == (NODE_IP, BALANCED_TLS)
        assert tlvs[AUTHORITY] == HOST.encode(), "the name of the hello that came to the edge, not HAProxy's"
        assert tlvs[UNIQUE_ID] == f"balanced-{CLIENT_IP}-{port}".encode()
        assert tlvs[ALPN] == b"http/1.1"
        assert tlvs[SSL][0] & 1, "the client used TLS"
        assert b"TLSv1.3" in tlvs[SSL]
        assert CRC32C not in tlvs, "it is HAProxy's own header that has it"

        with wire.connect(world.client, (NODE_IP, BALANCED_PORT)) as sock:
            port = sock.getsockname()[1]
            source, destination, tlvs = only_one_of_the_client(of_port)
        assert source == (CLIENT_IP, port) and destination == (NODE_IP, BALANCED_PORT)
        assert tlvs[UNIQUE_ID] == f"balanced-{CLIENT_IP}-{port}".encode()
        assert not tlvs[SSL][0] & 1 and AUTHORITY not in tlvs
        assert not errors and not port_errors


def test_what_haproxy_says_reaches_the_origin_of_a_static_route(world):
    seen = []
    with headers_at(world.public, 5000, seen) as errors:
        world.node("--trusted-proxies", f"{BALANCER_IP}/32", "--route", f"{HOST}=127.0.0.1:5000")
        haproxy(world)
        with wire.connect(world.client, (NODE_IP, BALANCED_TLS)) as sock:
            with wire.insecure_context().wrap_socket(sock) as tls:
                port = tls.getsockname()[1]
                source, _, tlvs = only_one_of_the_client(seen)
        assert source == (CLIENT_IP, port)
        assert tlvs[AUTHORITY] == HOST.encode()
        assert tlvs[UNIQUE_ID] == f"balanced-{CLIENT_IP}-{port}".encode()
        assert tlvs[SSL][0] & 1 and CRC32C not in tlvs
        assert not errors
