"""A TCP server of a line protocol that speaks first, as SMTP and SSH do.

    python3 line_server.py ADDRESS PORT [--starttls CERTIFICATE KEY] [--proxy]

Answers each line with "250 LINE", STARTTLS with TLS, QUIT with the end; says in its banner who the client is: the peer, or
with --proxy what a PROXY protocol header (version 2) names.
"""
import socket
import socketserver
import ssl
import struct
import sys

certificate = sys.argv[sys.argv.index("--starttls") + 1:][:2] if "--starttls" in sys.argv else None
wants_proxy = "--proxy" in sys.argv


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        client = "%s:%d" % self.request.getpeername()[:2]
        if wants_proxy:
            head = self.request.recv(16, socket.MSG_WAITALL)
            body = self.request.recv(struct.unpack(">H", head[14:16])[0], socket.MSG_WAITALL)
            client = "%s:%d" % (socket.inet_ntoa(body[:4]), struct.unpack(">H", body[8:10])[0])
        self.request.sendall(f"220 ready for {client}\r\n".encode())
        while line := self.line():
            if line == b"STARTTLS" and certificate:
                self.request.sendall(b"220 go ahead\r\n")
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(*certificate)
                self.request = context.wrap_socket(self.request, server_side=True)
                continue
            self.request.sendall(b"250 " + line + b"\r\n")
            if line == b"QUIT":
                return

    def line(self):
        line = b""
        while not line.endswith(b"\r\n"):
            try:
                byte = self.request.recv(1)
            except ConnectionResetError:
                return None
            if not byte:
                return None
            line += byte
        return line[:-2]


socketserver.ThreadingTCPServer.allow_reuse_address = True
with socketserver.ThreadingTCPServer((sys.argv[1], int(sys.argv[2])), Handler) as server:
    server.daemon_threads = True
    print("ready", flush=True)
    server.serve_forever()
