"""What a failed test shows: the logs of every process it started; and several tests at once (-n 2)."""
import pytest
from lab.netns import own_mounts


def pytest_configure(config):
    # Tests mount over /etc/hosts and /etc/resolv.conf. Their networks are their own anyhow.
    if hasattr(config, "workerinput"):
        own_mounts()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if not report.failed:
        return
    item.failed = True
    for fixture in getattr(item, "funcargs", {}).values():
        for process in [*getattr(fixture, "processes", []), *getattr(fixture, "successors", [])]:
            for stream in ("log", "stdout"):
                try:
                    text = getattr(process, stream)
                except OSError:
                    continue  # the directory went with the fixture
                if text:
                    report.sections.append((f"{process.name} {stream}", text[-6000:]))
