import pytest
from lab import peers, require_namespaces
from lab.iroh import MODULES, PEER, Pair


def pytest_configure(config):
    config.addinivalue_line("markers", "nat: needs the peers of tests/interop/rust, and takes minutes (scripts/interop)")
    require_namespaces()
    if not PEER.exists():
        pytest.exit(f"no program at {PEER}: build the target interop_peer, or set CULVERT_PEER", returncode=2)


@pytest.fixture
def pair():
    if not MODULES.exists():
        pytest.fail(f"no iroh in {MODULES}: run tests/interop/install")
    pair = Pair()
    try:
        yield pair
        faults = pair.faults()
        assert not faults, "\n".join(faults)
    finally:
        pair.close()


@pytest.fixture
def relayed():
    """Makes the laboratory of two NATs of the given kinds, with a relay."""
    if not peers.built():
        pytest.skip(f"no peers in {peers.RUST}: run scripts/interop")
    made = []

    def make(kind_a, kind_b):
        made.append(peers.Relayed(kind_a, kind_b))
        # A failed test shows the logs of these.
        make.processes = made[0].processes
        return made[0]
    try:
        yield make
        faults = [fault for laboratory in made for fault in laboratory.faults()]
        assert not faults, "\n".join(faults)
    finally:
        for laboratory in made:
            laboratory.close()
