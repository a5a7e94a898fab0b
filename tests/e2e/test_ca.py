"""`culvert ca serve` with another's client, and `culvert ca trust`."""
import os
import pty
import shutil
import subprocess

import pytest
from lab import culvert_ca, pebble
from lab.names import use_name_server
from lab.process import PATIENCE, wait_until
from lab.world import BINARY, CLEAN_ENV, NODE_IP

CERTBOT = shutil.which("certbot")
NAME = "certbot.example.test"


@pytest.fixture
def ca(world):
    world.records = {name: {"A": [NODE_IP]} for name in (NAME, pebble.NAME)}
    use_name_server(world, world.public, world.records)
    return culvert_ca.CulvertCa(world, world.public, NODE_IP)


def certbot(world, ca, *arguments):
    directories = [word for kind in ("config", "work", "logs") for word in (f"--{kind}-dir", world.directory / f"certbot-{kind}")]
    with world.public.entered():
        return subprocess.run(["certbot", *map(str, arguments), *map(str, directories), "--server", ca.directory_url, "--non-interactive"],
                              env={**CLEAN_ENV, "REQUESTS_CA_BUNDLE": str(ca.roots())}, text=True, capture_output=True,
                              stdin=subprocess.DEVNULL, timeout=120 * PATIENCE)


@pytest.mark.skipif(CERTBOT is None, reason="certbot (Debian's package certbot) is not installed")
def test_certbot_gets_renews_and_revokes_a_certificate(world, ca):
    ca.start()
    # Its account has an RSA key.
    got = certbot(world, ca, "certonly", "--standalone", "--http-01-address", NODE_IP, "--agree-tos", "--email", "admin@example.test",
                  "--no-eff-email", "--key-type", "rsa", "--domain", NAME)
    assert got.returncode == 0, got.stdout + got.stderr + ca.process.log
    live = world.directory / "certbot-config/live" / NAME
    verified = subprocess.run(["openssl", "verify", "-x509_strict", "-CAfile", ca.roots(), "-verify_hostname", NAME, live / "cert.pem"],
                              text=True, capture_output=True)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    first = (live / "cert.pem").read_text()
    # A restart forgets neither the account nor what was issued.
    assert ca.process.stop() == 0
    ca.start()
    renewed = certbot(world, ca, "renew", "--force-renewal", "--no-random-sleep-on-renew", "--key-type", "ecdsa")
    assert renewed.returncode == 0, renewed.stdout + renewed.stderr + ca.process.log
    assert (live / "cert.pem").read_text() != first
    revoked = certbot(world, ca, "revoke", "--cert-path", live / "cert.pem", "--reason", "keycompromise", "--no-delete-after-revoke")
    assert revoked.returncode == 0, revoked.stdout + revoked.stderr
    ca.process.wait_for(rf'event=ca_certificate_revoked names="{NAME}"')


@pytest.mark.skipif(CERTBOT is None, reason="certbot (Debian's package certbot) is not installed")
def test_a_name_that_does_not_lead_to_the_client_gets_none(world, ca):
    world.records[NAME] = {"A": ["203.0.113.99"]}
    ca.start()
    got = certbot(world, ca, "certonly", "--standalone", "--agree-tos", "--register-unsafely-without-email", "--domain", NAME)
    assert got.returncode != 0
    said = ca.process.wait_for(rf'event=ca_challenge_invalid name="{NAME}" type=http-01.*').group(0)
    assert "203.0.113.99" in said, said


def test_it_tells_how_it_is_used_and_ends_at_sigterm(world, ca):
    ca.start()
    shown = wait_until(lambda: "ca trust" in ca.process.stdout and ca.process.stdout, "it has told all")
    assert f"ACME directory: {ca.directory_url}" in shown and "certbot certonly" in shown, shown
    second = world.culvert("ca", "serve", "--data-dir", ca.data_dir, "--listen", f"{NODE_IP}:14001", "--name", pebble.NAME)
    assert second.returncode == 1 and "another `culvert ca serve`" in second.stderr, second.stderr
    nameless = world.culvert("ca", "serve", "--data-dir", ca.data_dir, "--listen", "0.0.0.0:14001")
    assert nameless.returncode == 2 and "--name" in nameless.stderr, nameless.stderr
    assert ca.process.stop() == 0
    assert (ca.data_dir / "ca.key").stat().st_mode & 0o777 == 0o600


def in_private_system(world, script, **kwargs):
    """A script in a mount namespace whose roots of the system are copies."""
    certificates, added = world.directory / "system-certs", world.directory / "system-added"
    if not certificates.exists():
        shutil.copytree("/etc/ssl/certs", certificates, symlinks=True)
        added.mkdir()
    mounts = f"mount --bind {certificates} /etc/ssl/certs && mount --bind {added} /usr/local/share/ca-certificates && "
    with world.public.entered():
        return subprocess.run(["unshare", "--mount", "sh", "-c", mounts + script], text=True, capture_output=True, env=CLEAN_ENV,
                              timeout=120 * PATIENCE, **{"stdin": subprocess.DEVNULL, **kwargs})


@pytest.mark.skipif(not os.path.isdir("/usr/local/share/ca-certificates"), reason="this system is not like Debian")
def test_a_root_is_trusted_and_taken_back(world, ca):
    ca.start()
    fingerprint = subprocess.run(["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", ca.data_dir / "ca.pem"], text=True,
                                 capture_output=True, check=True).stdout.strip().split("=")[1]
    trust = f"{BINARY} ca trust --url {ca.directory_url}"
    curl = f"curl --silent --show-error --noproxy '*' --output /dev/null {ca.directory_url}"

    unasked = in_private_system(world, f"{trust}")
    assert unasked.returncode == 1 and "--yes" in unasked.stderr and "nothing was done" in unasked.stderr, unasked.stderr
    assert fingerprint in unasked.stdout and "run /usr/sbin/update-ca-certificates" in unasked.stdout, unasked.stdout
    blind = in_private_system(world, f"{trust} --yes")
    assert blind.returncode == 2 and "--fingerprint" in blind.stderr, blind.stderr
    other = in_private_system(world, f"{trust} --yes --fingerprint {'ab' * 32}")
    assert other.returncode == 1 and "do not trust it" in other.stderr, other.stderr
    assert not list((world.directory / "system-added").iterdir())

    trusted = in_private_system(world, f"{trust} --yes --fingerprint {fingerprint} && {curl}")
    assert trusted.returncode == 0, trusted.stdout + trusted.stderr
    added = list((world.directory / "system-added").iterdir())
    assert len(added) == 1 and added[0].read_text() == ca.root()
    assert f"write this certificate to /usr/local/share/ca-certificates/{added[0].name}" in trusted.stdout
    removed = in_private_system(world, f"{BINARY} ca trust --data-dir {ca.data_dir} --remove --yes && ! {curl}")
    assert removed.returncode == 0, removed.stdout + removed.stderr
    assert not list((world.directory / "system-added").iterdir())


@pytest.mark.skipif(not os.path.isdir("/usr/local/share/ca-certificates"), reason="this system is not like Debian")
@pytest.mark.parametrize("answer", ["no", "y"])
def test_somebody_at_a_terminal_is_asked(world, ca, answer):
    ca.start()
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    done = in_private_system(world, f"{BINARY} ca trust --root {ca.data_dir / 'ca.pem'}", stdin=theirs)
    os.close(ours), os.close(theirs)
    assert "Continue? [y/N]" in done.stdout, done.stdout + done.stderr
    assert done.returncode == (0 if answer == "y" else 1), done.stdout + done.stderr
    assert len(list((world.directory / "system-added").iterdir())) == (1 if answer == "y" else 0)


@pytest.mark.skipif(os.geteuid() != 0 or not os.path.isdir("/usr/local/share/ca-certificates"), reason="only root becomes another user")
def test_another_user_gets_the_line_for_root(world, ca):
    ca.start()
    root = ca.roots()
    root.chmod(0o644)
    world.directory.chmod(0o755)
    refused = in_private_system(world, f"setpriv --reuid 65534 --clear-groups {BINARY} ca trust --root {root} --data-dir /tmp --yes")
    assert refused.returncode == 1 and f"sudo culvert ca trust --root {root}" in refused.stderr, refused.stderr
