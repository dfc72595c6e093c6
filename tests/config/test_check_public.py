"""The public port and our MTA-STS policies: what cannot work, and what would not do what it seems to."""

from __future__ import annotations

from typing import Any

import pytest
from tests.config.documents import TODAY, document

from gatepost.config.check import NOT_ENFORCED, check
from gatepost.config.load import to_plain
from gatepost.core.errors import ConfigurationError

WEB = {"interface": "Data 1"}
POLICY = {"domain": "example.net", "mode": "enforce", "mx": ["mx.example.net"], "certificate": "gw"}


def lines(**sections: Any) -> list[str]:
    sections = {"public_web": WEB, "mta_sts_policies": [POLICY]} | sections
    found = check(document(**sections), {"Demo", "gw"}, TODAY)
    return [f"{'warning ' if one.warning else ''}{one.path}: {one.text}" for one in found]


def policy(**keys: Any) -> dict[str, Any]:
    return {"mta_sts_policies": [POLICY | keys]}


def test_a_policy_with_its_port_is_sound() -> None:
    assert lines() == []
    assert lines(public_web={"address": "192.0.2.9", "port": 8443}) == []


def test_nothing_listens_unless_it_is_asked_for() -> None:
    made = document()
    assert made.public_web is None
    assert "public_web" not in to_plain(made)


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({"public_web": {}}, "public_web: says neither interface nor address"),
        (
            {"public_web": {"interface": "Data 1", "address": "192.0.2.9"}},
            "public_web.interface: is set together with address",
        ),
        ({"public_web": {"interface": "Data 2"}}, 'public_web.interface: no interface named "Data 2"'),
        (
            {"public_web": {"interface": "Data 1", "port": 25}},
            "public_web.port: 192.0.2.1:25 is already taken by listener In",
        ),
        (
            {"public_web": {"address": "0.0.0.0", "port": 25}},
            "public_web.port: 0.0.0.0:25 is already taken by listener In",
        ),
        ({"mta_sts_policies": []}, "warning public_web: has nothing to serve, so every handshake is refused"),
        (
            {"public_web": None},
            "warning mta_sts_policies: are served by nobody here, since there is no public_web",
        ),
        (policy(certificate="gx"), 'mta_sts_policies[0].certificate: no certificate named "gx"'),
        (policy(max_age="400d"), "mta_sts_policies[0].max_age: is longer than a policy may last"),
        (
            policy(max_age="1h"),
            "warning mta_sts_policies[0].max_age: is 1h: senders that write less often are never protected",
        ),
        (
            policy(mx=[]),
            "mta_sts_policies[0].mx: is empty, and a policy in mode enforce names the MX hosts",
        ),
        (
            policy(mx=["mx.example.net", "MX.example.net."]),
            "mta_sts_policies[0].mx[1]: mx.example.net is given twice",
        ),
        (
            {"mta_sts_policies": [POLICY, POLICY | {"domain": "EXAMPLE.net"}]},
            'mta_sts_policies[1].domain: "example.net" is already the domain of mta_sts_policies[0]',
        ),
    ],
)
def test_what_does_not_hold_together(sections: dict[str, Any], expected: str) -> None:
    assert lines(**sections) == [expected]


def test_a_withdrawn_policy_needs_no_hosts_and_may_be_short() -> None:
    assert lines(**policy(mode="none", mx=[], max_age="1h")) == []


@pytest.mark.parametrize("pattern", ["*.com", "mx.*.example.net", "*", "192.0.2.1", "", "*mx.example.net"])
def test_what_is_no_pattern_of_an_mx(pattern: str) -> None:
    with pytest.raises(ConfigurationError):
        document(**policy(mx=[pattern]))


def test_the_web_scope_is_used_where_there_is_a_public_port() -> None:
    scope = {"web": {"minimum": "TLSv1.3"}}
    assert lines(tls_settings=scope) == []
    without = lines(tls_settings=scope, public_web=None, mta_sts_policies=[])
    assert without == [f"warning tls_settings.web: {NOT_ENFORCED}"]


def test_the_ports_of_challenges_are_not_the_public_one() -> None:
    acme = {
        "directory": "https://ca.example/dir",
        "terms_agreed": True,
        "challenge": "tls-alpn-01",
        "certificates": [{"name": "auto", "names": ["mta-sts.example.net"]}],
    }
    (line,) = [line for line in lines(acme=acme) if "tls_port" in line]
    assert line.startswith("acme.tls_port: 443 is already taken by public_web")


TAKER = {"host": "reports.example.net", "certificate": "gw"}


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({"https": [TAKER]}, []),
        (
            {"https": [TAKER | {"certificate": "gx"}]},
            ['tls_reports_received.https[0].certificate: no certificate named "gx"'],
        ),
        (
            {"https": [TAKER, TAKER | {"host": "REPORTS.example.net", "path": "/other"}]},
            [
                'tls_reports_received.https[1].host: "reports.example.net" is already the host of'
                " tls_reports_received.https[0]"
            ],
        ),
        (
            {"https": [TAKER | {"host": "mta-sts.example.net"}]},
            ["tls_reports_received.https[0].host: mta-sts.example.net serves an MTA-STS policy"],
        ),
        ({"mailboxes": ["tls-reports@example.net"]}, []),
        (
            {"mailboxes": ["tls-reports@example.net", "TLS-Reports@Example.Net"]},
            ['tls_reports_received.mailboxes[1]: "TLS-Reports@Example.Net" is given twice'],
        ),
        (
            {"mailboxes": ["tls-reports@other.example"]},
            [
                "warning tls_reports_received.mailboxes[0]: no public listener accepts mail for other.example, so no"
                " report comes in there"
            ],
        ),
    ],
)
def test_where_reports_are_taken(section: dict[str, Any], expected: list[str]) -> None:
    assert lines(tls_reports_received=section) == expected


def test_a_url_for_reports_needs_the_public_port() -> None:
    found = lines(public_web=None, mta_sts_policies=[], tls_reports_received={"https": [TAKER]})
    assert found == ["tls_reports_received.https: take nothing, since there is no public_web"]
    assert lines(mta_sts_policies=[], tls_reports_received={"https": [TAKER]}) == []


@pytest.mark.parametrize("path", ["tlsrpt", "/a b", "/a?b", "/ü", ""])
def test_what_is_no_path(path: str) -> None:
    with pytest.raises(ConfigurationError):
        document(tls_reports_received={"https": [TAKER | {"path": path}]})
