"""A TCP origin without TLS of its own, so that bulk figures show the tunnel and not a cipher.

A client sends one TLS record (the ClientHello that routed it) and a count of eight bytes; it gets that many bytes and
the end. A count of 2^62 gets one byte and silence until the client leaves.
"""
import socket
import sys
import threading

IDLE = 1 << 62
BLOCK = b"x" * (1 << 20)


def receive_exactly(sock, count):
    data = b""
    while len(data) < count:
        part = sock.recv(count - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def serve(sock):
    with sock:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            receive_exactly(sock, int.from_bytes(receive_exactly(sock, 5)[3:], "big"))
            count = int.from_bytes(receive_exactly(sock, 8), "big")
            if count == IDLE:
                sock.sendall(b"i")
                sock.recv(1)
                return
            while count:
                sock.sendall(memoryview(BLOCK)[:count])
                count -= min(count, len(BLOCK))
        except (OSError, EOFError):
            pass


threading.stack_size(128 * 1024)
with socket.create_server(("0.0.0.0", int(sys.argv[1])), backlog=4096) as listener:
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
