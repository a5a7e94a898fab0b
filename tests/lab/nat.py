"""Two hosts, each behind a NAT of a chosen kind, and a public host that both reach.

    host 10.1.0.2 ── 10.1.0.1 nat 203.0.113.11 ──┐
                                                 ├── bridge: public host 203.0.113.100 and 203.0.113.101
    host 10.2.0.2 ── 10.2.0.1 nat 203.0.113.12 ──┘

A host of the kind `none` has no NAT: it is on the bridge itself, with the address of its side.
"""
import select
import socket
import time

from .world import Laboratory

PUBLIC_IP, PUBLIC_IP_2 = "203.0.113.100", "203.0.113.101"
# RFC 4787's words for what each kind does: the mapping (EIM: one port for all destinations; APDM: another port for each
# destination) and the filter of incoming packets (EIF: none; ADF: addresses sent to; APDF: addresses and ports sent to).
BEHAVIOUR = {"none": ("EIM", "EIF"), "full": ("EIM", "EIF"), "addr": ("EIM", "ADF"), "port": ("EIM", "APDF"),
             "sym": ("APDM", "APDF")}
PUNCHABLE = [("full", "full"), ("addr", "addr"), ("port", "port"), ("addr", "port"), ("full", "sym"), ("addr", "sym")]
NOT_PUNCHABLE = [("port", "sym"), ("sym", "sym")]

_MASQUERADE = """
  chain source {
    type nat hook postrouting priority 100
    oifname wan masquerade
  }
"""
# Linux filters like APDF by itself: only the exact reverse of a known flow comes in. The wider kinds need a port forward
# that follows the host's own packets; masquerade keeps the port of a single host, so the map goes from port to host.
_CONE = """
  map cone {
    type inet_service : ipv4_addr . inet_service
    flags dynamic,timeout
    timeout 120s
    size 65536
  }
"""
_KINDS = {
    "port": _MASQUERADE,
    "sym": """
  chain source {
    type nat hook postrouting priority 100
    oifname wan meta l4proto { tcp, udp } masquerade random,fully-random
    oifname wan masquerade
  }
""",
    "full": _CONE + _MASQUERADE + """
  chain learn {
    type filter hook forward priority -10
    oifname wan meta l4proto udp update @cone { udp sport : ip saddr . udp sport }
  }
  chain destination {
    type nat hook prerouting priority -100
    iifname wan meta l4proto udp dnat ip to udp dport map @cone
  }
""",
    "addr": _CONE + _MASQUERADE + """
  set contacted {
    type ipv4_addr . inet_service
    flags dynamic,timeout
    timeout 120s
    size 65536
  }
  chain learn {
    type filter hook forward priority -10
    oifname wan meta l4proto udp update @cone { udp sport : ip saddr . udp sport }
    oifname wan meta l4proto udp update @contacted { ip daddr . udp sport }
  }
  chain destination {
    type nat hook prerouting priority -100
    iifname wan meta l4proto udp ip saddr . udp dport @contacted dnat ip to udp dport map @cone
  }
""",
}
# The input hook matters: without it an early packet of the peer makes a conntrack entry that ends at the NAT itself, and
# occupies the tuple which the host's own packet to the peer needs. Two `port` NATs would then never be punched.
_FILTER = """
table ip guard {
  chain forward {
    type filter hook forward priority 0; policy drop
    ct state established,related accept
    ct status dnat accept
    iifname lan accept
  }
  chain input {
    type filter hook input priority 0
    iifname wan ct state new meta l4proto { tcp, udp } drop
  }
}
"""
# Before conntrack, so what is dropped here leaves no trace in the NAT.
_FAULTS = """
table ip faults {
  chain arrive {
    type filter hook prerouting priority raw - 10
  }
}
"""


class Side:
    """One host and its way to the public segment; `gateway` is the namespace with the public address."""

    def __init__(self, number, kind, host, gateway):
        self.kind, self.host, self.gateway = kind, host, gateway
        self.public_ip = f"203.0.113.{10 + number}"
        self.host_ip = self.public_ip if kind == "none" else f"10.{number}.0.2"
        self.router_ip = f"10.{number}.0.1"


class NatLaboratory(Laboratory):
    def __init__(self, kind_a, kind_b):
        names = ["public", "a", "b", *(f"nat-{name}" for name, kind in (("a", kind_a), ("b", kind_b)) if kind != "none")]
        super().__init__(*names)
        space = {namespace.name: namespace for namespace in self.namespaces}
        self.public = space["public"]
        self.a = Side(1, kind_a, space["a"], space.get("nat-a", space["a"]))
        self.b = Side(2, kind_b, space["b"], space.get("nat-b", space["b"]))
        self.public.ip("link add bridge type bridge")
        self.public.ip(f"addr add {PUBLIC_IP}/24 dev bridge")
        self.public.ip(f"addr add {PUBLIC_IP_2}/24 dev bridge")
        self.public.ip("link set bridge up")
        for side in (self.a, self.b):
            self._attach(side)

    def _attach(self, side):
        port = f"to-{side.host.name}"
        side.gateway.link("wan", f"{side.public_ip}/24", self.public, port)
        self.public.ip(f"link set {port} master bridge")
        links = [(side.gateway, "wan"), (self.public, port)]
        if side.kind != "none":
            side.gateway.link("lan", f"{side.router_ip}/24", side.host, "eth0", f"{side.host_ip}/24")
            side.host.ip(f"route add default via {side.router_ip}")
            side.gateway.sysctl("net.ipv4.ip_forward", 1)
            side.gateway.run("nft", "-f", "-", input=f"table ip kind {{{_KINDS[side.kind]}}}\n{_FILTER}")
            links += [(side.gateway, "lan"), (side.host, "eth0")]
        side.gateway.run("nft", "-f", "-", input=_FAULTS)
        for namespace, device in links:
            # A batch that a socket sends at once is a packet for each datagram here, so that sizes are what they seem.
            namespace.ip(f"link set {device} gso_max_segs 1")

    # --- faults of the network between the hosts

    def _faults(self, side, rules):
        side.gateway.run("nft", "-f", "-", input=f"flush chain ip faults arrive\n{rules}")

    def block_direct(self):
        """No UDP between the two sides any more, while both still reach the public host."""
        for side, other in ((self.a, self.b), (self.b, self.a)):
            self._faults(side, f"add rule ip faults arrive iifname wan ip saddr {other.public_ip} meta l4proto udp drop\n")

    def blackhole(self, size):
        """UDP packets longer than `size` (IP header included) disappear without an ICMP message."""
        for side in (self.a, self.b):
            self._faults(side, f"add rule ip faults arrive iifname wan meta l4proto udp meta length > {size} drop\n")

    def restore(self):
        """Undoes block_direct() and blackhole()."""
        for side in (self.a, self.b):
            self._faults(side, "")

    def set_mtu(self, side, mtu):
        """The MTU of a side's link to the public segment; a NAT answers larger packets by ICMP, as a router does."""
        side.gateway.ip(f"link set wan mtu {mtu}")
        self.public.ip(f"link set to-{side.host.name} mtu {mtu}")

    # --- measurements, for the laboratory's own tests

    def socket(self, namespace, ip, port=0):
        with namespace.entered():
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((ip, port))
        sock.settimeout(0.25)
        self.cleanups.append(sock.close)
        return sock

    def classify(self, side):
        """(mapping, filtering) of a side's NAT, in the words of BEHAVIOUR."""
        inside = self.socket(side.host, side.host_ip)
        first = self.socket(self.public, PUBLIC_IP)
        other_port = self.socket(self.public, PUBLIC_IP)
        other_address = self.socket(self.public, PUBLIC_IP_2)
        mapped = _seen_by(inside, first)
        # The filter first: the host has sent to no other address yet.
        passes_port = _passes(other_port, mapped, inside)
        passes_address = _passes(other_address, mapped, inside)
        assert _passes(first, mapped, inside), "the answer of the host that was sent to comes through every NAT"
        same = _seen_by(inside, other_port) == mapped and _seen_by(inside, other_address) == mapped
        return "EIM" if same else "APDM", "EIF" if passes_address else "ADF" if passes_port else "APDF"

    def punch(self, rounds=10):
        """Hole punching by two sockets that know each other's mapped address: the number of rounds it took, or None."""
        ends = {self.socket(side.host, side.host_ip): None for side in (self.a, self.b)}
        public = self.socket(self.public, PUBLIC_IP)
        a, b = ends
        target = {b: _seen_by(a, public), a: _seen_by(b, public)}
        target = {a: target[a], b: target[b]}
        reached = set()
        for number in range(1, rounds + 1):
            for end in ends:
                end.sendto(b"punch", target[end])
            deadline = time.monotonic() + 0.05
            while (left := deadline - time.monotonic()) > 0:
                for end in select.select(list(ends), [], [], left)[0]:
                    _, target[end] = end.recvfrom(64)  # the peer may have another port towards us than towards the public
                    reached.add(end)
            if len(reached) == 2:
                return number
        return None


def _seen_by(sender, receiver):
    sender.sendto(b"who am I", receiver.getsockname())
    return receiver.recvfrom(64)[1]


def _passes(sender, address, receiver):
    sender.sendto(b"knock", address)
    try:
        return bool(receiver.recvfrom(64))
    except TimeoutError:
        return False
