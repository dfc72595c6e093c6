"""Our TLS reports on the wire: deliveries that succeed and fail, their sums, and the reports that go out by mail and https.

The gateway is alone in a network namespace; in the other are the name server, a web server that has the policies and takes reports, and
receivers. The signatures are judged by dkimpy and by the tests' own verifier against what the name server publishes.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.fakes.ca import TestAuthority
from tests.fakes.dkim_verifier import verdicts
from tests.fakes.dns_authority import DnsAuthority
from tests.live.peers.dkimpy import judged
from tests.live.peers.gateway import document
from tests.live.peers.mail import Mail
from tests.live.peers.namespaces import Network
from tests.live.peers.processes import FileLines
from tests.live.peers.receiver import Script, StartTls
from tests.live.peers.scene import Scene
from tests.live.peers.story import settled
from tests.live.peers.submit import submit
from tests.live.peers.web import Answer, Request, WebServer

GATEWAY, NAME_SERVER, WEB = "203.0.113.1", "203.0.113.53", "203.0.113.80"
# Each domain that shall have a session of its own has a host of its own: one connection carries mail of several domains.
GOOD, STRANGER, PLAIN, SILENT, BROKEN, COLLECTING, STRIPPED = (f"203.0.113.{n}" for n in range(10, 17))
PRIVATE_PORT = 2587
AUTHORITY = TestAuthority("Example CA")
COLLECTOR = "mailto:tls@collector.example"
POST = "https://reports.collector.example/tls"


@dataclass(frozen=True)
class Domain:
    """One inhabitant: what it publishes, where its mail goes, and what its report must say of each session."""

    mx: str
    address: str
    policy: str = ""
    rua: str = ""
    type: str = "no-policy-found"
    failure: str = ""
    reason: str = ""


def _policy(mode: str, host: str) -> str:
    return "\r\n".join(["version: STSv1", f"mode: {mode}", f"mx: {host}", "max_age: 86400", ""])


DOMAINS = {
    "good": Domain("mx.good.example", GOOD, _policy("enforce", "mx.good.example"), COLLECTOR, "sts"),
    "tested": Domain(
        "mx.stranger.example",
        STRANGER,
        _policy("testing", "mx.stranger.example"),
        f"{COLLECTOR},{POST}",
        "sts",
        "certificate-not-trusted",
        "unable to get local issuer certificate",
    ),
    "plain": Domain("mx.plain.example", PLAIN, rua=POST, failure="starttls-not-supported"),
    "lost": Domain(
        "mx.stranger.example",
        STRANGER,
        " ",
        POST,
        "sts",
        "sts-policy-fetch-error",
        "the web server answered 404",
    ),
    "stripped": Domain(
        "mx.stripped.example",
        STRIPPED,
        _policy("enforce", "mx.stripped.example"),
        "mailto:tls@stripped.example",
        "sts",
        "starttls-not-supported",
    ),
    "silent": Domain("mx.silent.example", SILENT),
    "broken": Domain("mx.broken.example", BROKEN, rua="ftp://example.org/"),
}


@dataclass
class Posted:
    """What a web server was handed."""

    path: str
    kind: str
    body: bytes


@dataclass
class Web:
    """What the web server says: policies by the name that is asked; it keeps what is posted, and answers that with `status`."""

    status: int = 201
    posted: list[Posted] = field(default_factory=list)

    def __call__(self, request: Request) -> Answer:
        if request.method == "POST":
            self.posted.append(Posted(request.path, request.headers["Content-Type"], request.body))
            return Answer(self.status)
        name = request.host.removeprefix("mta-sts.").removesuffix(".example")
        body = DOMAINS[name].policy.strip().encode() if name in DOMAINS else b""
        return Answer(200 if body else 404, body)


class World:
    """All of it, with every domain mailed to and every report sent once."""

    def __init__(self, scene: Scene, network: Network) -> None:
        self.network = network
        names = [f"mta-sts.{name}.example" for name in DOMAINS]
        with network.world():
            self.dns = scene.ending.enter_context(DnsAuthority(_zone(), address=NAME_SERVER, port=53))
            web = AUTHORITY.issue([*names, "reports.collector.example"])
            self.web = Web()
            scene.ending.callback(WebServer(WEB, 443, self.web, web).close)
            trusted = AUTHORITY.issue(["mx.good.example"])
            self.others = [
                scene.receiver(Script(certificate=trusted), address=address, port=25)
                for address in (SILENT, BROKEN)
            ]
            self.collector = scene.receiver(Script(certificate=trusted), address=COLLECTING, port=25)
            strange = TestAuthority("Stranger").issue(["mx.stranger.example"])
            self.good = scene.receiver(Script(certificate=trusted), address=GOOD, port=25)
            self.stranger = scene.receiver(Script(certificate=strange), address=STRANGER, port=25)
            self.plain = scene.receiver(Script(starttls=StartTls.NOT_OFFERED), address=PLAIN, port=25)
            self.stripped = scene.receiver(Script(starttls=StartTls.NOT_OFFERED), address=STRIPPED, port=25)
        with network.gateway():
            self.gateway = scene.gateway()
            self.gateway.trust(AUTHORITY.root_pem)
            self.gateway.configure(_settings())
            self.published = self._make_keys()
            self.gateway.start()
            self.events = FileLines(self.gateway.home / "logs" / "events.jsonl")
            scene.ending.callback(self.events.close)
            for name in DOMAINS:
                mid = submit(PRIVATE_PORT, "sender@sender.example", f"user@{name}.example")
                settled(self.gateway, mid)
            self.sessions = self._sessions()
            self.day = f"{datetime.fromtimestamp(self.sessions[0]['at'], UTC):%Y-%m-%d}"
            self.sent = json.loads(self.command("send", "--day", self.day, "--json"))

    def _make_keys(self) -> dict[str, str]:
        """One key for all mail and one for reports alone, of each kind, published."""
        made = {}
        for options in (("rsa2048",), ("ed25519",), ("rsa2048", "--reports-only")):
            text = self.gateway.command("dkim", "new", "sender.example", "--json", "--key", *options)
            row = json.loads(text)
            made[row["name"]] = row["record"]
            self.dns.update({row["name"]: {"TXT": [row["zone"].partition(" TXT ")[2]]}})
        return made

    def _sessions(self) -> list[dict[str, Any]]:
        """What the log of events has of each attempt, once it has one of each domain."""
        for name in DOMAINS:
            self.events.lines.wait_for(_attempt(f"{name}.example"))
        rows = [json.loads(line) for line in self.events.lines.all]
        return [row for row in rows if row["event"] == "OutboundSession"]

    def command(self, *words: str, status: int = 0) -> str:
        with self.network.gateway():
            return self.gateway.command("tlsrpt", *words, status=status)

    def row(self, name: str) -> dict[str, Any]:
        (row,) = [row for row in self.sent if row["domain"] == f"{name}.example"]
        found: dict[str, Any] = row
        return found

    def expected(self, name: str) -> int:
        return Counter(row["domain"] for row in self.sessions)[f"{name}.example"]

    def mails_about(self, name: str) -> list[Mail]:
        return [m for m in self.collector.mails if m.message["TLS-Report-Domain"] == f"{name}.example"]


def _attempt(domain: str) -> str:
    """The line of an attempt to deliver to a domain."""
    return rf'^{{"event":"OutboundSession",.*"domain":"{re.escape(domain)}"'


def _settings() -> dict[str, Any]:
    made = document(2525, PRIVATE_PORT, address="127.0.0.1")
    made["destination_controls"]["default"] = {"tls": "preferred", "mta_sts": True}
    made["certificate_authorities"] = {"system": False, "custom": True}
    made["bounce_profiles"][0] |= {"initial_retry": "1h", "max_retry": "1h", "max_age": "1d"}
    made["dns"] = {"servers": [NAME_SERVER], "reverse": False}
    made["tls_reports"] = {
        "send": True,
        "organization": "Sender Ltd",
        "contact": "postmaster@sender.example",
        "from": "tls-reports@sender.example",
    }
    return made


def _zone() -> dict[str, dict[str, list[str]]]:
    records: dict[str, dict[str, list[str]]] = {
        "collector.example": {"MX": ["10 mx.collector.example."]},
        "mx.collector.example": {"A": [COLLECTING]},
        "reports.collector.example": {"A": [WEB]},
    }
    for name, domain in DOMAINS.items():
        records[f"{name}.example"] = {"MX": [f"10 {domain.mx}."]}
        records[domain.mx] = {"A": [domain.address]}
        if domain.policy:
            records[f"mta-sts.{name}.example"] = {"A": [WEB]}
            records[f"_mta-sts.{name}.example"] = {"TXT": ['"v=STSv1; id=1;"']}
        if domain.rua:
            records[f"_smtp._tls.{name}.example"] = {"TXT": [f'"v=TLSRPTv1; rua={domain.rua}"']}
    return records


@pytest.fixture(scope="module")
def world(scene: Scene) -> World:
    addresses = (NAME_SERVER, WEB, GOOD, STRANGER, PLAIN, SILENT, BROKEN, COLLECTING, STRIPPED)
    network = Network([f"{GATEWAY}/24"], [f"{address}/24" for address in addresses])
    scene.ending.callback(network.close)
    return World(scene, network)


# --- what is counted --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DOMAINS)
def test_the_report_says_what_became_of_the_sessions(world: World, name: str) -> None:
    domain, sessions = DOMAINS[name], world.expected(name)
    assert sessions >= 1
    shown = json.loads(world.command("show", f"{name}.example", "--day", world.day, "--json"))
    assert shown["organization-name"] == "Sender Ltd"
    assert shown["contact-info"] == "postmaster@sender.example"
    assert shown["date-range"]["start-datetime"] == f"{world.day}T00:00:00Z"
    (row,) = shown["policies"]
    assert row["policy"]["policy-type"] == domain.type
    assert row["policy"]["policy-domain"] == f"{name}.example"
    assert row["policy"].get("policy-string", []) == domain.policy.split("\r\n")[:-1]
    assert row["summary"] == {
        "total-successful-session-count": 0 if domain.failure else sessions,
        "total-failure-session-count": sessions if domain.failure else 0,
    }
    failures = row.get("failure-details", [])
    assert len(failures) == bool(domain.failure)
    for failure in failures:
        assert failure["result-type"] == domain.failure
        assert failure["failed-session-count"] == sessions
        assert failure["sending-mta-ip"] == GATEWAY
        assert failure["receiving-mx-hostname"] == domain.mx
        assert failure["receiving-ip"] == domain.address
        assert failure.get("failure-reason-code", "") == domain.reason


def test_what_is_asked_for_goes_out_and_nothing_else(world: World) -> None:
    states = {
        name: [(one["uri"], one["state"]) for one in world.row(name)["destinations"]] for name in DOMAINS
    }
    assert states == {
        "good": [(COLLECTOR, "sent")],
        "tested": [(POST, "sent"), (COLLECTOR, "sent")],
        "plain": [(POST, "sent")],
        "lost": [(POST, "sent")],
        "stripped": [("mailto:tls@stripped.example", "sent")],
        "silent": [],
        "broken": [],
    }
    assert world.row("silent")["detail"] == "it asks for no reports"
    assert world.row("broken")["detail"] == "no report can go to ftp://example.org/"


# --- by mail ----------------------------------------------------------------------------------------------


def _report_in(mail: Mail) -> dict[str, Any]:
    _, attached = mail.message.iter_parts()
    assert attached.get_content_type() == "application/tlsrpt+gzip"
    report: dict[str, Any] = json.loads(gzip.decompress(attached.get_content()))  # type: ignore[attr-defined]
    return report


def test_the_report_of_a_policy_that_fails_goes_in_spite_of_it(world: World) -> None:
    world.stripped.wait_until(lambda seen: bool(seen.mails), "the report about stripped")
    (mail,) = world.stripped.mails
    assert mail.recipients == ("tls@stripped.example",)
    assert mail.tls is None
    assert mail.message["TLS-Required"] == "No"
    (row,) = _report_in(mail)["policies"]
    assert row["summary"]["total-failure-session-count"] == world.expected("stripped")


@pytest.mark.parametrize("name", ["good", "tested"])
def test_the_mail_arrives_with_the_report_in_it(world: World, name: str) -> None:
    world.collector.wait_until(lambda seen: len(world.mails_about(name)) == 1, f"the report about {name}")
    (mail,) = world.mails_about(name)
    assert mail.sender == "tls-reports@sender.example"
    assert mail.recipients == ("tls@collector.example",)
    assert mail.message["TLS-Report-Submitter"] == "sender.example"
    assert mail.message["From"] == "tls-reports@sender.example"
    report = _report_in(mail)
    assert f"Report-ID: <{report['report-id']}>" in mail.message["Subject"]
    (row,) = report["policies"]
    assert sum(row["summary"].values()) == world.expected(name)


def test_every_signature_holds_and_every_judge_has_one_that_it_likes(world: World) -> None:
    world.collector.wait_until(lambda seen: bool(world.mails_about("good")), "the report about good")
    (mail,) = world.mails_about("good")
    content = mail.content[mail.content.index(b"DKIM-Signature:") :]
    assert verdicts(content, world.published) == ["good"] * 3
    assert judged(content, world.published, tlsrpt=True) == [True] * 3
    as_mail = "Message is not tlsrpt and Service Type is tlsrpt"
    as_report = "Message is tlsrpt and Service Type is not tlsrpt"
    assert judged(content, world.published, tlsrpt=False) == [True, True, as_mail]
    assert judged(content, world.published, tlsrpt="strict") == [as_report, as_report, True]
    changed = content.replace(b"TLS-Report-Domain: good.example", b"TLS-Report-Domain: evil.example")
    assert judged(changed, world.published, tlsrpt=True) == [False] * 3


def test_the_published_keys_are_found_to_be_right(world: World) -> None:
    with world.network.gateway():
        rows = json.loads(world.gateway.command("dkim", "check", "sender.example", "--json"))
    assert [row["state"] for row in rows] == ["good"] * 3


def test_the_deliveries_of_reports_are_in_no_report(world: World) -> None:
    world.collector.wait_until(lambda seen: bool(world.mails_about("good")), "the report about good")
    world.events.lines.wait_for(_attempt("collector.example"))
    listed = json.loads(world.command("list", "--day", world.day, "--json"))["days"]
    assert {row["domain"] for row in listed} == {f"{name}.example" for name in DOMAINS}
    assert all(row["sessions"] == world.expected(row["domain"].removesuffix(".example")) for row in listed)


# --- by https ---------------------------------------------------------------------------------------------


def test_a_web_server_gets_the_report_compressed(world: World) -> None:
    by_domain = {}
    for one in world.web.posted:
        assert (one.path, one.kind) == ("/tls", "application/tlsrpt+gzip")
        report = json.loads(gzip.decompress(one.body))
        by_domain[report["policies"][0]["policy"]["policy-domain"]] = report
    assert set(by_domain) == {"tested.example", "plain.example", "lost.example"}
    assert by_domain["tested.example"]["report-id"] == _report_in(world.mails_about("tested")[0])["report-id"]


def test_a_web_server_that_refuses_is_asked_again_later(world: World) -> None:
    world.web.status = 503
    try:
        said = world.command("send", "plain.example", "--day", world.day, "--json", status=1)
    finally:
        world.web.status = 201
    (row,) = json.loads(said)
    waiting = [one for one in row["destinations"] if one["state"] == "waiting"]
    assert [(one["tries"], one["detail"]) for one in waiting] == [(1, "it answered 503")]
    assert waiting[0]["next_try"]


# --- people -----------------------------------------------------------------------------------------------


def test_the_screens_fit(world: World) -> None:
    listed = world.command("list")
    assert f"{world.day}  good.example" in listed
    shown = world.command("show", "tested.example")
    assert "1 certificate-not-trusted at mx.stranger.example" in shown
    assert max(map(len, shown.splitlines())) <= 80
