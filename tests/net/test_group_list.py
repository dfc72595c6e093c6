"""What our ClientHellos offer and how large they are on the wire, with the product's groups and with an administrator's."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from tests.net.client_hello import P256, P384, X25519, ClientHello, parse_client_hello

from gatepost.net.group_list import SMALL_GROUPS, small_groups
from gatepost.net.tls import ClientContext, TlsParameters

SEGMENT = 1_220  # octets of a segment that every IPv6 path carries (RFC 8200 §5: 1,280 less the headers)
X25519MLKEM768 = 0x11EC
LONG_NAME = ".".join(["mail-protection-of-a-partner", *["label-of-a-name"] * 10, "example"])


def hello(groups: str = "", *, small: bool = False, sni: str = "mx.partner.example") -> ClientHello:
    connection = ClientContext.build(TlsParameters(groups=groups), small=small).connection(sni)
    with pytest.raises(SSL.WantReadError):
        connection.do_handshake()
    return parse_client_hello(connection.bio_read(65_536))


def test_the_default_offers_the_hybrid_group_without_its_share() -> None:
    sent = hello()
    assert sent.groups[0] == X25519MLKEM768
    assert sent.shares == (X25519,)
    assert sent.size < SEGMENT
    assert sent.name == "mx.partner.example"


def test_the_small_one_has_classic_groups_only() -> None:
    sent = hello(small=True)
    assert not sent.post_quantum
    assert sent.shares == (X25519,)
    assert sent.groups[:2] == (X25519, P256)


@pytest.mark.parametrize("small", [False, True])
def test_it_fits_one_segment_with_a_long_name_too(small: bool) -> None:
    assert hello(small=small, sni=LONG_NAME).size < SEGMENT


@pytest.mark.parametrize(
    ("groups", "shares"),
    [
        ("X25519MLKEM768:X25519", (X25519,)),
        ("*X25519MLKEM768/*X25519:secp384r1", (X25519,)),
        ("?SecP256r1MLKEM768:secp384r1:X25519", (P384,)),
        ("*secp384r1:*X25519", (P384,)),
        ("DEFAULT", (X25519,)),
        ("secp384r1:DEFAULT:-X25519", (P384,)),
        ("X25519MLKEM768", (X25519,)),
        ("X25519MLKEM768:?no-such-group", (X25519,)),
        ("?no-such-group:secp384r1", (P384,)),
    ],
)
def test_an_administrators_groups_stay_as_far_as_they_are_classic(
    groups: str, shares: tuple[int, ...]
) -> None:
    sent = hello(groups, small=True)
    assert not sent.post_quantum
    assert sent.shares == shares
    assert sent.size < SEGMENT


def test_the_parser_sees_what_is_large() -> None:
    sent = hello("X25519MLKEM768:X25519")
    assert sent.shares == (X25519MLKEM768,)
    assert sent.post_quantum
    assert sent.size > SEGMENT


@pytest.mark.parametrize(
    ("groups", "left"),
    [
        ("", SMALL_GROUPS),
        ("X25519MLKEM768", SMALL_GROUPS),
        ("mlkem768:?P-384", f"?P-384:{SMALL_GROUPS}"),
        ("X25519:secp256r1:-X25519", "secp256r1"),
        ("X25519:x25519/P-256", "X25519:P-256"),
    ],
)
def test_what_is_left(groups: str, left: str) -> None:
    assert small_groups(groups) == left


NAMES = st.sampled_from(
    ["X25519", "x25519", "P-256", "secp384r1", "X25519MLKEM768", "mlkem1024", "DEFAULT", "odd"]
)
ITEMS = st.tuples(st.sampled_from(["", "?", "*", "?*", "-"]), NAMES).map("".join)


@settings(max_examples=100)
@given(st.lists(ITEMS, max_size=6), st.sampled_from([":", "/"]))
def test_any_list_leaves_one_without_the_large_groups(items: list[str], between: str) -> None:
    left = small_groups(between.join(items))
    assert left
    assert not any(part in left.upper() for part in ("MLKEM", "DEFAULT", "*"))
    assert any(not one.startswith("?") for one in left.split(":"))
    assert small_groups(left) == left
