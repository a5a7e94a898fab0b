import pytest
from lab import require_namespaces
from lab.world import BINARY, World


def pytest_configure(config):
    config.addinivalue_line("markers", "smoke: also run against the sanitizer build")
    require_namespaces()
    if not BINARY.exists():
        pytest.exit(f"no program at {BINARY}: build it, or set CULVERT_BIN", returncode=2)


@pytest.fixture
def world(request):
    world = World()
    try:
        yield world
        # What a failed test left in the middle of something proves nothing.
        if not getattr(request.node, "failed", False):
            faults = world.faults()
            assert not faults, "\n".join(faults)
    finally:
        world.close()
