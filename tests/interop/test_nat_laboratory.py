"""Checks of the NAT laboratory itself: its NATs behave as their kinds, and its faults drop what they should."""
import pytest
from lab.nat import BEHAVIOUR, NOT_PUNCHABLE, PUBLIC_IP, PUNCHABLE, NatLaboratory


@pytest.fixture
def laboratory(request):
    laboratory = NatLaboratory(*request.param)
    try:
        yield laboratory
    finally:
        laboratory.close()


def of_kinds(*pairs):
    return pytest.mark.parametrize("laboratory", pairs, indirect=True, ids="-".join)


@of_kinds(("none", "full"), ("addr", "port"), ("sym", "port"))
def test_each_nat_behaves_as_its_kind(laboratory):
    for side in (laboratory.a, laboratory.b):
        assert laboratory.classify(side) == BEHAVIOUR[side.kind], side.kind


@of_kinds(*PUNCHABLE)
def test_hole_punching_works(laboratory):
    assert laboratory.punch()


@of_kinds(*NOT_PUNCHABLE)
def test_hole_punching_fails(laboratory):
    assert laboratory.punch() is None


@of_kinds(("port", "port"), ("none", "addr"))
def test_only_the_direct_path_is_blocked(laboratory):
    laboratory.block_direct()
    assert laboratory.punch(rounds=4) is None  # punch() needs the public host
    laboratory.restore()
    assert laboratory.punch()


@of_kinds(("port", "port"))
def test_a_black_hole_drops_by_size(laboratory):
    inside = laboratory.socket(laboratory.a.host, laboratory.a.host_ip)
    public = laboratory.socket(laboratory.public, PUBLIC_IP)
    laboratory.blackhole(1228)
    inside.sendto(b"x", public.getsockname())
    mapped = public.recvfrom(64)[1]
    public.sendto(bytes(1200), mapped)
    public.sendto(bytes(1201), mapped)
    assert len(inside.recvfrom(2000)[0]) == 1200
    with pytest.raises(TimeoutError):
        inside.recvfrom(2000)
