"""cert.install, cert.import --beside, and what cert.new says of names: what brings a certificate into the store."""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    pkcs7,
)
from tests.control.kit import CONTRACT_LIKE, Bench, b64, pem_of
from tests.fakes.ca import Issued, TestAuthority

from gatepost.core.certificate_events import CertificateIssued
from gatepost.core.errors import Exit, OperatorError
from gatepost.pki.keys import SecretBytes, load_private_key, public_key_der
from gatepost.pki.profile import split_keys

AT = datetime.datetime(2027, 1, 15, 8, tzinfo=datetime.UTC)
ROOT = TestAuthority("Example Root", at=AT)
CA = ROOT.intermediate("Example Sub CA")


@pytest.fixture
def asked(bench: Bench) -> Bench:
    """A gateway that serves the self-signed certificate `gw`, whose request is out."""
    bench.start()
    bench.call("cert.new", name="gw", common_name="mx.example.net", key="p256")
    bench.apply(CONTRACT_LIKE.replace("certificate: Demo", "certificate: gw"))
    return bench


def signed(bench: Bench, authority: TestAuthority = CA, **choices: Any) -> Issued:
    """What an authority makes of the request: it sees the public key only."""
    request = x509.load_pem_x509_csr(bench.call("cert.csr", name="gw")["csr"].encode())
    assert request.is_signature_valid
    made = authority.issue(
        ["mx.example.net"],
        key=load_private_key(split_keys(SecretBytes(bench.opens("gw")))[-1].reveal()),
        **choices,
    )  # type: ignore[arg-type]
    assert made.leaf.public_key() == request.public_key()
    return made


def install(bench: Bench, file: bytes = b"", **args: Any) -> Any:
    return bench.call("cert.install", **{"name": "gw", "file": b64(file), **args})


def served(bench: Bench) -> str:
    assert bench.gateway is not None
    return str(bench.gateway.active["profiles"]["gw"]["chains"][0])


def issued_events(bench: Bench) -> list[tuple[str, str]]:
    assert bench.gateway is not None
    return [(e.name, e.how) for e in bench.gateway.events if isinstance(e, CertificateIssued)]


def test_the_signed_certificate_takes_the_place_of_the_old_one_for_every_use(asked: Bench) -> None:
    answer = signed(asked)
    said = install(asked, answer.chain_pem)
    assert said["version"] == 4
    assert said["replaces"] == ["listener IncomingMail"]
    assert said["certificate"]["origin"] == "signed"
    assert served(asked).encode() == answer.chain_pem
    assert issued_events(asked) == [("gw", "self-signed"), ("gw", "signed")]


@pytest.mark.parametrize("form", ["der", "pkcs7", "pkcs7-der", "dirty"])
def test_whatever_form_the_answer_has(asked: Bench, form: str) -> None:
    answer = signed(asked)
    chain = [*answer.intermediates, answer.leaf]
    match form:
        case "der":
            file = answer.leaf.public_bytes(Encoding.DER)
        case "pkcs7":
            file = pkcs7.serialize_certificates(chain, Encoding.PEM)
        case "pkcs7-der":
            file = pkcs7.serialize_certificates(chain, Encoding.DER)
        case _:
            text = (
                "\ufeffGood morning,\r\nhere it is:\r\n\r\n"
                + answer.sending(root=True, reverse=True).chain_pem.decode()
            )
            file = text.replace("\n", "\r\n").encode()
    said = install(asked, file)
    assert said["certificate"]["issuer"] == "CN=Example Sub CA"
    # On the wire: the leaf, what belongs behind it, no root.
    assert served(asked).count("BEGIN") == (1 if form == "der" else 2)


def test_a_file_with_key_and_root_is_taken(asked: Bench) -> None:
    answer = signed(asked)
    said = install(asked, answer.sending(root=True).chain_pem + answer.key_pem)
    assert any("left out" in note for note in said["notes"])
    assert any("root CN=Example Root" in note for note in said["notes"])
    codes = {finding["code"] for finding in said["certificate"]["findings"]}
    assert "root-included" in codes
    assert [one["sent"] for one in said["certificate"]["chain"]] == [True, True, False]


def test_an_encrypted_key_in_the_file_is_not_in_the_way(asked: Bench) -> None:
    answer = signed(asked)
    locked = answer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    said = install(asked, locked + answer.chain_pem)
    assert any("not compared" in note for note in said["notes"])


def test_until_the_commit_the_old_one_is_served(asked: Bench) -> None:
    before = served(asked)
    answer = signed(asked)
    said = install(asked, answer.chain_pem, pending=True)
    assert (said["pending"], said["replaces"]) == (True, ["listener IncomingMail"])
    assert served(asked) == before
    assert issued_events(asked) == [("gw", "self-signed")]
    assert asked.call("cert.show", name="gw")["pending"]
    asked.call("config.commit")
    assert served(asked).encode() == answer.chain_pem
    assert issued_events(asked) == [("gw", "self-signed"), ("gw", "signed")]


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ("expired", "leaf.pem: .*expired on 2027-01-14|expired on 2027-01-14"),
        ("not_yet_valid", "not yet valid"),
        ("stranger", r"CN=mx\.example\.net was not made for a key of gw"),
        ("garbage", "leaf.pem: "),
        ("empty", "empty"),
        ("authorities", "authorities only"),
        ("pkcs12", r"leaf\.pem: the file is PKCS#12"),
    ],
)
def test_what_is_wrong_is_said_by_name_and_the_old_one_stays(asked: Bench, choice: str, words: str) -> None:
    from cryptography.hazmat.primitives.serialization import NoEncryption, pkcs12

    before, versions = served(asked), asked.versions()
    answer = signed(asked)
    files = {
        "expired": lambda: signed(asked, expired=True).chain_pem,
        "not_yet_valid": lambda: signed(asked, not_yet_valid=True).chain_pem,
        "stranger": lambda: CA.issue(["mx.example.net"]).chain_pem,
        "garbage": lambda: answer.leaf.public_bytes(Encoding.DER)[:-20],
        "empty": lambda: b"",
        "authorities": lambda: CA.certificate.public_bytes(Encoding.PEM),
        "pkcs12": lambda: pkcs12.serialize_key_and_certificates(
            b"x", answer.key, answer.leaf, None, NoEncryption()
        ),
    }
    with pytest.raises(OperatorError, match=words) as caught:
        install(asked, files[choice](), label="leaf.pem")
    assert caught.value.hint
    assert "PRIVATE" not in caught.value.message + caught.value.hint
    assert (served(asked), asked.versions()) == (before, versions)
    assert len(asked.store.revisions("gw")) == 1


def test_a_bundle_is_stored_as_it_came_with_warnings(asked: Bench) -> None:
    stranger = TestAuthority("Other Root", at=AT).intermediate("Other Sub CA")
    untidy = signed(asked).sending(duplicate=True, extra=[stranger.certificate])
    said = install(asked, untidy.chain_pem)
    chain = said["certificate"]["chain"]
    assert len(chain) == len(untidy.certificates)
    codes = {finding["code"] for finding in said["certificate"]["findings"]}
    assert {"duplicate", "unrelated"} <= codes


def test_intermediates_come_with_the_answer_or_later(asked: Bench) -> None:
    answer = signed(asked)
    said = install(asked, answer.leaf_pem, intermediates=b64(CA.certificate.public_bytes(Encoding.DER)))
    assert [one["subject"] for one in said["certificate"]["chain"]] == [
        "CN=mx.example.net",
        "CN=Example Sub CA",
    ]
    other = ROOT.intermediate("Other Sub CA")
    said = install(asked, intermediates=b64(other.certificate.public_bytes(Encoding.PEM)))
    assert [one["subject"] for one in said["certificate"]["chain"]] == [
        "CN=mx.example.net",
        "CN=Other Sub CA",
    ]
    assert any("Example Sub CA" in note for note in said["notes"])
    with pytest.raises(OperatorError, match=r"more\.pem: "):
        install(asked, intermediates=b64(b"nothing of use"), intermediates_label="more.pem")


def test_nothing_is_installed_under_a_name_that_does_not_exist(asked: Bench) -> None:
    with pytest.raises(OperatorError, match="no certificate named mx") as caught:
        install(asked, signed(asked).chain_pem, name="mx")
    assert "gw" in caught.value.hint


def test_an_rsa_certificate_is_imported_beside(asked: Bench) -> None:
    other = CA.issue(["mx.example.net"], key="rsa2048")
    said = asked.call("cert.import", name="gw", file=b64(pem_of(other)), beside=True)
    assert said["certificate"]["beside"]["key"] == "RSA 2048"
    assert said["certificate"]["key"] == "EC secp256r1"
    assert asked.gateway is not None
    assert len(asked.gateway.active["profiles"]["gw"]["chains"]) == 2
    keys = split_keys(SecretBytes(asked.opens("gw")))
    assert public_key_der(load_private_key(keys[1].reveal())) == public_key_der(other.key)
    same_kind = CA.issue(["mx.example.net"], key="p384")
    with pytest.raises(OperatorError, match="two ECDSA certificates"):
        asked.call("cert.import", name="gw", file=b64(pem_of(same_kind)), beside=True)
    with pytest.raises(OperatorError) as caught:
        asked.call("cert.import", name="gw", file=b64(pem_of(other)), beside=True, replace=True)
    assert caught.value.code == Exit.USAGE
    with pytest.raises(OperatorError, match="no certificate named new"):
        asked.call("cert.import", name="new", file=b64(pem_of(other)), beside=True)
    said = asked.call("cert.import", name="gw", file=b64(pem_of(CA.issue(["mx.example.net"]))), replace=True)
    assert said["certificate"]["beside"]["key"] == "RSA 2048"
    assert said["replaces"] == ["listener IncomingMail"]


def test_a_message_about_an_import_names_the_file(bench: Bench) -> None:
    issued = CA.issue(["mx.example.net"])
    args = {
        "name": "gw",
        "file": b64(issued.leaf_pem),
        "label": "certs/leaf.pem",
        "key_label": "a\x1bkey.pem",
    }
    with pytest.raises(OperatorError, match=r"certs/leaf\.pem: the file holds no private key"):
        bench.call("cert.import", **args)
    with pytest.raises(OperatorError, match=r"a\\x1bkey\.pem: "):
        bench.call("cert.import", **args, key=b64(b"-----BEGIN nonsense"))


def test_names_that_fit_no_interface_are_warned_of_before_and_said(bench: Bench) -> None:
    """R3: the host names of the listening and delivery interfaces are offered."""
    bench.apply(CONTRACT_LIKE)
    found = bench.call("cert.hosts", common_name="www.example.net")
    assert found["hosts"] == [{"name": "mx.example.net", "interfaces": ["listener IncomingMail", "delivery"]}]
    assert "mx.example.net (listener IncomingMail, delivery)" in found["warning"]
    assert not bench.call("cert.hosts")["warning"]
    for names in ({"common_name": "MX.example.net"}, {"common_name": "x", "san": ["*.example.net"]}):
        assert not bench.call("cert.hosts", **names)["warning"]
    said = bench.call("cert.new", name="gw", common_name="www.example.net", key="p256")
    assert "mx.example.net" in said["names_warning"]


def test_what_nobody_can_verify_is_said_where_it_is_assigned(bench: Bench) -> None:
    """R2."""
    bench.call("cert.new", name="gw", common_name="mx.example.net", key="p256")
    text = CONTRACT_LIKE.replace("certificate: Demo", "certificate: gw")
    for _ in range(2):  # whoever applies it again is told again
        warning, demo = bench.apply(text)["warnings"]
        assert warning["path"] == "listeners[0].certificate"
        assert "gw is self-signed" in warning["text"]
        assert "(listener IncomingMail)" in warning["text"]
        assert "Demo is a demo certificate" in demo["text"]
        assert "(delivery)" in demo["text"]
    (demo,) = bench.apply(CONTRACT_LIKE)["warnings"]
    assert "(listener IncomingMail, delivery)" in demo["text"]
    issued = CA.issue(["mx.example.net"])
    bench.call("cert.import", name="good", file=b64(pem_of(issued)))
    good = CONTRACT_LIKE.replace("certificate: Demo", "certificate: good").replace(
        "  default:", "  global: {certificate: good}\n  default:"
    )
    assert bench.apply(good)["warnings"] == []


def test_two_administrators_change_the_same_certificate(asked: Bench) -> None:
    """The second is told, shown both, and loses nothing."""
    answer = signed(asked)
    other = CA.issue(["mx.example.net"], key="rsa2048")
    install(asked, answer.chain_pem, pending=True, uid=1)
    asked.call("cert.import", name="gw", file=b64(pem_of(other)), replace=True, pending=True, uid=2)
    asked.call("config.commit", uid=1)
    assert served(asked).encode() == answer.chain_pem
    with pytest.raises(OperatorError) as caught:
        asked.call("config.commit", uid=2)
    assert [problem.path for problem in caught.value.problems] == ["certificates[gw]"]
    assert asked.call("config.pending", uid=2)["pending"]
    assert served(asked).encode() == answer.chain_pem
    asked.call("config.clear", uid=2)
    asked.call("cert.import", name="gw", file=b64(pem_of(replace(other))), replace=True, uid=2)
    assert served(asked).encode() == other.chain_pem
