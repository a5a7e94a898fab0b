"""Where `make bench` measures: two namespaces, the origins, the peers beside which Culvert is measured, and how.

    edge namespace 10.77.0.1 ── veth, MTU 1500 ── 10.77.0.2 agent namespace
    (node, peers' public side, clients)           (agent, ssh client, origins)

Every peer forwards to the same two origins: bench_raw, which answers without a cipher so that the figures show who
forwards, and nginx, with TLS and in plaintext. One worker each.
"""
import json
import os
import re
import subprocess
import time
from pathlib import Path

from lab import wire
from lab.process import wait_until
from lab.world import BINARY, CLEAN_ENV, ROOT, Laboratory

EDGE_IP, AGENT_IP = "10.77.0.1", "10.77.0.2"
TLS_HOST, RAW_HOST = "tls.bench.test", "raw.bench.test"
NAMED_HOST, ORIGIN_NAME = "named.bench.test", "origin.bench.test"  # the raw origin by a name of the hosts file
TERMINATED_HOST = "terminated.bench.test"  # TLS ends at the edge, or at a peer as a reverse proxy
TLS_ORIGIN, RAW_ORIGIN, PLAIN_ORIGIN = 8443, 9000, 8080
BULK_BYTES = 512 << 20
LOAD_SECONDS = 4
KEEP_ALIVE_CONNECTIONS = 32
NEW_CONNECTIONS_AT_ONCE = 16
PROGRAMS = Path(os.environ.get("CULVERT_BENCH_PROGRAMS", ROOT / "build/release/tests"))
RAW = PROGRAMS / "bench_raw"

# Where each peer answers in the edge namespace: (TLS port, raw port).
PORTS = {"culvert": (443, 443), "nginx": (20443, 20900), "haproxy": (21443, 21900), "ssh": (22443, 22900)}
TERMINATED_PORTS = {"culvert": 443, "nginx": 20444, "haproxy": 21444}


class Peers(Laboratory):
    binary = BINARY  # the Culvert that is measured
    peers = ("nginx", "haproxy", "ssh")

    def __init__(self):
        super().__init__("edge", "agent")
        self.edge, self.far = self.namespaces
        self.edge.link("eth0", f"{EDGE_IP}/24", self.far, "eth0", f"{AGENT_IP}/24")
        self.missing = {}
        # Room for tens of thousands of new connections a round; the listeners are below.
        for namespace in self.namespaces:
            namespace.sysctl("net.ipv4.ip_local_port_range", "30000 65535")
        # wrk takes its server name from the URL, so the names must resolve; this mount is seen by us alone.
        hosts = self.directory / "hosts"
        hosts.write_text(f"127.0.0.1 localhost {ORIGIN_NAME}\n{EDGE_IP} {TLS_HOST} {RAW_HOST} {NAMED_HOST} {TERMINATED_HOST}\n")
        subprocess.run(["mount", "--bind", hosts, "/etc/hosts"], check=True)
        self.origins()
        for peer in self.peers:
            try:
                getattr(self, f"start_{peer}")()
                wait_until(lambda: self.first_byte(peer), f"{peer} forwards", 10)
            except (OSError, AssertionError, TimeoutError, subprocess.CalledProcessError) as error:
                self.missing[peer] = str(error)

    # --- origins and peers

    def origins(self):
        pem, key = self.directory / "origin.pem", self.directory / "origin.key"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-subj", "/CN=bench", "-keyout", key, "-out", pem, "-days", "2"], check=True, capture_output=True)
        (self.directory / "www").mkdir()
        (self.directory / "www/small").write_bytes(b"s" * 1024)
        # Full handshakes for every new connection, through every peer: no tickets, no cache.
        self.nginx("origin", self.far, f"""
http {{
  access_log off; default_type application/octet-stream; keepalive_requests 100000000; keepalive_timeout 300s;
  client_body_temp_path {self.directory}/t; proxy_temp_path {self.directory}/t; fastcgi_temp_path {self.directory}/t;
  uwsgi_temp_path {self.directory}/t; scgi_temp_path {self.directory}/t;
  ssl_certificate {pem}; ssl_certificate_key {key}; ssl_protocols TLSv1.3;
  ssl_session_tickets off; ssl_session_cache off;
  server {{ listen {TLS_ORIGIN} ssl; root {self.directory}/www; }}
  server {{ listen {PLAIN_ORIGIN}; root {self.directory}/www; }}
}}""")
        self.start("raw-origin", [RAW, "origin", RAW_ORIGIN], self.far)

    def nginx(self, name, namespace, body, head=""):
        user = "user root;" if os.geteuid() == 0 else ""
        configuration = self.directory / f"{name}.conf"
        configuration.write_text(f"{head} {user} daemon off; master_process off; pid {self.directory}/{name}.pid; error_log stderr crit;\n"
                                 f"worker_rlimit_nofile 16384;\nevents {{ worker_connections 8192; }}\n{body}\n")
        return self.start(name, ["nginx", "-e", "stderr", "-p", self.directory, "-c", configuration], namespace)

    def nginx_streams(self):
        return "".join(f"server {{ listen {EDGE_IP}:{port}; proxy_pass {AGENT_IP}:{origin}; tcp_nodelay on; }}"
                       for port, origin in zip(PORTS["nginx"], (TLS_ORIGIN, RAW_ORIGIN)))

    def start_nginx(self):
        self.nginx("nginx", self.edge, f"""
stream {{ {self.nginx_streams()} }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 300s; proxy_buffering off;
  client_body_temp_path {self.directory}/t; proxy_temp_path {self.directory}/t; fastcgi_temp_path {self.directory}/t;
  uwsgi_temp_path {self.directory}/t; scgi_temp_path {self.directory}/t;
  ssl_certificate {self.directory}/origin.pem; ssl_certificate_key {self.directory}/origin.key; ssl_protocols TLSv1.3;
  upstream origin {{ server {AGENT_IP}:{PLAIN_ORIGIN}; keepalive 64; keepalive_requests 100000000; }}
  server {{
    listen {EDGE_IP}:{TERMINATED_PORTS["nginx"]} ssl;
    location / {{ proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}""", "load_module /usr/lib/nginx/modules/ngx_stream_module.so;")

    def start_haproxy(self):
        tls, raw = PORTS["haproxy"]
        pair = self.directory / "haproxy.pem"
        pair.write_bytes((self.directory / "origin.pem").read_bytes() + (self.directory / "origin.key").read_bytes())
        configuration = self.directory / "haproxy.cfg"
        configuration.write_text(f"""
global
  nbthread 1
  maxconn 8192
  ssl-default-bind-options ssl-min-ver TLSv1.3
defaults
  mode tcp
  timeout connect 10s
  timeout client 300s
  timeout server 300s
listen tls
  bind {EDGE_IP}:{tls}
  server origin {AGENT_IP}:{TLS_ORIGIN}
listen raw
  bind {EDGE_IP}:{raw}
  server origin {AGENT_IP}:{RAW_ORIGIN}
listen terminated
  mode http
  bind {EDGE_IP}:{TERMINATED_PORTS["haproxy"]} ssl crt {pair} alpn http/1.1
  server origin {AGENT_IP}:{PLAIN_ORIGIN}
""")
        self.start("haproxy", ["haproxy", "-db", "-f", configuration], self.edge)

    def start_ssh(self):
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.directory / f"{name}-key"], check=True)
        # sshd wants /run/sshd; ours is in a mount that ends with us.
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
        os.mkdir("/run/sshd", 0o755)
        configuration = self.directory / "sshd_config"
        configuration.write_text(f"""
ListenAddress {EDGE_IP}:2222
HostKey {self.directory}/host-key
AuthorizedKeysFile {self.directory}/user-key.pub
PidFile {self.directory}/sshd.pid
StrictModes no
UsePAM no
PermitRootLogin yes
GatewayPorts clientspecified
Ciphers aes128-gcm@openssh.com
MaxSessions 100
""")
        self.start("sshd", ["/usr/sbin/sshd", "-D", "-e", "-f", configuration], self.edge)
        wait_until(lambda: self.connects(2222), "sshd listens", 5)
        tls, raw = PORTS["ssh"]
        self.start("ssh", [
            "ssh", "-N", "-F", "none", "-p", 2222, "-i", self.directory / "user-key", "-c", "aes128-gcm@openssh.com",
            "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "ExitOnForwardFailure=yes",
            "-o", "Compression=no", "-R", f"{EDGE_IP}:{tls}:127.0.0.1:{TLS_ORIGIN}",
            "-R", f"{EDGE_IP}:{raw}:127.0.0.1:{RAW_ORIGIN}", EDGE_IP], self.far)

    # --- our program

    def culvert(self, *arguments):
        with self.edge.entered():
            return subprocess.run([self.binary, *map(str, arguments)], env=CLEAN_ENV, text=True, capture_output=True, check=True).stdout

    def start_node(self, name, *extra):
        """(node, its data directory), once it listens."""
        data = self.directory / f"node-{name}"
        node = self.start("node", [
            self.binary, "node", "--data-dir", data, "--listen", f"{EDGE_IP}:443", "--udp-listen", f"{EDGE_IP}:443",
            "--public-url", f"https://{EDGE_IP}", "--workers", 1, "--log-level", "warn",
            # One client and one tenant make all of the load.
            "--max-new-connections", 0, "--max-new-connections-per-source", 0, "--max-new-connections-per-tenant", 0, *extra], self.edge)
        wait_until(lambda: self.connects(443), "the node listens")
        return node, data

    def invite(self, data, hostnames):
        return self.culvert("invite", "create", "--data-dir", data, "--name", "bench", "--hostnames", hostnames).split()[-1]

    def start_agent(self, *extra):
        services = [{"hostname": host, "origin": f"{origin}:{port}", "tls_mode": mode, "proxy_protocol": "none"}
                    for host, origin, port, mode in (
                        (TLS_HOST, "127.0.0.1", TLS_ORIGIN, "passthrough"), (RAW_HOST, "127.0.0.1", RAW_ORIGIN, "passthrough"),
                        (NAMED_HOST, ORIGIN_NAME, RAW_ORIGIN, "passthrough"),
                        (TERMINATED_HOST, "127.0.0.1", PLAIN_ORIGIN, "terminate"))]
        return self.start("agent", [self.binary, "agent", "--services", json.dumps(services), *extra], self.far,
                          env={"CULVERT_TOKEN": self.token})

    def start_culvert(self, round_number):
        """(node, agent, {figure: value}) of a node and an agent that start from nothing."""
        began = time.monotonic()
        node, data = self.start_node(round_number)
        node_start = time.monotonic() - began
        self.token = self.invite(data, "*.bench.test")
        began = time.monotonic()
        agent = self.start_agent()
        wait_until(lambda: self.first_200("culvert"), "the first 200", interval=0.002)
        first = time.monotonic() - began
        wait_until(lambda: self.first_byte("culvert"), "the raw route")
        time.sleep(1)
        return node, agent, {"first_200_s": first, "node_start_s": node_start, "agent_idle_bytes": agent.rss()}

    # --- measurements

    def connects(self, port):
        try:
            wire.connect(self.edge, (EDGE_IP, port), timeout=2).close()
            return True
        except OSError:
            return False

    def raw(self, peer, count, host=RAW_HOST):
        """A raw connection that asked its origin for `count` bytes."""
        sock = wire.connect(self.edge, (EDGE_IP, PORTS[peer][1]), timeout=60)
        sock.sendall(wire.hello_record(host) + count.to_bytes(8, "big"))
        return sock

    def first_byte(self, peer):
        try:
            with self.raw(peer, 1) as sock:
                sock.settimeout(2)
                return sock.recv(1) == b"x"
        except OSError:
            return False

    def first_200(self, peer):
        try:
            with wire.connect(self.edge, (EDGE_IP, PORTS[peer][0]), timeout=2) as sock:
                with wire.insecure_context().wrap_socket(sock, server_hostname=TLS_HOST) as tls:
                    tls.sendall(f"GET /small HTTP/1.1\r\nHost: {TLS_HOST}\r\n\r\n".encode())
                    return b" 200 " in tls.recv(100)
        except OSError:
            return False

    def bulk(self, peer, host=RAW_HOST):
        """Gbit/s of one stream, origin to client."""
        buffer, left = bytearray(1 << 20), BULK_BYTES
        with self.raw(peer, BULK_BYTES, host) as sock:
            sock.recv_into(buffer, 1)
            began, left = time.monotonic(), left - 1
            while left:
                count = sock.recv_into(buffer)
                if not count:
                    raise EOFError(f"{peer}: bulk ended {left} bytes early")
                left -= count
            return BULK_BYTES * 8 / (time.monotonic() - began) / 1e9

    def https_requests(self, host, port):
        """Requests a second of wrk, which pays for TLS as the other end of it does."""
        said = self.edge.run("wrk", "-t1", f"-c{KEEP_ALIVE_CONNECTIONS}", f"-d{LOAD_SECONDS}s", "-H", f"Host: {host}",
                             f"https://{host}:{port}/small").stdout
        failed = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
        if failed:
            raise ValueError(f"{host}:{port}: {failed.group(0)}")
        return float(re.search(r"Requests/sec:\s*([\d.]+)", said).group(1))

    def load(self, mode, peer, connections, rate=None, host=RAW_HOST, port=None):
        """{rate, p50_ms, p99_ms, errors} of answers of 1 KiB, without a cipher."""
        hello = self.directory / "hello"
        hello.write_bytes(wire.hello_record(host))
        extra = [f"{rate:.1f}"] if rate else []
        said = self.edge.run(str(RAW), mode, EDGE_IP, str(port or PORTS[peer][1]), str(hello), str(connections), str(LOAD_SECONDS), "1024", *extra)
        return json.loads(said.stdout)
