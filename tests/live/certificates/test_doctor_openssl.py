"""The doctor's bundles in the hands of `openssl verify`: what it repairs verifies there, and what it says is broken does not."""

from __future__ import annotations

import datetime
import random
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tests.fakes.ca import CLIENT_AUTH, UNKNOWN, Issued, TestAuthority

from gatepost.pki.anchors import Anchors
from gatepost.pki.certificate import read_certificate
from gatepost.pki.doctor import Diagnosis, diagnose

AT = datetime.datetime(2027, 1, 15, 8, tzinfo=datetime.UTC)
NOW = AT.timestamp()
DAY = datetime.timedelta(days=1)
NAMES = ["mx.example"]
ROOT = TestAuthority("Example Root", at=AT)
SUB = ROOT.intermediate("Example Sub CA")
LOW = SUB.intermediate("Example Low CA")
GOOD = LOW.issue(NAMES)
OTHER = TestAuthority("Other Root", at=AT)
ANCHORS = Anchors.from_pem(ROOT.root_pem)


def der(*certificates: x509.Certificate | TestAuthority) -> list[bytes]:
    return [
        (c.certificate if isinstance(c, TestAuthority) else c).public_bytes(Encoding.DER)
        for c in certificates
    ]


def pem(certificates: Sequence[bytes]) -> bytes:
    return b"".join(read_certificate(certificate).pem for certificate in certificates)


def openssl_accepts(chain: Sequence[bytes], folder: Path, trusted: bytes = ROOT.root_pem) -> bool:
    """What a peer with these roots and no other says of the chain at `AT`."""
    leaf, *others = chain
    (folder / "leaf.pem").write_bytes(pem([leaf]))
    (folder / "roots.pem").write_bytes(trusted)
    command = ["openssl", "verify", "-no-CApath", "-no-CAstore", "-purpose", "sslserver"]
    command += ["-attime", str(int(NOW)), "-auth_level", "2", "-CAfile", str(folder / "roots.pem")]
    if others:
        (folder / "others.pem").write_bytes(pem(others))
        command += ["-untrusted", str(folder / "others.pem")]
    done = subprocess.run([*command, str(folder / "leaf.pem")], capture_output=True, timeout=30, check=False)
    assert done.returncode in (0, 2), done.stderr
    return done.returncode == 0


def look(chain: Sequence[bytes], known: Sequence[bytes] = ()) -> Diagnosis:
    return diagnose(chain, ANCHORS, NOW, known=known)


OLD_SAME_KEY = LOW.again(start=AT - 700 * DAY, end=AT - DAY)
OLD_OTHER_KEY = LOW.again(key="p256", start=AT - 700 * DAY, end=AT + 90 * DAY)


@pytest.mark.parametrize(
    ("behind", "known", "accepted_before"),
    [
        pytest.param([], der(SUB, LOW), False, id="nothing sent, all known"),
        pytest.param(der(SUB), der(LOW), False, id="a gap"),
        pytest.param(der(OLD_SAME_KEY, SUB), der(LOW), False, id="last year's instead of this year's"),
        pytest.param(der(OLD_OTHER_KEY, SUB), der(LOW), False, id="another key of the same name"),
        pytest.param(der(OLD_SAME_KEY, OLD_OTHER_KEY, LOW, SUB), [], True, id="last year's beside it"),
        pytest.param(der(SUB, LOW), [], True, id="wrong order"),
        pytest.param(der(LOW, LOW, SUB, ROOT, OTHER), [], True, id="twice, roots, strangers"),
    ],
)
def test_a_repaired_chain_verifies(
    behind: list[bytes], known: list[bytes], accepted_before: bool, tmp_path: Path
) -> None:
    leaf = GOOD.chain_der[0]
    found = look([leaf, *behind], known)
    assert openssl_accepts([leaf, *behind], tmp_path) is accepted_before
    assert found.changed
    assert found.verifies
    assert openssl_accepts([leaf, *found.bundle], tmp_path)
    assert any(note.severity == "error" for note in found.findings) is not accepted_before


def test_shuffled_mixtures_verify_after_repair(tmp_path: Path) -> None:
    leaf, *right = GOOD.chain_der
    strangers = der(ROOT, OTHER, OLD_SAME_KEY, OLD_OTHER_KEY, OTHER.intermediate("Other Sub CA"))
    chance = random.Random(20270115)
    for _ in range(20):
        behind = [*right, *chance.choices(strangers, k=chance.randrange(6))]
        chance.shuffle(behind)
        found = look([leaf, *behind])
        assert list(found.bundle) == right
        assert openssl_accepts([leaf, *found.bundle], tmp_path)


@pytest.mark.parametrize("trusted", [ROOT, OTHER], ids=["the new root", "the old root"])
def test_a_cross_sign_that_stays_serves_peers_of_either_root(trusted: TestAuthority, tmp_path: Path) -> None:
    leaf, *right = GOOD.chain_der
    cross = der(OTHER.cross_sign(ROOT))
    for behind in ([*right, *cross], [*cross, *right]):
        found = look([leaf, *behind])
        assert list(found.bundle) == [*right, *cross]
        assert openssl_accepts([leaf, *found.bundle], tmp_path, trusted.root_pem)


@pytest.mark.parametrize(
    "issued",
    [
        pytest.param(LOW.issue(NAMES, expired=True), id="expired"),
        pytest.param(LOW.issue(NAMES, not_yet_valid=True), id="not yet valid"),
        pytest.param(LOW.issue(NAMES, key="rsa1024"), id="short key"),
        pytest.param(LOW.issue(NAMES, usages=(CLIENT_AUTH,)), id="usage"),
        pytest.param(LOW.issue(NAMES, extensions=[(UNKNOWN, True)]), id="critical extension"),
        pytest.param(ROOT.intermediate("No CA", is_ca=False).issue(NAMES), id="not a CA"),
        pytest.param(
            ROOT.intermediate("Flat", path_length=0).intermediate("Below").issue(NAMES), id="path length"
        ),
        pytest.param(
            ROOT.intermediate("Outside", permitted=["other.example"]).issue(NAMES), id="constraints"
        ),
        pytest.param(OTHER.issue(NAMES), id="another authority"),
        pytest.param(OLD_SAME_KEY.issue(NAMES), id="expired intermediate"),
        pytest.param(LOW.issue(NAMES, key="ed25519"), id="sound, Ed25519"),
        pytest.param(LOW.issue(NAMES, key="p521", usages=None), id="sound, P-521, no usage"),
        pytest.param(LOW.issue(NAMES, end=AT.replace(year=2060)), id="sound, until 2060"),
        pytest.param(LOW.issue(NAMES, negative_serial=True), id="negative serial"),
        pytest.param(ROOT.descend(9).issue(NAMES), id="sound, ten certificates"),
    ],
)
def test_both_agree_on_what_verifies(issued: Issued, tmp_path: Path) -> None:
    found = look(issued.chain_der)
    assert found.verifies is openssl_accepts(issued.chain_der, tmp_path)
    assert found.verifies is not any(note.severity == "error" for note in found.findings)
