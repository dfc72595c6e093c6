"""cert.new, cert.import, cert.list, cert.show."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from tests.control.kit import CONTRACT_LIKE, Bench, b64, pem_of
from tests.fakes.ca import TestAuthority

from gatepost.core.errors import Exit, OperatorError
from gatepost.pki.keys import load_private_key, public_key_der

STABLE = {"name", "common_name", "issuer", "not_after", "status", "used_by", "findings"}


def new(bench: Bench, name: str = "gw", **args: Any) -> Any:
    return bench.call("cert.new", **{"name": name, "common_name": "mx.example.net", "key": "p256", **args})


def test_a_new_certificate_is_kept_with_its_key_sealed(bench: Bench) -> None:
    answer = new(bench, san=["mx.example.net", "192.0.2.1"], organization="Example", country="it", days=30)
    assert answer["version"] == 2
    found = bench.call("cert.show", name="gw")
    assert answer["certificate"].items() <= found.items()
    assert found["subject"] == "CN=mx.example.net,O=Example,C=IT"
    assert found["names"] == ["DNS:mx.example.net", "IP:192.0.2.1"]
    assert (found["status"], found["origin"], found["key"]) == ("self-signed", "self-signed", "EC secp256r1")
    assert found["not_after"] == "2027-02-14T08:00:00Z"
    key = bench.opens("gw")
    assert b"PRIVATE KEY" in key
    assert load_private_key(key)
    assert not any(
        key.splitlines()[1] in path.read_bytes() for path in bench.home.root.rglob("*") if path.is_file()
    )


def test_a_list_has_the_contracts_keys_and_says_what_uses_what(bench: Bench) -> None:
    new(bench)
    bench.apply(CONTRACT_LIKE.replace("certificate: Demo", "certificate: gw"))
    rows = {row["name"]: row for row in bench.call("cert.list")}
    assert rows["gw"].keys() >= STABLE
    assert rows["gw"]["used_by"] == ["listener IncomingMail"]
    assert rows["Demo"]["used_by"] == ["delivery"]  # by default
    assert rows["Demo"]["status"] == "demo"
    (finding,) = rows["Demo"]["findings"]
    assert finding.keys() == {"code", "severity", "text", "meaning", "repair", "subject"}
    assert (finding["code"], finding["severity"]) == ("demo", "warning")


def test_a_name_that_is_taken_is_refused(bench: Bench) -> None:
    new(bench, pending=True)
    with pytest.raises(OperatorError, match="already a certificate named gw"):
        new(bench)
    issued = TestAuthority("Example CA").issue(["mx.example.net"])
    with pytest.raises(OperatorError) as caught:
        bench.call("cert.import", name="Demo", file=b64(pem_of(issued)))
    assert "--replace" in caught.value.hint


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": " gw"},
        {"name": "a\nb"},
        {"common_name": ""},
        {"common_name": "not a name"},
        {"country": "Italia"},
        {"days": 0},
        {"days": 99_999},
        {"key": "rsa512"},
    ],
)
def test_what_cannot_be_made_leaves_no_profile(bench: Bench, wrong: dict[str, Any]) -> None:
    with pytest.raises(OperatorError) as caught:
        new(bench, **wrong)
    assert caught.value.code in (Exit.REFUSED, Exit.USAGE)
    assert bench.versions() == 1
    assert not bench.store.revisions(str(wrong.get("name", "gw")))


def test_an_import_takes_one_file_or_two_with_the_chain_in_any_order(bench: Bench) -> None:
    issued = TestAuthority("Example CA").intermediate("Example Sub CA").issue(["mx.example.net"])
    bench.call("cert.import", name="one", file=b64(issued.sending(reverse=True).chain_pem + issued.key_pem))
    bench.call("cert.import", name="two", file=b64(issued.chain_pem), key=b64(issued.key_pem))
    for name in ("one", "two"):
        found = bench.call("cert.show", name=name)
        assert found["origin"] == "imported"
        assert [c["subject"] for c in found["chain"]] == ["CN=mx.example.net", "CN=Example Sub CA"]
        assert public_key_der(load_private_key(bench.opens(name))) == public_key_der(issued.key)


def test_a_key_of_another_certificate_is_refused_before_anything_is_stored(bench: Bench) -> None:
    authority = TestAuthority("Example CA")
    issued, other = authority.issue(["mx.example.net"]), authority.issue(["mx.example.net"])
    with pytest.raises(OperatorError, match=r"does not belong to the certificate CN=mx\.example\.net"):
        bench.call("cert.import", name="gw", file=b64(issued.chain_pem), key=b64(other.key_pem))
    with pytest.raises(OperatorError, match="no private key"):
        bench.call("cert.import", name="gw", file=b64(issued.chain_pem))
    with pytest.raises(OperatorError, match="no certificate"):
        bench.call("cert.import", name="gw", file=b64(issued.key_pem))
    assert not bench.store.revisions("gw")


def test_an_encrypted_key_wants_its_pass_phrase(bench: Bench) -> None:
    issued = TestAuthority("Example CA").issue(["mx.example.net"])
    secret = issued.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"right"))
    args = {"name": "gw", "file": b64(issued.chain_pem), "key": b64(secret)}
    assert bench.call("cert.import", **args)["needs_passphrase"]
    with pytest.raises(OperatorError) as caught:
        bench.call("cert.import", **args, passphrase="wrong-one")
    assert "wrong-one" not in f"{caught.value.message} {caught.value.hint}"
    assert bench.versions() == 1
    assert bench.call("cert.import", **args, passphrase="right")["version"] == 2
    assert b"ENCRYPTED" not in bench.opens("gw")


def test_a_replaced_certificate_serves_every_use_and_can_be_rolled_back(bench: Bench) -> None:
    gateway = bench.start()
    new(bench)
    bench.apply(CONTRACT_LIKE.replace("certificate: Demo", "certificate: gw"))
    old = bench.opens("gw")
    issued = TestAuthority("Example CA").issue(["mx.example.net"])
    bench.call("cert.import", name="gw", file=b64(pem_of(issued)), replace=True)
    assert gateway.active["profiles"]["gw"]["chains"][0].encode() == issued.chain_pem
    assert bench.opens("gw") != old
    bench.call("config.rollback", version=3)
    assert bench.opens("gw") == old


def toy_key() -> rsa.RSAPrivateKey:
    """An RSA key of 512 bits, which no library makes any more."""
    p, q, e = (
        0xCC39D69EA2C510B57F6E94D93C282E79E782EC45C151DDC37D69898BDE7DA2A5,
        0xCE291F3CD8FAFF1CF39F00C4DE4011438B81634B98E068A604A4F3C7110C8AFB,
        65_537,
    )
    d = pow(e, -1, (p - 1) * (q - 1))
    numbers = rsa.RSAPrivateNumbers(
        p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), rsa.RSAPublicNumbers(e, p * q)
    )
    return numbers.private_key()


def test_what_the_library_would_not_serve_is_found_on_a_stopped_gateway_too(bench: Bench) -> None:
    weak = TestAuthority("Example CA").issue(["mx.example.net"], key=toy_key())
    bench.apply(CONTRACT_LIKE)
    with pytest.raises(OperatorError) as caught:
        bench.call("cert.import", name="Demo", file=b64(pem_of(weak)), replace=True)
    assert caught.value.code == Exit.FAULTY_CONFIGURATION
    assert [problem.path for problem in caught.value.problems] == [
        "listeners[0].certificate",
        "destination_controls.global.certificate",
    ]
    assert bench.versions() == 2
    assert len(bench.store.revisions("Demo")) == 1


def test_a_gateway_that_refuses_leaves_no_key_in_the_store(bench: Bench) -> None:
    gateway = bench.start()
    gateway.refuses = "a worker cannot"
    with pytest.raises(OperatorError, match="a worker cannot"):
        new(bench)
    assert not bench.store.revisions("gw")


def test_a_certificate_that_does_not_exist_is_named_with_those_that_do(bench: Bench) -> None:
    with pytest.raises(OperatorError) as caught:
        bench.call("cert.show", name="gw")
    assert "Demo" in caught.value.hint
