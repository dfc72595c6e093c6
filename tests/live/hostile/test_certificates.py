"""Server certificates of every kind (C34) at preferred-verify and required-verify: the verdict and the log's line.

All deliveries of the table run at once. Under preferred-verify everything is delivered under TLS, and the log says `verified yes: NAME`
or `verified no: REASON`; under required-verify what is not verified is delayed with `TLS failed: verify error: REASON`.
Certificates that the servers' library refuses to show (a SAN that is no DER) are in the tests of `pki`.
"""

from __future__ import annotations

import contextlib
import datetime
import re
import ssl
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtensionOID
from tests.fakes.ca import CLIENT_AUTH, MUST_STAPLE, UNKNOWN, Issued, TestAuthority, self_signed
from tests.live.hostile.house import House, token
from tests.live.hostile.server import PLAIN, HostileServer, Talk

FIRST_ROUTE = 160
Names = list[str]
YES = "yes"


@dataclass(frozen=True)
class Case:
    """`make` gives the certificate for the names; `verdict` is YES or a pattern of the reason."""

    name: str
    make: Callable[[TestAuthority, Names], Issued | bytes]
    verdict: str
    strict_verdict: str = ""  # where it is another one under required-verify


def named(value: bytes) -> Callable[[TestAuthority, Names], Issued]:
    """A dNSName made of the right name and something behind it."""
    return lambda ca, names: ca.issue(
        names, common_name="c34", raw_names=[name.encode() + value for name in names]
    )


def resigned(ca: TestAuthority, issued: Issued, old: bytes, new: bytes) -> bytes:
    """Chain and key as PEM, the certificate's content changed and signed again: what no library would make."""
    body = issued.leaf.tbs_certificate_bytes
    assert body.count(old) == 1
    changed = body.replace(old, new)
    assert len(changed) == len(body)
    assert isinstance(ca.key, ec.EllipticCurvePrivateKey)
    signature = b"\0" + ca.key.sign(changed, ec.ECDSA(SHA256()))
    der = changed + bytes.fromhex("300a06082a8648ce3d040302") + _tlv(3, signature)
    return ssl.DER_cert_to_PEM_cert(_tlv(0x30, der)).encode() + issued.key_pem


def _tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    length = bytes([size]) if size < 128 else bytes([0x82, size >> 8, size & 255])
    return bytes([tag]) + length + content


def negative_serial(ca: TestAuthority, names: Names) -> bytes:
    issued = ca.issue(names)
    serial = issued.leaf.serial_number.to_bytes(20, "big")
    return (
        resigned(ca, issued, b"\x02\x14" + serial, b"\x02\x14\x80" + serial[1:])
        if serial[0]
        else negative_serial(ca, names)
    )


def broken_date(ca: TestAuthority, names: Names) -> bytes:
    issued = ca.issue(names)
    text = issued.leaf.not_valid_after_utc.strftime("%y%m%d%H%M%SZ").encode()
    return resigned(ca, issued, text, b"99" + b"13" + text[4:])


def extension(
    oid: x509.ObjectIdentifier, value: bytes, *, critical: bool = False, san: bool = True
) -> Callable[[TestAuthority, Names], Issued]:
    return lambda ca, names: ca.issue(
        names, san=san, extensions=[(x509.UnrecognizedExtension(oid, value), critical)]
    )


def looped(ca: TestAuthority, names: Names) -> Issued:
    """Two authorities that vouch for each other, and lead nowhere."""
    one, two = TestAuthority("Loop One"), TestAuthority("Loop Two")
    return one.issue(names).sending(extra=[two.cross_sign(one), one.cross_sign(two)])


def mismatch(ca: TestAuthority, names: Names) -> Issued:
    return ca.issue(["other.example"])


MISMATCH = r"host name mismatch: h\d+\.\w+\.example, 127\.0\.0\.1 not in "
UNANCHORED = "(unable to get local issuer certificate|self-signed certificate in certificate chain)"
FAR = datetime.datetime(2060, 1, 1, tzinfo=datetime.UTC)

CASES = [
    Case("good", lambda ca, n: ca.issue(n), YES),
    Case("by an intermediate", lambda ca, n: ca.intermediate().issue(n), YES),
    Case("self-signed", lambda ca, n: self_signed(n), "self-signed certificate"),
    Case(
        "self-signed, of our CA's name",
        lambda ca, n: TestAuthority(ca.name).issue(n),
        "unable to get local issuer certificate",
    ),
    Case("unknown authority", lambda ca, n: TestAuthority("Nobody").issue(n).sending(root=True), UNANCHORED),
    Case("expired", lambda ca, n: ca.issue(n, expired=True), "certificate has expired"),
    Case("not yet valid", lambda ca, n: ca.issue(n, not_yet_valid=True), "certificate is not yet valid"),
    Case(
        "expired intermediate",
        lambda ca, n: ca.intermediate(end=ca.at - datetime.timedelta(1)).issue(n),
        "certificate has expired",
    ),
    Case("wrong name", mismatch, MISMATCH + r"DNS:other\.example"),
    Case(
        "name in the CN only",
        lambda ca, n: ca.issue(n[:1], common_name=n[0], san=False),
        YES,
        MISMATCH + r"CN:h\d+\.verify\.example",
    ),
    Case(
        "right CN, wrong SAN",
        lambda ca, n: ca.issue(["other.example"], common_name=n[0]),
        MISMATCH + r"DNS:other\.example",
    ),
    Case("wildcard", lambda ca, n: ca.issue(["*.verify.example", "*.strict.example"]), YES),
    Case("wildcard too high", lambda ca, n: ca.issue(["*.example"]), MISMATCH + r"DNS:\*\.example"),
    Case("wildcard in part", lambda ca, n: ca.issue([f"{n[0][:2]}*{n[0][3:]}" for _ in n]), MISMATCH),
    Case("address", lambda ca, n: ca.issue(["127.0.0.1"]), YES),
    Case("another address", lambda ca, n: ca.issue(["127.0.0.2"]), MISMATCH + r"IP:127\.0\.0\.2"),
    Case(
        "address as a name",
        lambda ca, n: ca.issue(["x"], common_name="127.0.0.1", raw_names=[b"127.0.0.1"]),
        MISMATCH,
    ),
    Case("NUL in a name", named(b"\0.evil"), MISMATCH + r"DNS:h\d+\.verify\.example\\x00\.evil"),
    Case(
        "CR and LF in a name",
        named(b"\r\nWed Jan  1 00:00:00 2020 Info: DCID 1 close"),
        MISMATCH + r"DNS:h\d+\.verify\.example\\x0d\\x0aWed",
    ),
    Case("ANSI and quotes in a name", named(b"\x1b[2J'\""), MISMATCH),
    Case(
        "CR and LF in the CN",
        lambda ca, n: ca.issue([], common_name=f"{n[0]}\r\nBcc: x"),
        MISMATCH + r"CN:.*\\x0d\\x0aBcc",
    ),
    Case("percent in the CN", lambda ca, n: ca.issue([], common_name="%s%n%x{0}"), MISMATCH),
    Case("name with a trailing dot", named(b"."), MISMATCH),
    Case("U-label as UTF-8", named("ü".encode()), MISMATCH),
    Case(
        "a thousand names", lambda ca, n: ca.issue([*(f"n{i}.other.example" for i in range(1_000)), *n]), YES
    ),
    Case(
        "a thousand wrong names",
        lambda ca, n: ca.issue([f"n{i}.other.example" for i in range(1_000)]),
        MISMATCH + ".* and .* more",
    ),
    Case("chain of ten", lambda ca, n: ca.descend(8).issue(n), YES),
    Case(
        "chain of twenty",
        lambda ca, n: ca.descend(18).issue(n),
        UNANCHORED,
    ),
    Case("loop of cross-signs", looped, UNANCHORED),
    Case(
        "missing intermediate",
        lambda ca, n: ca.intermediate().issue(n).sending(leaf_only=True),
        "unable to get local issuer certificate",
    ),
    Case("duplicates", lambda ca, n: ca.intermediate().issue(n).sending(duplicate=True), YES),
    Case("root sent", lambda ca, n: ca.intermediate().issue(n).sending(root=True), YES),
    Case("wrong order", lambda ca, n: ca.descend(3).issue(n).sending(reverse=True), YES),
    Case(
        "strangers in the chain",
        lambda ca, n: (
            ca.intermediate().issue(n).sending(extra=[TestAuthority(f"S{i}").certificate for i in range(5)])
        ),
        YES,
    ),
    Case("leaf that is a CA", lambda ca, n: ca.issue(n, is_ca=True), YES),
    Case(
        "signed by a leaf",
        lambda ca, n: TestAuthority("Not a CA", parent=ca, is_ca=False).issue(n),
        "issuing certificate is not a CA",
    ),
    Case(
        "path length",
        lambda ca, n: ca.intermediate(path_length=0).intermediate("Below").issue(n),
        "path length constraint exceeded",
    ),
    Case(
        "name constraints",
        lambda ca, n: ca.intermediate(excluded=["example"]).issue(n),
        "name inside an excluded subtree of its issuer",
    ),
    Case(
        "name constraints, permitted",
        lambda ca, n: ca.intermediate(permitted=["other.example"]).issue(n),
        "name outside the permitted subtrees of its issuer",
    ),
    Case(
        "client authentication only",
        lambda ca, n: ca.issue(n, usages=(CLIENT_AUTH,)),
        "extended key usage does not include server authentication",
    ),
    Case("no extended key usage", lambda ca, n: ca.issue(n, usages=None), YES),
    Case(
        "critical unknown extension",
        lambda ca, n: ca.issue(n, extensions=[(UNKNOWN, True)]),
        "unknown critical extension",
    ),
    Case("unknown extension", lambda ca, n: ca.issue(n, extensions=[(UNKNOWN, False)]), YES),
    Case("must-staple without staple", lambda ca, n: ca.issue(n, extensions=[(MUST_STAPLE, False)]), YES),
    Case("P-521", lambda ca, n: ca.issue(n, key="p521"), YES),
    Case("Ed25519", lambda ca, n: ca.issue(n, key="ed25519"), YES),
    Case("RSA 1024", lambda ca, n: ca.issue(n, key="rsa1024"), "RSA key of 1024 bits is too short"),
    Case(
        "SHA-1", lambda ca, n: ca.intermediate(key="rsa2048").issue(n, hash_name="sha1"), "signed with SHA1"
    ),
    Case("MD5", lambda ca, n: ca.intermediate(key="rsa2048").issue(n, hash_name="md5"), "signed with MD5"),
    Case("beyond 2050", lambda ca, n: ca.issue(n, end=FAR), YES),
    Case("negative serial", negative_serial, YES),  # RFC 5280 §4.1.2.2: to be handled gracefully
    Case("impossible date", broken_date, "the certificate cannot be read"),
    Case(
        "empty SAN and a strange CN",
        lambda ca, n: ca.issue(
            [],
            common_name="c34",
            extensions=[
                (x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x00"), False)
            ],
        ),
        MISMATCH + "CN:c34",
    ),
    Case(
        "policies that are no DER",
        extension(ExtensionOID.CERTIFICATE_POLICIES, b"\x30\x03\x02\x01"),
        "the certificate cannot be read",
    ),
]


def context_of(made: Issued | bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with tempfile.NamedTemporaryFile() as file:
        file.write(made if isinstance(made, bytes) else made.chain_pem + made.key_pem)
        file.flush()
        context.load_cert_chain(file.name)
    return context


@pytest.fixture(scope="module")
def campaign(shared_house: House) -> Iterator[dict[str, tuple[int, int, HostileServer]]]:
    """Every server of the table, and a message on its way to each at both levels."""
    with contextlib.ExitStack() as stack:
        sent = {}
        for number, case in enumerate(CASES, FIRST_ROUTE):
            names = [f"h{number}.verify.example", f"h{number}.strict.example"]
            context = context_of(case.make(shared_house.authority, names))

            def behave(talk: Talk, context: ssl.SSLContext = context) -> None:
                talk.starttls()
                talk.secure(context)
                talk.serve(PLAIN)

            server = HostileServer(shared_house.routes[number], behave)
            stack.callback(server.close)
            one, two = (shared_house.send(f"x@{name}", f"{token()}\r\n".encode()) for name in names)
            sent[case.name] = one, two, server
        yield sent


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_c34_certificate(
    shared_house: House, campaign: dict[str, tuple[int, int, HostileServer]], case: Case
) -> None:
    preferred, required, server = campaign[case.name]
    arrived = 0
    for mid, strict in ((preferred, False), (required, True)):
        outcome = shared_house.outcome(mid)
        verdict = (case.strict_verdict if strict else "") or case.verdict
        good = verdict == YES
        if good or not strict:
            shown = r"yes: (h\d+\.\w+\.example|127\.0\.0\.1)$" if good else f"no: {verdict}"
            pattern = rf"TLS success protocol TLSv1\.3 cipher \w+ for h\d+\.\w+\.example verified {shown}"
        else:
            pattern = f"TLS failed: verify error: {verdict}"
        assert re.search(pattern, outcome.text, re.MULTILINE), outcome.text
        assert outcome.what == ("Message done" if good or not strict else "Delayed"), outcome.text
        assert all(line.isprintable() and len(line) < 3_000 for line in outcome.lines)
        arrived += good or not strict
    assert not [line for line in server.heard.clear if line.startswith((b"MAIL", b"DATA"))]
    assert len(server.heard.messages) == arrived


def test_c34_the_gateway_is_unharmed_by_all_of_them(house: House, campaign: object) -> None:
    house.check_message_passes()
