"""cert.csr, renew, repair, restore, delete, check, export and the history: what becomes of a certificate that is there."""

from __future__ import annotations

import datetime
from base64 import b64decode
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs12
from tests.control.kit import CONTRACT_LIKE, Bench, b64, pem_of
from tests.fakes.ca import Issued, TestAuthority

from gatepost.core.certificate_events import CertificateIssued
from gatepost.core.errors import OperatorError
from gatepost.core.events import Noted
from gatepost.pki.keys import SecretBytes, load_private_key, public_key_der
from gatepost.pki.profile import split_keys

AT = datetime.datetime(2027, 1, 15, 8, tzinfo=datetime.UTC)
ROOT = TestAuthority("Example Root", at=AT)
CA = ROOT.intermediate("Example Sub CA")
PHRASE = "seven green bicycles at noon"


def new(bench: Bench, name: str = "gw", **args: Any) -> Any:
    return bench.call("cert.new", **{"name": name, "common_name": "mx.example.net", "key": "p256", **args})


def put(bench: Bench, issued: Issued, name: str = "gw", **args: Any) -> Any:
    return bench.call("cert.import", name=name, file=b64(pem_of(issued)), **args)


def assign(bench: Bench, name: str = "gw") -> None:
    bench.apply(CONTRACT_LIKE.replace("certificate: Demo", f"certificate: {name}"))


def keys(bench: Bench, name: str = "gw") -> list[bytes]:
    return [key.reveal() for key in split_keys(SecretBytes(bench.opens(name)))]


def events(bench: Bench) -> list[CertificateIssued]:
    assert bench.gateway is not None
    return [event for event in bench.gateway.events if isinstance(event, CertificateIssued)]


# --- the request ------------------------------------------------------------------------------------


def test_a_request_is_printed_with_what_to_ask_for(bench: Bench) -> None:
    new(bench, organization="Example", country="IT", san=["mx.example.net", "a.example.net"])
    found = bench.call("cert.csr", name="gw")
    request = x509.load_pem_x509_csr(found["csr"].encode())
    assert request.subject.rfc4514_string() == "CN=mx.example.net,O=Example,C=IT"
    assert found["names"] == ["DNS:mx.example.net", "DNS:a.example.net"]
    assert "X.509/PEM (Apache)" in found["ask"]
    assert "intermediate" in found["ask"]


def test_a_request_that_is_only_pending_is_refused_with_the_reason(bench: Bench) -> None:
    """R4."""
    new(bench, pending=True)
    with pytest.raises(OperatorError, match=r"only pending.*signed answer could not be applied") as caught:
        bench.call("cert.csr", name="gw")
    assert "config commit" in caught.value.hint
    with pytest.raises(OperatorError, match="only pending"):
        bench.call("cert.show", name="gw")
    with pytest.raises(OperatorError, match="no certificate named gw"):
        bench.call("cert.csr", name="gw", uid=7)
    bench.call("config.commit")
    before = bench.call("cert.csr", name="gw")["csr"]
    put(bench, CA.issue(["mx.example.net"]), "other")
    bench.call("cert.renew", name="other", pending=True)
    with pytest.raises(OperatorError, match="the request of other is only pending"):
        bench.call("cert.csr", name="other")
    assert bench.call("cert.csr", name="gw")["csr"] == before


def test_without_a_request_it_is_said_how_to_get_one(bench: Bench) -> None:
    put(bench, CA.issue(["mx.example.net"]))
    with pytest.raises(OperatorError) as caught:
        bench.call("cert.csr", name="gw")
    assert "cert renew gw" in caught.value.hint


# --- renewal ----------------------------------------------------------------------------------------


def test_a_self_signed_certificate_is_renewed_at_once(bench: Bench) -> None:
    bench.start()
    new(bench, days=30)
    assign(bench)
    bench.clock.at += 20 * 86_400
    planned = bench.call("cert.renewal", name="gw")
    assert (planned["step"], planned["days"], planned["new_key"]) == ("self-signed", 30, "")
    assert bench.versions() == 3
    old = keys(bench)
    said = bench.call("cert.renew", name="gw")
    assert said["certificate"]["not_after"] == "2027-03-06T08:00:00Z"
    assert keys(bench) == old
    assert [event.how for event in events(bench)] == ["self-signed", "self-signed"]
    assert "require" in said["next"]  # R2, where it is made
    bench.call("cert.renew", name="gw", key="rsa2048")
    assert keys(bench) != old
    assert bench.call("cert.show", name="gw")["key"] == "RSA 2048"


def test_a_signed_certificate_gets_a_request_whose_new_key_waits(bench: Bench) -> None:
    gateway = bench.start()
    issued = CA.issue(["mx.example.net"])
    put(bench, issued)
    assign(bench)
    said = bench.call("cert.renew", name="gw", new_key=True)
    assert said["step"] == "request"
    assert "cert csr gw" in said["next"]
    assert "cert install gw FILE" in said["next"]
    assert gateway.active["profiles"]["gw"]["chains"] == [issued.chain_pem.decode()]
    assert len(keys(bench)) == 2
    request = bench.call("cert.csr", name="gw")
    assert request["waiting_key"]
    answer = CA.issue(["mx.example.net"], key=load_private_key(keys(bench)[1]))  # type: ignore[arg-type]
    bench.call("cert.install", name="gw", file=b64(answer.chain_pem))
    assert gateway.active["profiles"]["gw"]["chains"] == [answer.chain_pem.decode()]
    assert [public_key_der(load_private_key(key)) for key in keys(bench)] == [public_key_der(answer.key)]
    assert [event.how for event in events(bench)] == ["imported", "signed"]


def test_the_request_once_more_changes_nothing(bench: Bench) -> None:
    put(bench, CA.issue(["mx.example.net"]))
    bench.call("cert.renew", name="gw")
    versions = bench.versions()
    said = bench.call("cert.renew", name="gw")
    assert (said["step"], said["unchanged"], said["version"]) == ("existing-request", True, versions)
    assert bench.versions() == versions


def test_what_cannot_be_renewed_so_is_refused(bench: Bench) -> None:
    put(bench, CA.issue(["mx.example.net"]))
    for wrong in ({"days": 30}, {"key": "rsa512"}, {"beside": True}, {"beside": True, "key": "p384"}):
        with pytest.raises(OperatorError):
            bench.call("cert.renew", name="gw", **wrong)
    with pytest.raises(OperatorError, match="no certificate named x"):
        bench.call("cert.renewal", name="x")
    assert bench.versions() == 2


# --- check and repair -------------------------------------------------------------------------------


def test_a_check_says_what_breaks_verification_and_what_a_repair_would_mend(bench: Bench) -> None:
    bench.call("ca.import", file=b64(ROOT.root_pem))
    put(bench, CA.issue(["mx.example.net"]), "whole")
    put(bench, CA.issue(["mx.example.net"]).sending(leaf_only=True), "gap")
    rows = {row["name"]: row for row in bench.call("cert.check")}
    assert {name: (row["broken"], row["repairable"]) for name, row in rows.items()} == {
        "Demo": (False, False),
        "whole": (False, False),
        "gap": (True, True),
    }
    (finding,) = [f for f in rows["gap"]["findings"] if f["severity"] == "error"]
    assert finding["code"] == "missing-intermediate"
    assert "known here" in finding["repair"]
    assert bench.call("cert.check", name="gap")["status"] == "missing-intermediate"


def test_a_repair_puts_the_right_bundle_in_place_as_a_new_version(bench: Bench) -> None:
    gateway = bench.start()
    bench.call("ca.import", file=b64(ROOT.root_pem))
    low = CA.intermediate("Example Low CA")
    whole = low.issue(["mx.example.net"])
    put(bench, whole, "whole")
    put(bench, low.issue(["mx.example.net"]).sending(leaf_only=True), "gap")
    untidy = whole.sending(reverse=True, root=True, duplicate=True)
    put(bench, untidy)
    assign(bench)
    key = keys(bench)
    said = bench.call("cert.repair", name="gw")
    assert [row["name"] for row in said["repaired"]] == ["gw"]
    assert "taken out: CN=Example Root" in said["repaired"][0]["notes"]
    assert gateway.active["profiles"]["gw"]["chains"] == [whole.chain_pem.decode()]
    assert keys(bench) == key
    assert [row["name"] for row in bench.call("cert.repair")["repaired"]] == ["gap"]
    versions = bench.versions()
    said = bench.call("cert.repair")
    assert (said["repaired"], said["unchanged"], bench.versions()) == ([], True, versions)
    assert not any(row["broken"] for row in bench.call("cert.check"))
    assert [event.name for event in events(bench)] == ["whole", "gap", "gw"]  # a repair issues nothing


# --- history, restore, delete -----------------------------------------------------------------------


def test_the_history_has_what_was_committed_and_restore_brings_certificate_and_key_back(bench: Bench) -> None:
    gateway = bench.start()
    first = CA.issue(["mx.example.net"])
    put(bench, first)  # version 2
    assign(bench)  # version 3
    put(bench, CA.issue(["mx.example.net"]), replace=True, pending=True)
    bench.call("config.clear")
    second = CA.issue(["mx.example.net"])
    put(bench, second, replace=True)  # version 4
    rows = bench.call("cert.show", name="gw")["history"]
    assert [(row["version"], row["last_version"], row["in_force"]) for row in rows] == [
        (4, 4, True),
        (2, 3, False),
    ]
    said = bench.call("cert.restore", name="gw", version=3)
    assert said["version"] == 5
    assert said["replaces"] == ["listener IncomingMail"]
    assert gateway.active["profiles"]["gw"]["chains"] == [first.chain_pem.decode()]
    assert public_key_der(load_private_key(keys(bench)[0])) == public_key_der(first.key)
    assert len(events(bench)) == 2  # what is brought back is not new
    rows = bench.call("cert.show", name="gw")["history"]
    assert [(row["version"], row["last_version"]) for row in rows] == [(5, 5), (4, 4), (2, 3)]
    assert bench.call("cert.restore", name="gw", version=3)["unchanged"]
    with pytest.raises(OperatorError, match="version 1 has no certificate named gw") as caught:
        bench.call("cert.restore", name="gw", version=1)
    assert "cert show gw" in caught.value.hint


def test_a_restore_says_that_an_open_request_goes(bench: Bench) -> None:
    put(bench, CA.issue(["mx.example.net"]))
    bench.call("cert.renew", name="gw", new_key=True)
    said = bench.call("cert.restore", name="gw", version=2)
    assert "version 3 keeps them" in said["notes"][0]
    assert len(keys(bench)) == 1


def test_a_certificate_that_is_used_is_not_deleted_and_it_is_said_where(bench: Bench) -> None:
    new(bench)
    assign(bench)
    for force in (False, True):
        with pytest.raises(OperatorError, match="gw is used by listener IncomingMail") as caught:
            bench.call("cert.delete", name="gw", force=force)
        assert ("--force does not help" in caught.value.hint) is force
    assign(bench, "Demo")
    said = bench.call("cert.delete", name="gw")
    assert said["name"] == "gw"
    assert [row["name"] for row in bench.call("cert.list")] == ["Demo"]
    with pytest.raises(OperatorError, match="no certificate named gw"):
        bench.call("cert.delete", name="gw")
    bench.call("cert.restore", name="gw", version=2)
    assert bench.call("cert.show", name="gw")["origin"] == "self-signed"


def test_what_another_administrators_pending_changes_use_takes_force(bench: Bench) -> None:
    new(bench)
    bench.apply(CONTRACT_LIKE.replace("certificate: Demo", "certificate: gw"), uid=2, pending=True)
    with pytest.raises(
        OperatorError, match=r"pending changes of local:2 \(listener IncomingMail\)"
    ) as caught:
        bench.call("cert.delete", name="gw")
    assert "--force" in caught.value.hint
    said = bench.call("cert.delete", name="gw", force=True)
    assert "local:2" in said["notes"][0]
    with pytest.raises(OperatorError) as caught:
        bench.call("config.commit", uid=2)
    assert "gw" in str(caught.value.problems)
    assert bench.call("config.pending", uid=2)["pending"]


def test_the_own_pending_changes_count_as_uses(bench: Bench) -> None:
    new(bench)
    bench.apply(CONTRACT_LIKE.replace("certificate: Demo", "certificate: gw"), pending=True)
    with pytest.raises(OperatorError, match="is used by listener IncomingMail"):
        bench.call("cert.delete", name="gw")


def test_the_demo_certificate_can_be_deleted_when_nothing_uses_it(bench: Bench) -> None:
    put(bench, CA.issue(["mx.example.net"]))
    text = CONTRACT_LIKE.replace("certificate: Demo", "certificate: gw")
    bench.apply(text)
    with pytest.raises(OperatorError, match="used by delivery"):
        bench.call("cert.delete", name="Demo")
    bench.apply(text.replace("destination_controls:", "destination_controls:\n  global: {certificate: gw}"))
    bench.call("cert.delete", name="Demo")
    assert [row["name"] for row in bench.call("cert.list")] == ["gw"]


def test_the_second_certificate_is_deleted_alone(bench: Bench) -> None:
    put(bench, CA.issue(["mx.example.net"], key="rsa2048"))
    put(bench, CA.issue(["mx.example.net"]), beside=True)
    assign(bench)
    bench.call("cert.delete", name="gw", beside=True)
    found = bench.call("cert.show", name="gw")
    assert (found["key"], found["beside"]) == ("RSA 2048", None)
    assert len(keys(bench)) == 1


# --- export -----------------------------------------------------------------------------------------


def test_an_export_has_the_key_and_every_stored_certificate(bench: Bench) -> None:
    bench.start()
    issued = CA.issue(["mx.example.net"]).sending(root=True)
    put(bench, issued)
    for form in ("modern", "compatible"):
        said = bench.call("cert.export", name="gw", passphrase=PHRASE, form=form)
        opened = pkcs12.load_pkcs12(b64decode(said["file"]), PHRASE.encode())
        assert opened.key is not None
        assert opened.cert is not None
        assert opened.cert.certificate == issued.leaf
        assert [one.certificate for one in opened.additional_certs] == list(issued.intermediates)
    assert bench.gateway is not None
    log = [event for event in bench.gateway.events if isinstance(event, Noted)]
    assert "gw with its private key" in str(log[-1])
    assert PHRASE not in str(log)


def test_of_two_the_wanted_one_is_exported(bench: Bench) -> None:
    main, beside = CA.issue(["mx.example.net"], key="rsa2048"), CA.issue(["mx.example.net"])
    put(bench, main)
    with pytest.raises(OperatorError, match="no second"):
        bench.call("cert.export", name="gw", passphrase=PHRASE, which="beside")
    put(bench, beside, beside=True)
    said = bench.call("cert.export", name="gw", passphrase=PHRASE, which="beside")
    opened = pkcs12.load_pkcs12(b64decode(said["file"]), PHRASE.encode())
    assert opened.cert is not None
    assert opened.cert.certificate == beside.leaf


@pytest.mark.parametrize("phrase", ["", "short", "passwordpassword"])
def test_a_weak_pass_phrase_exports_nothing_and_is_not_repeated(bench: Bench, phrase: str) -> None:
    put(bench, CA.issue(["mx.example.net"]))
    with pytest.raises(OperatorError, match="pass-phrase") as caught:
        bench.call("cert.export", name="gw", passphrase=phrase)
    assert not phrase or phrase not in caught.value.message + caught.value.hint


def test_what_cannot_be_exported_is_said(bench: Bench) -> None:
    new(bench, pending=True)
    with pytest.raises(OperatorError, match="only pending"):
        bench.call("cert.export", name="gw", passphrase=PHRASE)
    with pytest.raises(OperatorError, match="no form of PKCS#12"):
        bench.call("cert.export", name="Demo", passphrase=PHRASE, form="zip")


# --- automatic certificates -------------------------------------------------------------------------

ACME = """
acme:
  directory: https://acme.example/directory
  terms_agreed: true
  certificates:
    - {name: auto, names: [mx.example.net]}
"""


def test_what_renews_itself_is_listed_so_and_not_renewed_by_hand(bench: Bench) -> None:
    bench.apply(CONTRACT_LIKE + ACME)
    rows = {row["name"]: row for row in bench.call("cert.list")}
    assert (rows["Demo"]["automatic"], rows["Demo"]["next_renewal"]) == (False, "")
    # A self-signed one stands in, so it is due now.
    assert (rows["auto"]["automatic"], rows["auto"]["next_renewal"]) == (True, "2027-01-15T08:00:00Z")
    assert bench.call("cert.show", name="auto")["automatic"]
    assert bench.call("cert.renewal", name="auto") == {"name": "auto", "automatic": True}
    with pytest.raises(OperatorError, match="auto renews itself"):
        bench.call("cert.renew", name="auto")
    with pytest.raises(OperatorError, match=r"automatic renewal \(acme.certificates\)"):
        bench.call("cert.delete", name="auto")


def test_without_an_authority_it_is_renewed_by_hand(bench: Bench) -> None:
    new(bench, "auto")
    bench.apply(CONTRACT_LIKE + ACME.replace("https://acme.example/directory", "''"))
    assert bench.call("cert.renewal", name="auto")["step"] == "self-signed"
    assert not bench.call("cert.show", name="auto")["automatic"]


# --- why not ----------------------------------------------------------------------------------------


def test_a_failure_is_walked_through_from_the_names_to_the_root(bench: Bench) -> None:
    """R37."""
    bench.call("ca.import", file=b64(ROOT.root_pem))
    put(bench, CA.issue(["other.example.net"]).sending(duplicate=True))
    (walk,) = bench.call("cert.walk", name="gw", offline=True)["walks"]
    repairs = {step["question"]: step["repair"] for step in walk["steps"]}
    assert "`gatepost cert check gw --repair`" in repairs["intermediates-duplicate"]
    put(bench, CA.issue(["other.example.net"]).sending(leaf_only=True), replace=True)
    assign(bench)
    found = bench.call("cert.walk", name="gw", offline=True)
    (walk,) = found["walks"]
    outcomes = {step["question"]: step["outcome"] for step in walk["steps"]}
    assert outcomes["self-signed"] == "passed"
    assert outcomes["interface-host-name"] == "failed"
    assert outcomes["intermediates-missing"] == "failed"
    assert [row["interface_host"] for row in found["name_check"]["listeners"]] == ["mx.example.net"]


def test_a_self_signed_certificate_is_expected_to_fail_and_that_is_the_whole_answer(bench: Bench) -> None:
    found = bench.call("cert.walk", name="Demo", offline=True)
    assert [step["outcome"] for walk in found["walks"] for step in walk["steps"]] == ["expected"]
    with pytest.raises(OperatorError, match="no certificate named x"):
        bench.call("cert.walk", name="x")
