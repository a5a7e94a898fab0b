"""A name server of the tests, and the files by which programs find names."""
import os
import socket
import struct
import subprocess
import threading
from collections import Counter

TYPES = {"A": 1, "AAAA": 28}
FAMILIES = {"A": socket.AF_INET, "AAAA": socket.AF_INET6}
SILENT = object()  # in place of a list of addresses: questions are taken and not answered


def question_of(query):
    """(name, type number, the question's own bytes)."""
    labels, at = [], 12
    while length := query[at]:
        labels.append(query[at + 1:at + 1 + length].decode().lower())
        at += 1 + length
    return ".".join(labels), struct.unpack_from(">H", query, at + 1)[0], query[12:at + 5]


class NameServer:
    """UDP port 53 of a namespace's loopback. `records` is {name: {"A": [address], "AAAA": SILENT}} and may be changed at any
    time; a type that is left out has no record, a name that is left out does not exist. `ttl` is that of every answer."""
    ADDRESS = "127.0.0.1"

    def __init__(self, namespace, records, ttl=1):
        self.records, self.ttl, self._asked = records, ttl, Counter()
        with namespace.entered():
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((self.ADDRESS, 53))
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def asked(self, name, kind="A"):
        """How often this question has come."""
        return self._asked[name, kind]

    def _serve(self):
        while True:
            query, client = self.socket.recvfrom(4096)
            if not query:
                return
            name, number, question = question_of(query)
            kind = {value: key for key, value in TYPES.items()}.get(number)
            self._asked[name, kind] += 1
            known = self.records.get(name)
            addresses = (known or {}).get(kind, [])
            if addresses is SILENT:
                continue
            missing = 3 if known is None else 0
            answer = query[:2] + struct.pack(">HHHHH", 0x8580 | missing, 1, len(addresses), 0, 0) + question
            for address in addresses:
                data = socket.inet_pton(FAMILIES[kind], address)
                answer += b"\xc0\x0c" + struct.pack(">HHIH", number, 1, self.ttl, len(data)) + data
            self.socket.sendto(answer, client)

    def close(self):
        self.socket.sendto(b"", self.socket.getsockname())
        self.thread.join(10)
        self.socket.close()


def mount_over(laboratory, path, text):
    """Gives /etc/hosts or /etc/resolv.conf this text until the laboratory is closed; the file to write later changes to. The
    mount is in the mount namespace of tests/run, seen by nobody else."""
    file = laboratory.directory / os.path.basename(path)
    file.write_text(text)
    subprocess.run(["mount", "--bind", file, path], check=True)
    laboratory.cleanups.append(lambda: subprocess.run(["umount", path], check=True))
    return file


def use_name_server(laboratory, namespace, records, options="", ttl=1):
    """A NameServer in `namespace`, which every program of the laboratory asks."""
    mount_over(laboratory, "/etc/resolv.conf", f"nameserver {NameServer.ADDRESS}\n{f'options {options}' if options else ''}\n")
    server = NameServer(namespace, records, ttl)
    laboratory.cleanups.append(server.close)
    return server
