"""Every recipe makes what its name says: read and judged by `pki`, and shown by the servers' library."""

from __future__ import annotations

import time
from functools import cache

import pytest
from OpenSSL import SSL

from gatepost.app.zoo.certificates import RECIPES, Keepers, Names, Shown, make, resigned
from gatepost.app.zoo.flights import Suite, alert, flight, oversized_record, sha1_signed, small_group
from gatepost.app.zoo.hosts import server_context
from gatepost.core.tls import NameSource, ReferenceName
from gatepost.net.errors import TlsFailure
from gatepost.net.tls import ClientContext
from gatepost.net.tls_stream import Handshake
from gatepost.pki.anchors import Anchors
from gatepost.pki.judge import Purpose, judge_chain
from gatepost.pki.names import match_names

NAMES = Names("a.dark.example", "mx.a.dark.example")


@cache
def keepers() -> Keepers:
    return Keepers()


@cache
def shown(recipe: str) -> Shown:
    return make(recipe, keepers(), NAMES)


def problem(recipe: str) -> str:
    anchors = Anchors.from_pem(keepers().trusted_pem)
    worst = judge_chain(shown(recipe).chain, anchors, time.time(), Purpose.SERVER).worst
    return worst.text if worst else ""


@pytest.mark.parametrize(
    ("recipe", "wanted"),
    [
        ("good", ""),
        ("expired", "certificate has expired"),
        ("not-yet-valid", "certificate is not yet valid"),
        ("self-signed", "self-signed certificate"),
        ("wrong-order", ""),
        ("damaged", "certificate signature failure"),
        ("broken-date", "the certificate cannot be read"),
        ("policies-no-der", "the certificate cannot be read"),
        ("garbage", "the certificate cannot be read"),
        ("negative-serial", ""),
        ("sha1", "signed with SHA1"),
        ("md5", "signed with MD5"),
        ("rsa-1024", "RSA key of 1024 bits is too short"),
        ("critical-unknown", "unknown critical extension"),
    ],
)
def test_a_chain_is_wrong_in_the_one_way_that_is_meant(recipe: str, wanted: str) -> None:
    assert problem(recipe) == wanted


@pytest.mark.parametrize(
    ("recipe", "domain", "host"),
    [
        ("good", True, True),
        ("mx-only", False, True),
        ("domain-only", True, False),
        ("wildcard", False, True),
        ("wildcard-two-labels", True, False),
        ("wildcard-partial", False, False),
        ("wildcard-too-high", False, False),
        ("nul-in-san", False, False),
        ("nul-in-cn", False, False),
        ("trailing-dot", False, False),
        ("name-in-cn", True, False),
        ("right-cn-wrong-san", False, False),
        ("thousand-names", True, True),
    ],
)
def test_names_match_as_is_meant(recipe: str, domain: bool, host: bool) -> None:
    found = [
        match_names(shown(recipe).leaf, [ReferenceName(name, NameSource.OPERATOR)]) is not None
        for name in (NAMES.domain, NAMES.mx)
    ]
    assert found == [domain, host]


@pytest.mark.parametrize("recipe", [name for name in RECIPES if name != "garbage"])
def test_the_servers_library_shows_it(recipe: str) -> None:
    assert server_context(shown(recipe)).get_cert_store() is not None


def test_the_changed_octets_have_to_be_there_once() -> None:
    issued = keepers().ca.issue(["a.example"])
    for old, new in ((b"nowhere in it", b"of equal size"), (b"a.example", b"longer.example")):
        with pytest.raises(ValueError, match="not there once"):
            resigned(keepers(), issued, old, new)


# --- handshakes by hand -----------------------------------------------------------------------------------


def reason_of(octets: bytes) -> str:
    """What our client says of a server that answers its ClientHello with these octets."""
    handshake = Handshake(ClientContext.build(), "mx.a.dark.example")
    assert not handshake.step()
    try:
        handshake.feed(octets)
        handshake.step()
    except TlsFailure as failure:
        return failure.text
    return ""


@pytest.mark.parametrize(
    ("octets", "wanted"),
    [
        (lambda: alert(40), "handshake failure"),
        (lambda: flight(Suite.RC4_SHA, shown("rsa").chain), "unknown cipher returned"),
        (lambda: flight(Suite.EXPORT_RC4_MD5, shown("rsa").chain), "unknown cipher returned"),
        (lambda: flight(Suite.TRIPLE_DES, shown("rsa").chain), "unknown cipher returned"),
        (lambda: flight(Suite.ANONYMOUS_DH), "wrong cipher returned"),
        (lambda: flight(Suite.DHE_RSA, shown("rsa").chain, small_group()), "dh key too small"),
        (lambda: flight(Suite.ECDHE_RSA, shown("rsa").chain, sha1_signed()), "wrong signature type"),
        (lambda: flight(Suite.ECDHE_RSA, shown("rsa").chain, sha1_signed(), compression=1), "compression"),
        (lambda: flight(Suite.ECDHE_RSA, shown("garbage").chain, sha1_signed()), "ASN1"),
        (lambda: oversized_record()[:4096], "length too long"),
    ],
)
def test_a_handshake_by_hand_ends_where_it_is_meant_to(octets: object, wanted: str) -> None:
    assert callable(octets)
    assert wanted in reason_of(octets())


def test_two_certificates_are_shown_by_what_the_client_can() -> None:
    both = shown("two-keys")
    assert both.also is not None
    assert both.also.leaf != both.leaf
    context = server_context(
        both, newest=SSL.TLS1_2_VERSION, ciphers="ECDHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0"
    )
    server = SSL.Connection(context, None)
    server.set_accept_state()
    client = ClientContext.build().connection()
    for _ in range(6):
        for one, other in ((client, server), (server, client)):
            try:
                one.do_handshake()
            except SSL.WantReadError:
                pass
            try:
                other.bio_write(one.bio_read(65_536))
            except SSL.WantReadError:
                pass
    peer = client.get_peer_certificate()
    assert peer is not None
    from OpenSSL import crypto

    assert crypto.dump_certificate(crypto.FILETYPE_ASN1, peer) == both.also.leaf
