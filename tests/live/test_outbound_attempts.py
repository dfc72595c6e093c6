"""What an attempt does with several hosts, and what connections are used for: R24, R25, R27, reuse, our certificate."""

from __future__ import annotations

import json
import smtplib

import pytest
from tests.fakes.ca import Issued, TestAuthority
from tests.live.peers.gateway import document
from tests.live.peers.receiver import Script, ScriptedReceiver, StartTls, behaving
from tests.live.peers.scene import Scene
from tests.live.peers.story import about, connections_of, settled, texts
from tests.live.peers.submit import hand_over, submit

AUTHORITY = TestAuthority("Example CA")


class Site:
    """A gateway whose domains go where the tests say: `x.first.example` to the first receiver, then the second."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.good = AUTHORITY.issue(["*.pair.example", "*.one.example"])
        self.ours = AUTHORITY.issue(["gw.example.net"])
        self.gateway = scene.gateway()
        self.public, self.private = scene.ports.free(), scene.ports.free()
        self.gateway.trust(AUTHORITY.root_pem)
        self.gateway.import_certificate("ours", self.ours)
        self.new_receivers()
        self.gateway.start()

    def new_receivers(self) -> None:
        """Two well-behaved receivers that no open connection leads to yet."""
        self.first = self._scene.receiver(Script(certificate=self.good))
        self.second = self._scene.receiver(Script(certificate=self.good))
        self.configure()

    def configure(self, **changes: str) -> None:
        """The site's configuration; `changes` set the first retry."""
        first, second = (f"[127.0.0.1]:{peer.port}" for peer in (self.first, self.second))
        levels = ("none", "preferred", "required", "required-verify")
        made = document(
            self.public,
            self.private,
            destinations=[
                {"domain": f"{level}.{kind}.example", "tls": level}
                for level in levels
                for kind in ("pair", "one")
            ],
            routes=[
                {"domain": ".pair.example", "hosts": [first, second]},
                {"domain": ".one.example", "hosts": [first]},
            ],
        )
        made["destination_controls"]["global"] = {"certificate": "ours"}
        made["certificate_authorities"] = {"system": False, "custom": True}
        made["delivery"] = {"timeouts": {"idle": "3s"}}
        made["bounce_profiles"][0] |= {"initial_retry": "1h", "max_retry": "1h", "max_age": "1d"} | changes
        self.gateway.configure(made)

    def send(self, to: str) -> int:
        return submit(self.private, to=to)

    def retry(self, mid: int) -> None:
        self.gateway.command("queue", "retry", str(mid))


@pytest.fixture(scope="module")
def shared(scene: Scene) -> Site:
    return Site(scene)


@pytest.fixture
def site(shared: Site) -> Site:
    """The site with receivers of the test's own."""
    shared.new_receivers()
    return shared


def _misbehave(peer: ScriptedReceiver, starttls: StartTls, certificate: Issued | None = None) -> None:
    peer.script = behaving(peer.script, starttls=starttls, certificate=certificate or peer.script.certificate)


@pytest.mark.parametrize("fault", [StartTls.NOT_OFFERED, StartTls.TEMPORARY, StartTls.CLOSES])
def test_required_goes_to_the_next_host(site: Site, fault: StartTls) -> None:
    """R25: nothing on the first connection, the message over TLS on the second."""
    _misbehave(site.first, fault)
    mid = site.send("user@required.pair.example")
    (mail,) = site.second.wait_for_mail()
    assert mail.tls is not None
    assert site.first.mails == []
    assert not any(command.startswith("MAIL") for _, command in site.first.commands)
    settled(site.gateway, mid)
    assert f"Message finished MID {mid} done" in about(site.gateway, f"MID {mid}")
    (delivered_on,) = connections_of(site.gateway, mid)
    refused = delivered_on - 1
    assert f"DCID {refused} IP 127.0.0.1 TLS was required but could not be successfully negotiated" in texts(
        site.gateway.log.all
    )


def test_required_verify_goes_to_the_next_host_when_a_certificate_fails(site: Site) -> None:
    """R27: nothing is sent on a connection whose certificate was not verified."""
    _misbehave(site.first, StartTls.WORKS, AUTHORITY.issue(["*.pair.example"], expired=True))
    mid = site.send("user@required-verify.pair.example")
    (mail,) = site.second.wait_for_mail()
    assert mail.tls is not None
    settled(site.gateway, mid)
    (delivered_on,) = connections_of(site.gateway, mid)
    refused, kept = (about(site.gateway, f"DCID {dcid}") for dcid in (delivered_on - 1, delivered_on))
    assert refused[1] == (
        f"DCID {delivered_on - 1} TLS failed: verify error: certificate has expired"
        " (CN=*.pair.example, issuer CN=Example CA)"
    )
    assert kept[1].endswith(" for required-verify.pair.example verified yes: required-verify.pair.example")


def test_preferred_is_never_in_clear_after_a_broken_handshake(site: Site) -> None:
    """R24: neither on another host of the attempt nor later; later attempts try TLS again."""
    _misbehave(site.first, StartTls.CLOSES)
    _misbehave(site.second, StartTls.NOT_OFFERED)
    mid = site.send("user@preferred.pair.example")
    settled(site.gateway, mid)
    assert site.first.mails == site.second.mails == []
    kept = json.loads(site.gateway.command("queue", "show", str(mid), "--json"))
    assert kept["state"] == "deferred"

    site.retry(mid)
    settled(site.gateway, mid, count=2)
    assert site.first.mails == site.second.mails == []
    assert sum(command == "STARTTLS" for _, command in site.first.commands) == 2

    _misbehave(site.first, StartTls.WORKS)
    site.retry(mid)
    (mail,) = site.first.wait_for_mail()
    assert mail.tls is not None


def test_preferred_goes_to_the_next_host_over_tls(site: Site) -> None:
    _misbehave(site.first, StartTls.GARBAGE)
    site.send("user@preferred.pair.example")
    (mail,) = site.second.wait_for_mail()
    assert mail.tls is not None


def test_a_connection_is_used_again_for_the_same_policy(site: Site) -> None:
    with smtplib.SMTP("127.0.0.1", site.private) as client:
        first = hand_over(client, to="a@required-verify.one.example")
        site.first.wait_for_mail()
        second = hand_over(client, to="b@required-verify.one.example")
    mails = site.first.wait_for_mail(2)
    assert len({mail.connection for mail in mails}) == 1
    settled(site.gateway, second)
    assert connections_of(site.gateway, first) == connections_of(site.gateway, second)


def test_a_connection_is_never_used_across_policies(site: Site) -> None:
    """Three levels to one host and port, each while the other's connection is open and idle."""
    levels = ("none", "required", "required-verify", "preferred")
    mids = []
    with smtplib.SMTP("127.0.0.1", site.private) as client:
        for number, level in enumerate(levels, 1):
            mids.append(hand_over(client, to=f"user@{level}.one.example"))
            site.first.wait_for_mail(number)
    by_level = dict(zip(levels, site.first.wait_for_mail(len(levels)), strict=True))
    assert by_level["none"].tls is None
    assert all(by_level[level].tls is not None for level in levels[1:])
    for mid in mids:
        settled(site.gateway, mid)
    used = [connections_of(site.gateway, mid)[0] for mid in mids]
    assert len(set(used)) == len(levels)


def test_a_commit_ends_the_use_of_an_open_connection(site: Site) -> None:
    """A domain that must have TLS from now on does not get the connection that was opened in clear."""
    _misbehave(site.first, StartTls.NOT_OFFERED)
    site.send("user@preferred.one.example")
    (mail,) = site.first.wait_for_mail()
    assert mail.tls is None
    _misbehave(site.first, StartTls.WORKS)
    site.configure(delay_warning="2h")
    site.send("user@preferred.one.example")
    later = site.first.wait_for_mail(2)[1]
    assert later.connection != mail.connection
    assert later.tls is not None


def test_our_certificate_is_shown_to_a_server_that_asks(site: Site) -> None:
    """R14: a peer that demands a certificate of our authority gets it and takes the mail."""
    site.first.script = behaving(
        site.first.script, ask_client_certificate=True, client_authority=AUTHORITY.root_pem
    )
    site.send("user@required.one.example")
    (mail,) = site.first.wait_for_mail()
    assert mail.tls is not None
    assert mail.tls.client_certificate == site.ours.chain_der[0]


def test_a_server_that_does_not_like_our_certificate_is_tried_without_it(site: Site) -> None:
    stranger = TestAuthority("Another CA")
    site.second.script = behaving(
        site.second.script, ask_client_certificate=True, client_authority=stranger.root_pem
    )
    _misbehave(site.first, StartTls.CLOSES)
    mid = site.send("user@required.pair.example")
    site.gateway.wait_for_log(r"broke the handshake after asking for a client certificate: trying without it")
    settled(site.gateway, mid)
    assert site.second.mails == []  # it demands one that we do not have: kept, not sent in clear
