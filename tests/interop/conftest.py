import pytest
from lab import require_namespaces
from lab.iroh import MODULES, PEER, Pair


def pytest_configure():
    require_namespaces()
    if not PEER.exists():
        pytest.exit(f"no program at {PEER}: build the target interop_peer, or set CULVERT_PEER", returncode=2)
    if not MODULES.exists():
        pytest.exit(f"no iroh in {MODULES}: run tests/interop/install", returncode=2)


@pytest.fixture
def pair():
    pair = Pair()
    try:
        yield pair
        faults = pair.faults()
        assert not faults, "\n".join(faults)
    finally:
        pair.close()
