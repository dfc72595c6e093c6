"""acme.*: stand-ins, secrets, standings, a renewal by hand, and what only the gateway may do."""

from __future__ import annotations

import asyncio
import socket
from base64 import b64encode
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

import orjson
import pytest
from tests.control.kit import CONTRACT_LIKE, NOW, Bench, b64
from tests.fakes.ca import TestAuthority
from tests.fakes.renewal_authority import FakeAuthority

from gatepost.certs.acme.client import Limits
from gatepost.certs.acme.errors import AcmeFailed
from gatepost.certs.acme_vault import AcmeVault
from gatepost.certs.authority_link import AcmeAuthority
from gatepost.certs.renewing import Renewals, Tools
from gatepost.control.ports import Caller
from gatepost.core.certificate_events import CertificateRenewalFailed
from gatepost.core.errors import Exit, OperatorError
from gatepost.core.ports import Alert
from gatepost.pki.keys import SecretBytes, load_private_key
from gatepost.pki.profile import Origin, Profile, make_profile
from gatepost.store.secrets import LocalKeeper

ACME = """
acme:
  directory: https://acme.example/directory
  terms_agreed: true
  certificates:
    - {name: mx, names: [mx.example.net, mail.example.net]}
"""
WITH_ACME = CONTRACT_LIKE.replace("certificate: Demo", "certificate: mx") + ACME


class Desk:
    """A running gateway with the renewals as its job, and an authority behind them."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.gateway = bench.start()
        self.gateway.jobs["renewal"] = self.run
        self.authority = FakeAuthority(bench.clock)
        self.alerts: list[Alert] = []
        keeper = LocalKeeper(bench.key)
        self.vault = AcmeVault(bench.store, keeper, bench.clock)
        self.renewals = Renewals(
            Tools(
                bench.store,
                keeper,
                self.vault,
                self.authority.connect,
                self.challenges,
                self.commit,
                self.gateway.emit,
                self,
                bench.clock,
            )
        )

    async def run(self) -> None:
        await self.renewals.run()

    async def tell(self, alert: Alert, /) -> None:
        self.alerts.append(alert)

    @staticmethod
    def challenges(_wanted: object) -> AbstractAsyncContextManager[Any]:
        return nullcontext()

    async def commit(self, profile: Profile, comment: str) -> None:
        value = b64encode(orjson.dumps(profile.with_key_document())).decode()
        args = {"profile": value, "comment": comment}
        await self.bench.operations.call("acme.install", args, Caller.gateway())


@pytest.fixture
def desk(bench: Bench) -> Desk:
    desk = Desk(bench)
    bench.apply(WITH_ACME)
    return desk


def stored(bench: Bench, name: str = "mx") -> Profile:
    version = bench.store.latest()
    assert version is not None
    found = bench.store.profile(version.content.profiles[name])
    assert found is not None
    return Profile.from_document(found.record)


# --- stand-ins ----------------------------------------------------------------------------------


@pytest.mark.parametrize("running", [False, True])
def test_a_profile_that_is_to_be_issued_exists_from_the_commit_on(bench: Bench, running: bool) -> None:
    if running:
        bench.start()
    bench.apply(WITH_ACME)
    profile = stored(bench)
    assert profile.origin is Origin.SELF_SIGNED
    assert list(profile.leaf.names.dns) == ["mx.example.net", "mail.example.net"]
    load_private_key(bench.opens("mx"))


def test_a_stand_in_is_made_once_and_never_over_what_is_there(bench: Bench) -> None:
    bench.apply(WITH_ACME)
    first = stored(bench).leaf.fingerprint
    bench.apply(WITH_ACME.replace("mail.example.net", "other.example.net"))
    assert stored(bench).leaf.fingerprint == first


def test_pending_changes_may_name_what_is_to_be_issued(bench: Bench) -> None:
    bench.apply(WITH_ACME, pending=True)
    problems = bench.call("config.pending")["problems"]
    assert [one["path"] for one in problems if one["severity"] == "error"] == []
    bench.call("config.commit")
    assert stored(bench).origin is Origin.SELF_SIGNED


def test_a_refused_change_leaves_no_stand_in_behind(bench: Bench) -> None:
    bench.start().refuses = "the port is taken"
    with pytest.raises(OperatorError):
        bench.apply(WITH_ACME)
    assert bench.store.revisions("mx") == []


def test_a_name_that_is_too_long_for_a_common_name_gets_a_stand_in_too(bench: Bench) -> None:
    long = ".".join(["a" * 50, "b" * 50, "example.net"])
    bench.apply(WITH_ACME.replace("mx.example.net, mail", f"{long}, mail"))
    assert list(stored(bench).leaf.names.dns) == [long, "mail.example.net"]


# --- secrets ------------------------------------------------------------------------------------


def test_a_missing_secret_is_a_warning_until_it_is_stored(bench: Bench) -> None:
    dns = "  challenge: dns-01\n  dns: {server: 192.0.2.53, zone: example.net, key_name: gw-key}\n  eab: {key_id: k}\n"
    text = WITH_ACME.replace("  terms_agreed", f"{dns}  terms_agreed")
    for problems in (
        bench.call("config.check", text=b64(text))["problems"],
        bench.apply(text)["warnings"],
    ):
        lines = [(one["path"], one["severity"]) for one in problems]
        assert ("acme.eab", "warning") in lines
        assert ("acme.dns.key_name", "warning") in lines
    bench.call("acme.secret", kind="eab", value="c2VjcmV0LWtleQ")
    bench.call("acme.secret", kind="tsig", value="c2VjcmV0LWtleQ==")
    left = [one["path"] for one in bench.call("config.check", text=b64(text))["problems"]]
    assert [path for path in left if path.startswith("acme.")] == []
    bench.call("acme.secret", kind="eab", value="")
    assert "acme.eab" in [one["path"] for one in bench.call("config.check", text=b64(text))["problems"]]


def test_a_secret_is_sealed_and_wakes_the_renewals(desk: Desk) -> None:
    desk.gateway.jobs.clear()
    answer = desk.bench.call("acme.secret", kind="eab", value=" c2VjcmV0LWtleQ\n")
    assert answer == {"kind": "eab", "stored": True, "said": "eab stored"}
    assert desk.gateway.looked == ["renewal"]
    raw = desk.bench.store.get_meta("acme eab/")
    assert raw is not None
    assert b"c2VjcmV0" not in raw
    from gatepost.certs.acme_secrets import Secret

    assert asyncio.run(desk.vault.secret(Secret.EAB)) == SecretBytes(b"c2VjcmV0LWtleQ")
    assert all("c2VjcmV0" not in repr(event) for event in desk.gateway.events)


@pytest.mark.parametrize(
    ("kind", "value"), [("eab", "no key!"), ("tsig", "c2VjcmV0LWtle"), ("tsig", "ü"), ("eab", "A" * 5000)]
)
def test_what_is_no_key_is_refused_and_not_repeated(bench: Bench, kind: str, value: str) -> None:
    with pytest.raises(OperatorError, match="that is no key") as refusal:
        bench.call("acme.secret", kind=kind, value=value)
    assert value not in refusal.value.message + refusal.value.hint
    assert bench.store.get_meta(f"acme {kind}/") is None


def test_there_is_no_other_secret(bench: Bench) -> None:
    with pytest.raises(OperatorError, match="no such secret") as refusal:
        bench.call("acme.secret", kind="hmac", value="c2VjcmV0")
    assert refusal.value.code is Exit.USAGE


# --- standings and renewals -----------------------------------------------------------------------


def test_a_renewal_by_hand_tells_what_came_of_it(desk: Desk) -> None:
    bench = desk.bench
    (row,) = bench.call("acme.status")
    assert (row["name"], row["stand_in"], row["outcome"], row["failures"]) == ("mx", True, "", 0)
    assert row["why"] == "a self-signed certificate stands in"
    answer = bench.call("acme.renew", name="mx")
    assert answer["done"]
    assert answer["said"].startswith("mx was renewed; the new certificate is in force until 2027-")
    (row,) = bench.call("acme.status")
    assert (row["stand_in"], row["origin"], row["outcome"]) == (False, "automatic", "issued")
    assert row["fingerprints"] == [stored(bench).leaf.fingerprint]
    newest = bench.call("config.history")[0]
    assert (newest["author"], newest["comment"]) == (
        "gatepost",
        "automatic certificate mx: asked for by hand",
    )
    before = row["fingerprints"]
    assert bench.call("acme.renew", name="mx")["done"]
    assert bench.call("acme.status")[0]["fingerprints"] != before


def test_a_renewal_that_fails_says_why_and_when_it_is_tried_again(desk: Desk) -> None:
    desk.authority.refuses = AcmeFailed(
        "mx.example.net: no valid A records found", details=("mail: the same",)
    )
    with pytest.raises(OperatorError, match=r"mx was not renewed: mx\.example\.net: no valid A") as refusal:
        desk.bench.call("acme.renew", name="mx")
    assert refusal.value.hint.startswith("it is tried again at 2027-01-15T08:0")
    (row,) = desk.bench.call("acme.status")
    assert row["outcome"] == "mx.example.net: no valid A records found; mail: the same"
    assert row["failed"]
    assert row["next_try"] > "2027-01-15T08:00"
    assert [alert.subject for alert in desk.alerts] == ["Renewal failed: mx"]
    assert stored(desk.bench).origin is Origin.SELF_SIGNED
    assert any(isinstance(event, CertificateRenewalFailed) for event in desk.gateway.events)


def test_what_does_not_renew_itself_is_refused(desk: Desk) -> None:
    with pytest.raises(OperatorError, match="Demo is not renewed by itself") as refusal:
        desk.bench.call("acme.renew", name="Demo")
    assert refusal.value.hint == "there are mx"


def test_an_order_needs_a_running_gateway(bench: Bench) -> None:
    bench.apply(WITH_ACME)
    with pytest.raises(OperatorError) as refusal:
        bench.call("acme.renew", name="mx")
    assert refusal.value.code is Exit.NOT_RUNNING


def test_a_rehearsal_says_what_stands_in_the_way_and_changes_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(AcmeAuthority.__init__.__kwdefaults__, "limits", Limits(first_wait=0.01))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        desk.bench.apply(WITH_ACME.replace("acme.example", f"127.0.0.1:{port}"))
        versions = desk.bench.versions()
        with pytest.raises(OperatorError, match=r"mx would not be renewed: .*did not answer the directory"):
            desk.bench.call("acme.renew", name="mx", dry_run=True)
        found = desk.bench.call("acme.account")
    assert desk.bench.versions() == versions
    assert desk.authority.orders == []
    assert "did not answer" in found["problem"]
    assert (found["url"], found["thumbprint"], found["terms_agreed"]) == ("", "", True)


def test_an_account_is_shown_without_its_key(desk: Desk) -> None:
    desk.bench.call("acme.renew", name="mx")
    facts = desk.vault.account_facts("https://acme.example/directory")
    assert facts["url"] == "https://acme.example/directory/account/1"
    assert len(facts["thumbprint"]) == 43
    assert set(facts) == {"url", "thumbprint", "contact"}


# --- what only the gateway may do -----------------------------------------------------------------


def test_only_the_gateway_puts_certificates_in_force_this_way(desk: Desk) -> None:
    issued = TestAuthority("CA").issue(["mx.example.net"])
    key = load_private_key(issued.key_pem)
    profile = make_profile("mx", issued.chain_der[0], key, origin=Origin.AUTOMATIC, created=NOW)
    value = b64(orjson.dumps(profile.with_key_document()).decode())
    with pytest.raises(OperatorError, match="for the gateway itself"):
        desk.bench.call("acme.install", profile=value, comment="")
    other = make_profile("other", issued.chain_der[0], key, origin=Origin.AUTOMATIC, created=NOW)
    with pytest.raises(OperatorError, match="no automatic certificate any more"):
        asyncio.run(desk.commit(other, ""))
    asyncio.run(desk.commit(profile, "by the job"))
    assert stored(desk.bench).leaf.fingerprint == profile.leaf.fingerprint


def test_a_certificate_without_its_key_is_never_put_in_force(desk: Desk) -> None:
    issued = TestAuthority("CA").issue(["mx.example.net"])
    other = load_private_key(TestAuthority("CA").issue(["mx.example.net"]).key_pem)
    mine = load_private_key(issued.key_pem)
    profile = make_profile("mx", issued.chain_der[0], mine, origin=Origin.AUTOMATIC, created=NOW)
    broken = {**profile.with_key_document()}
    from gatepost.pki.keys import key_pem

    broken["private_key"] = key_pem(other).reveal().decode()
    args = {"profile": b64(orjson.dumps(broken).decode()), "comment": ""}
    with pytest.raises(OperatorError):
        asyncio.run(desk.bench.operations.call("acme.install", args, Caller.gateway()))
    assert stored(desk.bench).origin is Origin.SELF_SIGNED
