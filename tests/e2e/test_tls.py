"""What the edge's own TLS offers and refuses: the checks that testssl.sh makes, by OpenSSL's client."""
import re
import socket
import ssl
import subprocess

import pytest
from lab import wire
from lab.world import CLEAN_ENV, HOST, NODE_IP, terminate



@pytest.fixture
def served(world):
    world.nginx()
    world.agent(world.invite(world.node("--workers", "2")), terminate())
    return world


def s_client(world, *options, say="", host=HOST):
    with world.client.entered():
        done = subprocess.run(["openssl", "s_client", "-connect", f"{NODE_IP}:443", "-servername", host, *options], input=say, text=True,
                              capture_output=True, env=CLEAN_ENV, timeout=30)
    return done.stdout + done.stderr


def is_served(text):
    return "Cipher is (NONE)" not in text and "New, " in text or "Reused, " in text


@pytest.mark.smoke
@pytest.mark.parametrize("protocol", ["-tls1", "-tls1_1"])
def test_old_protocols_are_refused(served, protocol):
    assert not is_served(s_client(served, protocol, "-cipher", "ALL:@SECLEVEL=0"))


@pytest.mark.parametrize("ciphers", ["NULL", "aNULL", "EXPORT", "RC4", "3DES", "kRSA", "kDHE", "SHA1", "AES256-SHA256:ECDHE-ECDSA-AES256-SHA384",
                                     "PSK", "CAMELLIA:ARIA", "AESCCM"])
def test_weak_suites_are_refused(served, ciphers):
    """Without encryption, without a certificate, without forward secrecy, or without AEAD."""
    text = s_client(served, "-tls1_2", "-cipher", f"{ciphers}:@SECLEVEL=0")
    assert not is_served(text), text


@pytest.mark.parametrize("suite", ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"])
def test_tls_1_2_has_forward_secrecy_and_aead(served, suite):
    text = s_client(served, "-tls1_2", "-cipher", suite)
    assert is_served(text) and suite in text
    assert "Compression: NONE" in text
    assert "Secure Renegotiation IS supported" in text
    assert "Extended master secret: yes" in text


@pytest.mark.parametrize("suite", ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"])
def test_tls_1_3(served, suite):
    text = s_client(served, "-tls1_3", "-ciphersuites", suite)
    assert is_served(text) and suite in text
    assert "Max Early Data: 0" in text or "Early data was not sent" in text


def test_a_client_cannot_renegotiate(served):
    text = s_client(served, "-tls1_2", "-legacy_renegotiation", say="R\n")
    assert "no renegotiation" in text or "unexpected message" in text or "RENEGOTIATING" in text and "error" in text, text


def test_a_fallback_to_tls_1_2_is_noticed(served):
    """RFC 7507."""
    text = s_client(served, "-tls1_2", "-fallback_scsv")
    assert "inappropriate fallback" in text, text


@pytest.mark.parametrize("group", ["ffdhe2048", "ffdhe8192", "P-521"])
def test_groups_that_cost_the_server_much_are_refused(served, group):
    """Finite fields: CVE-2002-20001."""
    text = s_client(served, "-tls1_3", "-groups", group)
    assert not is_served(text), text


def test_the_key_exchange_is_hybrid_where_both_libraries_have_it(served):
    assert "Server Temp Key: X25519" in s_client(served, "-tls1_3", "-groups", "X25519:P-256")
    assert "prime256v1" in s_client(served, "-tls1_3", "-groups", "P-256")
    with_both = s_client(served, "-tls1_3", "-groups", "X25519MLKEM768:X25519")
    if "Error" in with_both.split("CONNECTED")[0]:
        pytest.skip("this OpenSSL has no X25519MLKEM768: version 3.5 has")
    assert "X25519MLKEM768" in with_both, with_both


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_any_worker_resumes_a_session(served, version):
    context = wire.insecure_context()
    context.minimum_version = context.maximum_version = version
    session, resumed = None, 0
    for _ in range(12):
        with wire.connect(served.client) as sock, context.wrap_socket(sock, server_hostname=HOST, session=session) as tls:
            tls.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
            while tls.recv(65536):
                pass
            resumed += tls.session_reused
            session = tls.session
    assert resumed == 11, "two workers have the same keys"


def test_heartbeats_are_not_answered(served):
    """CVE-2014-0160: a heartbeat request before the handshake is no hello."""
    with wire.connect(served.client) as sock:
        sock.sendall(b"\x18\x03\x02\x00\x03\x01\x40\x00")
        sock.settimeout(10)
        answer = sock.recv(100)
    assert not answer.startswith(b"\x18")


def test_many_handshakes_at_once_share_nothing(served):
    """CCS injection and the like need a second state: each connection has its own."""
    with wire.connect(served.client) as first, wire.connect(served.client) as second:
        one, two = wire.FramedTls(first), wire.FramedTls(second)
        one.handshake()
        first.sendall(b"\x14\x03\x03\x00\x01\x01")  # ChangeCipherSpec after the handshake
        two.handshake()
        two.write(f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
        assert two.read().startswith(b"HTTP/1.1 200")
        with pytest.raises((OSError, ssl.SSLError)):
            one.write(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
            while one.read():
                pass
            raise socket.error("the connection ended")
