"""Processes that are started, watched and ended by pid."""
import os
import re
import signal
import subprocess
import time

# Deadlines are for hanging, not for speed: they are multiplied by this where everything is slower (sanitizers).
PATIENCE = float(os.environ.get("CULVERT_TEST_PATIENCE", "1"))
# What no log of ours may hold: a sanitizer's report, a broken CHECK, an escaped exception.
BUG = re.compile(r"Sanitizer|runtime error:|culvert: bug at|terminate called|Segmentation fault")


def wait_until(condition, what, timeout=20.0, interval=0.02):
    """Polls until `condition()` is truthy and returns that."""
    deadline = time.monotonic() + timeout * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {timeout * PATIENCE:g} s still not: {what}")
        time.sleep(interval)


class Process:
    """One process in a namespace; stdout and stderr go to files of their own. Dies with us."""

    def __init__(self, name, argv, namespace, directory, env=None):
        self.name, self.argv = name, [str(arg) for arg in argv]
        self.expected_end = False
        self.stdout_path, self.stderr_path = directory / f"{name}.out", directory / f"{name}.err"
        self.started_at = time.monotonic()
        with namespace.entered(), open(self.stdout_path, "ab") as out, open(self.stderr_path, "ab") as err:
            self.popen = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *self.argv], stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                env={**os.environ, **(env or {})})
        self.pid = self.popen.pid

    @property
    def stdout(self):
        return self.stdout_path.read_text(errors="replace")

    @property
    def log(self):
        return self.stderr_path.read_text(errors="replace")

    def alive(self):
        return self.popen.poll() is None

    def wait_for(self, pattern, timeout=20.0, stream="log", count=1):
        """The match of `pattern` in the log (or stdout), at least `count` times."""
        def look():
            ended = not self.alive()
            found = list(re.finditer(pattern, getattr(self, stream), re.MULTILINE))
            if len(found) >= count:
                return found[-1]
            if ended:
                raise AssertionError(f"{self.name} ended with {self.popen.returncode} before it said {pattern!r}")
        return wait_until(look, f"{self.name} says {pattern!r}", timeout)

    def signal(self, number):
        self.expected_end = True
        if self.alive():
            self.popen.send_signal(number)

    def wait(self, timeout=20.0):
        """The exit status."""
        self.expected_end = True
        return self.popen.wait(timeout * PATIENCE)

    def stop(self, timeout=20.0):
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self):
        self.signal(signal.SIGKILL)
        return self.wait()

    def rss(self):
        """Resident memory in bytes."""
        with open(f"/proc/{self.pid}/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS:"))

    def cpu_seconds(self):
        with open(f"/proc/{self.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def faults(self):
        """What a finished test must not find in this process."""
        found = BUG.search(self.log)
        if found:
            return f"{self.name}: {found.group(0)!r} in its log"
        if not self.alive() and not self.expected_end:
            return f"{self.name} ended by itself with status {self.popen.returncode}"
        return None
