"""Raw clients and origins: sockets in a namespace, hand-made ClientHellos, TLS over any framing."""
import os
import socket
import ssl
import struct
import threading
from contextlib import contextmanager

from .process import PATIENCE
from .world import HOST, NODE_IP, NODE_TCP

PROXY_V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def client_hello(host=HOST, padding=0):
    """The body of a TLS 1.3 ClientHello handshake message, well-formed but of nobody's library."""
    def vector(width, data):
        return len(data).to_bytes(width, "big") + data

    def extension(kind, data):
        return struct.pack(">H", kind) + vector(2, data)

    name = host.encode()
    extensions = [
        extension(0, vector(2, b"\0" + vector(2, name))),                    # server_name
        extension(10, vector(2, bytes.fromhex("001d"))),                     # supported_groups: x25519
        extension(13, vector(2, bytes.fromhex("0403 0804"))),                # signature_algorithms
        extension(43, vector(1, bytes.fromhex("0304"))),                     # supported_versions: TLS 1.3
        extension(51, vector(2, bytes.fromhex("001d") + vector(2, os.urandom(32)))),  # key_share
    ]
    if padding:
        extensions.append(extension(21, b"\0" * padding))
    body = (bytes.fromhex("0303") + os.urandom(32) + vector(1, os.urandom(32)) + vector(2, bytes.fromhex("1301")) +
            vector(1, b"\0") + vector(2, b"".join(extensions)))
    return b"\x01" + vector(3, body)


def records(handshake, sizes=None):
    """The handshake message in TLS records of the given sizes; what is left goes into the last."""
    out, rest = b"", handshake
    for size in [*(sizes or []), len(handshake)]:
        part, rest = rest[:size], rest[size:]
        if part:
            out += b"\x16\x03\x01" + struct.pack(">H", len(part)) + part
    return out


def hello_record(host=HOST, padding=0):
    return records(client_hello(host, padding))


def connect(namespace, address=(NODE_IP, NODE_TCP), timeout=20.0, receive_buffer=None):
    with namespace.entered():
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.settimeout(timeout * PATIENCE)
    sock.connect(address)
    return sock


def receive_exactly(sock, count):
    data = b""
    while len(data) < count:
        part = sock.recv(min(count - len(data), 1 << 20))
        if not part:
            raise EOFError(f"stream ended after {len(data)} of {count} bytes: {data[:80]!r}")
        data += part
    return data


def receive_all(sock):
    """Everything to the clean end; ConnectionResetError where there is none."""
    parts = []
    while part := sock.recv(1 << 20):
        parts.append(part)
    return b"".join(parts)


def abort(sock):
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@contextmanager
def origin(namespace, port, handle):
    """A TCP origin in `namespace`: `handle(socket)` in a thread of its own for each connection. Yields the list of
    exceptions that handlers raised, for the test to look at."""
    with namespace.entered():
        listener = socket.create_server(("127.0.0.1", port), backlog=1024, reuse_port=False)
    errors = []

    def serve_one(sock):
        try:
            with sock:
                sock.settimeout(60 * PATIENCE)
                handle(sock)
        except Exception as error:  # noqa: BLE001 - shown by the test
            errors.append(error)

    def accept():
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve_one, args=(sock,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield errors
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def tls_origin(handle, pem, key):
    """Wraps a handler so that it gets a TLS socket."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)

    def serve(sock):
        with context.wrap_socket(sock, server_side=True) as tls:
            handle(tls)
    return serve


def read_proxy_v2(sock):
    """(source, destination, {tlv type: value}) of a PROXY v2 header."""
    head = receive_exactly(sock, 16)
    assert head[:12] == PROXY_V2_SIGNATURE, head
    command, family, length = head[12], head[13], int.from_bytes(head[14:], "big")
    body = receive_exactly(sock, length)
    assert command == 0x21 and family == 0x11, (command, family)
    source = (socket.inet_ntoa(body[:4]), int.from_bytes(body[8:10], "big"))
    destination = (socket.inet_ntoa(body[4:8]), int.from_bytes(body[10:12], "big"))
    tlvs, rest = {}, body[12:]
    while rest:
        size = int.from_bytes(rest[1:3], "big")
        tlvs[rest[0]] = rest[3:3 + size]
        rest = rest[3 + size:]
    return source, destination, tlvs


class FramedTls:
    """A TLS client whose bytes this test frames itself: the first flight may be cut in records and segments at will,
    and its sending half may end before its receiving half (which ssl.SSLSocket cannot do)."""

    def __init__(self, sock, host=HOST, context=None):
        context = context or insecure_context()
        self.sock, self.incoming, self.outgoing = sock, ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=host)

    def first_flight(self):
        """The ClientHello's handshake message, not sent yet."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        record = self.outgoing.read()
        assert record[0] == 22 and len(record) == 5 + int.from_bytes(record[3:5], "big")
        return record[5:]

    def handshake(self):
        self._pump(self.tls.do_handshake)

    def write(self, data):
        self._pump(lambda: self.tls.write(data))

    def read(self, size=65536):
        """b'' at close_notify; ssl.SSLEOFError or ConnectionResetError where the stream just stopped."""
        try:
            return self._pump(lambda: self.tls.read(size))
        except ssl.SSLZeroReturnError:
            return b""

    def finish(self):
        """close_notify and FIN; reading goes on."""
        try:
            self.tls.unwrap()
        except ssl.SSLError:
            pass  # the peer's close_notify is not there yet
        self.sock.sendall(self.outgoing.read())
        self.sock.shutdown(socket.SHUT_WR)

    def _pump(self, step):
        while True:
            try:
                result = step()
                self._flush()
                return result
            except ssl.SSLWantReadError:
                self._flush()
                data = self.sock.recv(65536)
                if data:
                    self.incoming.write(data)
                else:
                    self.incoming.write_eof()

    def _flush(self):
        data = self.outgoing.read()
        if data:
            self.sock.sendall(data)


def insecure_context():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
