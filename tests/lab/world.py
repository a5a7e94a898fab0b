"""The little internet of the end-to-end tests, and our program and real peers in it.

    client 198.51.100.2 ──── 198.51.100.1 public 203.0.113.1 ──── 203.0.113.20 nat 192.168.7.1 ──── 192.168.7.2 home
    (curl, browsers)                    (culvert node)                  (masquerade)              (agent, origin)
"""
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from .netns import Namespace
from .process import PATIENCE, Process, wait_until

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("CULVERT_BIN", ROOT / "build/release/src/cli/culvert"))
NODE_IP, CLIENT_IP, NAT_IP, HOME_IP = "203.0.113.1", "198.51.100.2", "203.0.113.20", "192.168.7.2"
HOST = "app.example.test"
WILDCARD = "*.w.example.test"
NODE_TCP = NODE_UDP = 443
# Nothing of the caller's own configuration may reach the program under test.
CLEAN_ENV = {key: value for key, value in os.environ.items() if not key.startswith("CULVERT_")}


class Laboratory:
    """Namespaces, the processes in them and a directory for their files; all gone after close()."""

    def __init__(self, *names):
        self.directory = Path(tempfile.mkdtemp(prefix="culvert-lab-"))
        self.processes, self.successors, self.cleanups = [], [], []  # of successors: lab.upgrade
        self.namespaces = [Namespace(name) for name in names]

    def start(self, name, argv, namespace, env=None):
        taken = sum(process.name.split("#")[0] == name for process in self.processes)
        process = Process(f"{name}#{taken + 1}" if taken else name, argv, namespace, self.directory, env)
        self.processes.append(process)
        return process

    def faults(self):
        return [fault for fault in (process.faults() for process in self.processes) if fault]

    def close(self):
        for process in reversed(self.processes):
            if process.alive():
                process.kill()
        for cleanup in reversed(self.cleanups):
            cleanup()
        for namespace in self.namespaces:
            namespace.close()
        if os.environ.get("CULVERT_KEEP_LAB") != "1":
            shutil.rmtree(self.directory, ignore_errors=True)


class World(Laboratory):
    def __init__(self):
        super().__init__("public", "client", "nat", "home")
        self.public, self.client, self.nat, self.home = self.namespaces
        self.public.link("clients", "198.51.100.1/24", self.client, "eth0", f"{CLIENT_IP}/24")
        self.public.link("nats", f"{NODE_IP}/24", self.nat, "wan", f"{NAT_IP}/24")
        self.nat.link("lan", "192.168.7.1/24", self.home, "eth0", f"{HOME_IP}/24")
        self.client.ip("route add default via 198.51.100.1")
        self.nat.ip(f"route add default via {NODE_IP}")
        self.home.ip("route add default via 192.168.7.1")
        for router in (self.public, self.nat):
            router.sysctl("net.ipv4.ip_forward", 1)
        self.nat.run("nft", "-f", "-", input="""
table ip nat {
  chain out {
    type nat hook postrouting priority 100
    oifname wan masquerade
  }
}
table ip filter {
  chain forward {
    type filter hook forward priority 0; policy drop
    ct state established,related accept
    iifname lan accept
  }
}
""")

    # --- our program

    def culvert(self, *arguments, namespace=None, env=None, timeout=30.0, **kwargs):
        """A short-lived command to its end, checked by the caller."""
        with (namespace or self.public).entered():
            return subprocess.run([BINARY, *map(str, arguments)], env={**CLEAN_ENV, **(env or {})}, text=True,
                                  stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout * PATIENCE, **kwargs)

    # `prefix`: words in front of the program's path, as of setpriv.

    def node(self, *extra, data_dir=None, wait=True, hello_timeout="3s", public_host=NODE_IP, prefix=()):
        data_dir = data_dir or self.directory / "node-data"
        node = self.start("node", [
            *prefix, BINARY, "node", "--data-dir", data_dir, "--listen", f"{NODE_IP}:{NODE_TCP}", "--udp-listen", f"{NODE_IP}:{NODE_UDP}",
            "--public-url", f"https://{public_host}", "--hello-timeout", hello_timeout, *extra], self.public)
        node.data_dir = data_dir
        if wait:
            node.wait_for(r"event=node_started")
        return node

    def invite(self, node, hostnames=f"{HOST},{WILDCARD}", name="home", expires=None):
        """The token."""
        expiry = ["--expires", expires] if expires else []
        answer = self.culvert("invite", "create", "--data-dir", node.data_dir, "--name", name, "--hostnames", hostnames, *expiry)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout.strip().splitlines()[-1]

    def invite_id(self, node, name="home"):
        listing = self.culvert("invite", "list", "--data-dir", node.data_dir)
        assert listing.returncode == 0, listing.stderr
        row = next(line for line in listing.stdout.splitlines() if re.search(rf"\b{name}\b", line))
        return row.split()[0]

    def revoke(self, node, name="home"):
        answer = self.culvert("invite", "revoke", "--data-dir", node.data_dir, self.invite_id(node, name))
        assert answer.returncode == 0, answer.stderr

    def agent(self, token, *services, ready=True, extra=(), prefix=()):
        agent = self.start("agent", [*prefix, BINARY, "agent", "--services", json.dumps(services), *extra], self.home,
                           env={"CULVERT_TOKEN": token})
        if ready:
            agent.wait_for(r"event=ready")
        return agent

    def http(self, token, *extra, port=3000, prefix=()):
        """`culvert http`; without a token it uses the one that an earlier run kept."""
        arguments = ["--token", token] if token else []
        return self.start("http", [*prefix, BINARY, "http", port, *arguments, *extra], self.home,
                          env={"XDG_CONFIG_HOME": str(self.directory / "config"), "HOME": str(self.directory / "home")})

    def root_certificate(self, node):
        path = self.directory / "root.pem"
        answer = self.culvert("ca", "export", "--data-dir", node.data_dir, "--out", path)
        assert answer.returncode == 0, answer.stderr
        return path

    # --- real peers

    def certificate(self, name=HOST):
        """An origin's own self-signed certificate (PEM path, key path)."""
        pem, key = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        if not pem.exists():
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                            "-subj", "/CN=the origin itself", "-addext", f"subjectAltName=DNS:{name}", "-days", "2",
                            "-keyout", key, "-out", pem], check=True, capture_output=True)
        return pem, key

    def nginx(self):
        """HTTP on 3000, HTTPS on 3443, HTTPS behind PROXY protocol on 3444; files of `www`, PUT into `www/put`."""
        pem, key = self.certificate()
        www = self.directory / "www"
        (www / "put").mkdir(parents=True, exist_ok=True)
        (www / "small").write_bytes(b"s" * 1024)
        for path in (www, www / "put"):
            path.chmod(0o755)
        nginx = self.serve_http("nginx", f"""
  client_max_body_size 0; default_type application/octet-stream; sendfile on;
  ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {pem}; ssl_certificate_key {key};
  keepalive_requests 100000;
  server {{
    listen 3000; listen 3443 ssl; listen 3444 ssl proxy_protocol;
    root {www};
    location = / {{ return 200 "hello from the origin\\n"; }}
    location = /whoami {{ return 200 "proxy=$proxy_protocol_addr:$proxy_protocol_port peer=$remote_addr host=$host\\n"; }}
    location /put/ {{ dav_methods PUT; }}
  }}""", probe=3000)
        nginx.www = www
        return nginx

    def serve_http(self, name, http, probe):
        """nginx at home with this content of its http block, once it answers on the port `probe`."""
        self.directory.chmod(0o755)
        temporary = " ".join(f"{kind}_temp_path {self.directory}/nginx-tmp;"
                             for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        configuration = self.directory / f"{name}.conf"
        user = "user root;" if os.geteuid() == 0 else ""
        configuration.write_text(f"""
{user} daemon off; master_process off; pid {self.directory}/{name}.pid; error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
  access_log off; {temporary}
  {http}
}}
""")
        nginx = self.start(name, ["nginx", "-e", "stderr", "-p", self.directory, "-c", configuration], self.home)
        nginx.expected_end = True  # the tests end it at will
        wait_until(lambda: self.home.run("curl", "-s", f"http://127.0.0.1:{probe}/", check=False).returncode == 0, f"{name} answers")
        return nginx

    # --- the public client

    def curl(self, path="/", *options, host=HOST, cacert=None, timeout=60.0, text=True, check=False, at=(NODE_IP,)):
        """curl in the client's namespace, to `host` at the public addresses `at`. check: exit status must be 0."""
        trust = ["--cacert", str(cacert)] if cacert else ["--insecure"]
        with self.client.entered():
            done = subprocess.run(
                ["curl", "--silent", "--show-error", *trust, "--noproxy", "*", "--max-time", f"{timeout * PATIENCE:g}",
                 "--resolve", f"{host}:{NODE_TCP}:{','.join(at)}", *options, f"https://{host}{path}"],
                text=text, capture_output=True)
        if check:
            assert done.returncode == 0, f"curl: {done.returncode} {done.stderr}"
        return done

    def status(self, path="/", **kwargs):
        """The HTTP status that a client sees; '000' when there is none."""
        return self.curl(path, "--output", "/dev/null", "--write-out", "%{http_code}", **kwargs).stdout

    def first_200(self, timeout, since=None, path="/", **kwargs):
        """Seconds from `since` until the first 200; fails past `timeout` (a promise of the product, so not stretched,
        except under sanitizers)."""
        since = since or time.monotonic()
        while True:
            status = self.status(path, timeout=2.0, **kwargs)
            elapsed = time.monotonic() - since
            if status == "200":
                assert elapsed <= timeout * PATIENCE, f"first 200 after {elapsed:.2f} s, promised {timeout} s"
                return elapsed
            assert elapsed <= timeout * PATIENCE, f"no 200 within {timeout * PATIENCE:g} s (last status {status})"
            time.sleep(0.02)


def passthrough(port=3444, host=HOST, origin="127.0.0.1", **members):
    return {"hostname": host, "origin": f"{origin}:{port}", "tls_mode": "passthrough", **members}


def terminate(port=3000, host=HOST, origin="127.0.0.1", **members):
    return {"hostname": host, "origin": f"{origin}:{port}", "tls_mode": "terminate", **members}
