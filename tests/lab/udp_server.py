"""A UDP server that answers each datagram with the same.

    python3 udp_server.py ADDRESS PORT [--proxy | --sink]

With --proxy the first datagram of each peer begins with a PROXY protocol header (version 2, DGRAM), which is taken off; the
answer to "who" names the client there. With --sink it answers nothing; "report" is answered with how many came before.
"""
import socket
import struct
import sys

family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
server = socket.socket(family, socket.SOCK_DGRAM)
server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
server.bind((sys.argv[1], int(sys.argv[2])))
wants_proxy, is_sink = "--proxy" in sys.argv, "--sink" in sys.argv
clients, count = {}, 0
print("ready", flush=True)
while True:
    data, peer = server.recvfrom(65535)
    if is_sink:
        if data == b"report":
            server.sendto(b"%d" % count, peer)
        count += 1
        continue
    if wants_proxy and peer not in clients:
        assert data[:12] == b"\r\n\r\n\0\r\nQUIT\n" and data[12] == 0x21 and data[13] == 0x12, data[:16]
        length, = struct.unpack(">H", data[14:16])
        ip, port = socket.inet_ntoa(data[16:20]), struct.unpack(">H", data[24:26])[0]
        to, to_port = socket.inet_ntoa(data[20:24]), struct.unpack(">H", data[26:28])[0]
        clients[peer] = f"{ip}:{port} to {to}:{to_port}".encode()
        data = data[16 + length:]
    server.sendto(clients[peer] if wants_proxy and data == b"who" else data, peer)
