"""What a failed test shows: the logs of every process it started."""
import pytest


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if not report.failed:
        return
    item.failed = True
    for fixture in getattr(item, "funcargs", {}).values():
        for process in getattr(fixture, "processes", []):
            for stream in ("log", "stdout"):
                try:
                    text = getattr(process, stream)
                except OSError:
                    continue  # the directory went with the fixture
                if text:
                    report.sections.append((f"{process.name} {stream}", text[-6000:]))
