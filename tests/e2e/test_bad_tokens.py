"""Damaged, missing and foreign tokens: a clear message, a non-zero status, and no secret repeated."""
import pytest
from lab.refusals import BAD_USAGE, SERVICES, UNPRIVILEGED, damaged_tokens, refused, valid_token
from lab.world import terminate


def test_nonsense_for_token_inspect(world):
    token = valid_token(world)
    pieces = [part for part in token.split(".") if len(part) > 30]
    path = world.directory / "token"
    for _, damaged in damaged_tokens(token):
        hidden = [piece for piece in pieces if piece in damaged]
        told = refused(world, "token", "inspect", f"--token={damaged}", says=["--token: ", "token"], secrets=hidden, status=BAD_USAGE)
        assert len(told) < 2000
    path.write_text(token[:-1])
    path.chmod(0o600)
    for file, says in ((path, str(path)), (world.directory / "none", "none"), (world.directory, str(world.directory))):
        refused(world, "token", "inspect", "--token-file", file, says=["--token-file", says], secrets=pieces, status=BAD_USAGE)
        refused(world, "token", "inspect", env={"CULVERT_TOKEN_FILE": str(file)}, says=["CULVERT_TOKEN_FILE", says], secrets=pieces,
                status=BAD_USAGE)
    for content in ("", "\n", "x" * 100_000):
        path.write_text(content)
        refused(world, "token", "inspect", "--token-file", path, says=["--token-file", str(path)], status=BAD_USAGE)
    for content, says in ((b"\xef\xbb\xbf" + token.encode(), "byte order mark"), (token.encode("utf-16"), "UTF-16"),
                          (f'"{token}"'.encode(), "quotes"), (f"'{token}'\n".encode(), "quotes")):
        path.write_bytes(content)
        refused(world, "token", "inspect", "--token-file", path, says=["--token-file", says], secrets=pieces, status=BAD_USAGE)
    path.write_text(token)
    path.chmod(0)
    refused(world, "token", "inspect", "--token-file", path, says=[str(path)], prefix=UNPRIVILEGED, status=BAD_USAGE)
    path.chmod(0o600)
    refused(world, "token", "inspect", "--token-file", path, env={"CULVERT_TOKEN": token}, says=["CULVERT_TOKEN", "--token-file"],
            secrets=pieces, status=BAD_USAGE)
    refused(world, "token", "inspect", says=["--token", "CULVERT_TOKEN", "invite create"], status=BAD_USAGE)
    assert path.read_text() == token
    assert world.culvert("token", "inspect", "--token-file", path).returncode == 0


@pytest.mark.smoke
def test_damaged_tokens_are_refused_without_repeating_them(world):
    token = valid_token(world)
    pieces = [part for part in token.split(".") if len(part) > 30]
    for what, damaged in damaged_tokens(token):
        hidden = [piece for piece in pieces if piece in damaged]
        told = refused(world, "agent", "--services", SERVICES, env={"CULVERT_TOKEN": damaged}, says=["token", "CULVERT_TOKEN"],
                       secrets=hidden, namespace=world.home)
        assert len(told) < 2000, what
    # Blanks around it are what copying does.
    agent = world.agent(f"  {token}\n", terminate(), ready=False)
    agent.wait_for(r"event=(edge_connected|lease_granted|ready)")


def test_a_missing_token_says_where_to_get_one(world):
    told = refused(world, "agent", "--services", SERVICES, namespace=world.home)
    assert "token" in told and ("CULVERT_TOKEN" in told or "--token" in told)


def test_missing_services_are_named(world):
    token = valid_token(world)
    refused(world, "agent", "--token", token, says=["service"], secrets=[token], namespace=world.home)
    refused(world, "agent", "--token", token, "--services", "[]", says=["service"], secrets=[token], namespace=world.home)


def test_a_token_of_another_hub_is_not_trusted(world):
    """The hub's key is in the token: another key at the hub's address is refused."""
    world.nginx()
    node = world.node()
    token = world.invite(node)
    node.stop()
    other = world.node(data_dir=world.directory / "other")
    agent = world.agent(token, terminate(), ready=False)
    agent.wait_for(r"event=(hub_unreachable|refused) .*another hub or server answers there.*new tokens")
    assert "event=lease_granted" not in agent.log
    assert other.alive()
    told = refused(world, "http", "3000", "--token", token, env={"XDG_CONFIG_HOME": str(world.directory / "config")},
                   says=["another hub or server answers there", "new tokens"], namespace=world.home)
    assert "unrecognized" not in told
