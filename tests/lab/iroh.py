"""Two endpoints in namespaces, either of them ours or real iroh, and a NAT between them."""
import os
import select
import socket
import threading
from pathlib import Path

from .world import ROOT, Laboratory

PEER = Path(os.environ.get("CULVERT_PEER", ROOT / "build/dev/tests/interop_peer"))
MODULES = ROOT / "build/interop/node_modules"
ALPN = "culvert-interop/0"
SERVER_IP, CLIENT_IP = "10.66.0.1", "10.66.0.2"
ours = [PEER]
iroh = ["node", ROOT / "tests/interop/iroh.js"]


class Pair(Laboratory):
    """A server's and a client's namespace with one link between."""

    def __init__(self):
        super().__init__("server", "client")
        self.server_ns, self.client_ns = self.namespaces
        self.server_ns.link("eth0", f"{SERVER_IP}/24", self.client_ns, "eth0", f"{CLIENT_IP}/24")

    def peer(self, name, program, mode, namespace, *arguments):
        process = self.start(name, [*program, mode, "--alpn", ALPN, *arguments], namespace, env={"NODE_PATH": str(MODULES)})
        process.expected_end = True
        return process

    def serve(self, program, *arguments):
        server = self.peer("server", program, "serve", self.server_ns, "--bind", f"{SERVER_IP}:0", *arguments)
        server.id = server.wait_for(r"^ID (\w+)", stream="stdout").group(1)
        server.address = server.wait_for(r"^ADDR (\S+)", stream="stdout").group(1)
        return server

    def connect(self, program, server, *arguments, address=None, identity=None, bind=f"{CLIENT_IP}:0"):
        return self.peer("client", program, "connect", self.client_ns, "--id", identity or server.id,
                         "--addr", address or server.address, "--bind", bind, *arguments)


class UdpRelay:
    """A NAT of one client in front of a server: rebind() gives that client another source port from now on."""

    def __init__(self, namespace, server_address):
        ip, port = server_address.rsplit(":", 1)
        self.server, self.client, self.lock = (ip, int(port)), None, threading.Lock()
        self.namespace, self.ended = namespace, threading.Event()
        with namespace.entered():
            self.front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.front.bind((CLIENT_IP, 0))
        self.back.bind((CLIENT_IP, 0))
        self.address = "%s:%d" % self.front.getsockname()
        self.thread = threading.Thread(target=self._forward, daemon=True)
        self.thread.start()

    def rebind(self):
        with self.namespace.entered():
            fresh = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        fresh.bind((CLIENT_IP, 0))
        with self.lock:
            self.back, old = fresh, self.back
        old.close()  # what still comes to the old port is lost, as in a NAT that forgot
        return "%s:%d" % fresh.getsockname()

    def close(self):
        self.ended.set()
        self.thread.join()
        self.front.close()
        self.back.close()

    def _forward(self):
        while not self.ended.is_set():
            back = self.back
            try:
                ready, _, _ = select.select([self.front, back], [], [], 0.05)
            except (OSError, ValueError):
                continue  # the old socket went while we waited on it
            for sock in ready:
                with self.lock:
                    try:
                        data, source = sock.recvfrom(65535)
                        if sock is self.front:
                            self.client = source
                            self.back.sendto(data, self.server)
                        elif self.client:
                            self.front.sendto(data, self.client)
                    except OSError:
                        pass
