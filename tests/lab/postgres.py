"""PostgreSQL of Debian's package, in a directory of its own, on a unix socket that every namespace reaches."""
import contextlib
import os
import pwd
import signal
import subprocess
import time
from pathlib import Path


def binaries():
    """The directory of its programs; None: the package is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


class Postgres:
    def __init__(self, directory):
        self.directory, self.process = Path(directory) / "postgres", None
        self.directory.mkdir(mode=0o755)
        self.user = "postgres" if os.geteuid() == 0 else None
        if self.user:
            Path(directory).chmod(0o755)
            entry = pwd.getpwnam(self.user)
            os.chown(self.directory, entry.pw_uid, entry.pw_gid)
        subprocess.run([*self._prefix(), binaries() / "initdb", "-D", self.directory / "data", "-U", "culvert", "-A", "trust", "-E", "UTF8",
                        "--locale=C", "--no-sync"], check=True, capture_output=True, cwd="/")
        self.url = f"postgres://culvert@/postgres?host={self.directory}"

    def _prefix(self):
        return ["setpriv", "--reuid", self.user, "--regid", self.user, "--clear-groups"] if self.user else []

    def start(self):
        self.process = subprocess.Popen(
            [*self._prefix(), binaries() / "postgres", "-D", self.directory / "data", "-k", self.directory, "-c", "listen_addresses=",
             "-c", "fsync=off"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
        deadline = time.monotonic() + 30
        while not (self.directory / ".s.PGSQL.5432").exists():
            assert time.monotonic() < deadline, "PostgreSQL does not start"
            time.sleep(0.05)

    def _signal(self, number):
        """To all of the server's processes, the postmaster first: once it stands still there are no new ones. One that has ended needs none."""
        self.process.send_signal(number)
        for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), number)

    def freeze(self):
        """It neither answers nor closes anything, as a host that has lost its disk or its network."""
        self._signal(signal.SIGSTOP)

    def thaw(self):
        self._signal(signal.SIGCONT)

    def stop(self, how=signal.SIGQUIT):
        if self.process:
            self.process.send_signal(how)
            self.process.wait(30)
            self.process = None
