"""Network namespaces without names: a descriptor keeps one alive, a thread enters it, children inherit it.

Works the same for root and inside a user namespace (tests/run makes one), needs no helper process and leaves
nothing behind: when this process and its children are gone, so are the namespaces and the links in them.
"""
import ctypes
import os
import subprocess
import threading
from contextlib import contextmanager

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
_CLONE_NEWNS = 0x00020000


def _call(name, *args):
    if getattr(_libc, name)(*args) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")


def own_mounts():
    """What this thread and its children mount from now on is seen by nobody else."""
    _call("unshare", _CLONE_NEWNS)


def _current():
    return os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY | os.O_CLOEXEC)


class Namespace:
    def __init__(self, name):
        self.name = name
        before = _current()
        _call("unshare", _CLONE_NEWNET)
        self.fd = _current()
        _call("setns", before, _CLONE_NEWNET)
        os.close(before)
        self.run("ip", "link", "set", "lo", "up")

    @contextmanager
    def entered(self):
        """The calling thread's new sockets, threads and child processes belong to this namespace meanwhile."""
        before = _current()
        _call("setns", self.fd, _CLONE_NEWNET)
        try:
            yield
        finally:
            _call("setns", before, _CLONE_NEWNET)
            os.close(before)

    def run(self, *argv, **kwargs):
        """A command in this namespace, to its end; CalledProcessError carries what it said."""
        kwargs = {"check": True, "text": True, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | kwargs
        with self.entered():
            try:
                return subprocess.run(argv, **kwargs)
            except subprocess.CalledProcessError as error:
                error.add_note(f"in namespace {self.name}: {error.stderr}")
                raise

    def ip(self, text):
        self.run("ip", *text.split())

    def sysctl(self, key, value):
        path = "/proc/sys/" + key.replace(".", "/")
        with self.entered(), open(path, "w") as knob:
            knob.write(str(value))

    def link(self, device, address, other, other_device, other_address=None):
        """A veth pair with MTU 1500 from here to `other`; the port of a bridge has no address."""
        self.ip(f"link add {device} mtu 1500 type veth peer name {other_device} mtu 1500 "
                f"netns /proc/{os.getpid()}/fd/{other.fd}")
        for namespace, name, ip in ((self, device, address), (other, other_device, other_address)):
            if ip:
                namespace.ip(f"addr add {ip} dev {name}")
            namespace.ip(f"link set {name} up")

    def close(self):
        os.close(self.fd)
