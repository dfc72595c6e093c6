"""Client certificates in policies: who is named, and keys without effect."""

from __future__ import annotations

from typing import Any

import pytest
from tests.config.documents import TODAY, document, listener

from gatepost.config.check import check
from gatepost.config.load import load_plain
from gatepost.core.errors import ConfigurationError

KEY = "3f" * 32
ASKS = {"verify_client_certificate": True}


def found(policy: dict[str, Any], **keys: Any) -> list[str]:
    """Everything about client certificates when the policy ACCEPTED has these keys."""
    whole = {"name": "ACCEPTED", "action": "accept", "tls": "preferred", **policy}
    doc = document(listeners=[listener(**keys)], mail_flow_policies=[whole])
    lines = [p.line() for p in check(doc, {"Demo", "gw"}, TODAY)]
    return [line for line in lines if "client" in line or "server_only" in line]


def identities(*entries: dict[str, Any]) -> dict[str, Any]:
    return {**ASKS, "client_identities": list(entries)}


def test_what_may_be_asked_of_a_client() -> None:
    every = identities(
        {"name": "mx.partner.example"},
        {"name": "192.0.2.1", "authority": "Partner CA"},
        {"authority": "CN=Partner CA,O=Partner"},
        {"spki": KEY},
    )
    assert found({**every, "accept_server_only_certificates": True}) == []


def test_a_key_is_written_in_several_ways_and_kept_in_one() -> None:
    colons = ":".join(["3F"] * 32)
    doc = document(
        mail_flow_policies=[{"name": "ACCEPTED", "action": "accept", **identities({"spki": colons})}]
    )
    (identity,) = doc.mail_flow_policies[0].client_identities or ()
    assert identity.spki == KEY


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"spki": "3f" * 20}, "is not the SHA-256 of a key"),
        ({"spki": "zz" * 32}, "is not the SHA-256 of a key"),
        ({"name": "*.partner.example"}, "is not a domain name"),
        ({"name": "a@partner.example"}, "is not a domain name"),
        ({"authority": ""}, ""),
        ({"nam": "mx.partner.example"}, "nam"),
    ],
)
def test_values_that_cannot_be_taken(entry: dict[str, Any], told: str) -> None:
    whole = {"name": "ACCEPTED", "action": "accept", **identities(entry)}
    with pytest.raises(ConfigurationError) as caught:
        load_plain({"mail_flow_policies": [whole]})
    line = caught.value.problems[0].line()
    assert line.startswith("mail_flow_policies[0].client_identities[0].")
    assert told in line


def test_an_entry_must_name_somebody_and_a_key_stands_alone() -> None:
    loc = "mail_flow_policies[0].client_identities"
    assert found(identities({}, {"spki": KEY, "authority": "CA"}, {"spki": KEY, "name": "a.example"})) == [
        f"{loc}[0]: names nobody (give it a name, an authority, or spki)",
        f"{loc}[1].authority: stands beside spki, and a pinned key stands for its owner alone"
        " (leave it out, or make two entries)",
        f"{loc}[2].name: stands beside spki, and a pinned key stands for its owner alone"
        " (leave it out, or make two entries)",
    ]


def test_an_entry_that_is_given_twice() -> None:
    twice = identities(
        {"name": "MX.partner.example", "authority": "My  CA"},
        {"name": "mx.partner.example.", "authority": "my ca"},
    )
    assert found(twice) == ["mail_flow_policies[0].client_identities[1]: is given twice"]


@pytest.mark.parametrize(
    ("policy", "keys", "warned"),
    [
        ({"tls": "off"}, {}, True),
        ({"tls": "off"}, {"tls": "implicit"}, False),
        ({"tls": "off"}, {"policies": {"ACCEPTED": {"tls": "required"}}}, False),
        ({"tls": "preferred"}, {}, False),
        ({"tls": "required"}, {}, False),
    ],
)
def test_without_tls_no_client_can_show_anything(
    policy: dict[str, Any], keys: dict[str, Any], warned: bool
) -> None:
    told = found({**ASKS, **policy}, **keys)
    text = (
        "mail_flow_policies[0].verify_client_certificate: asks for a certificate, and without TLS no client can"
        " show one (set tls to preferred or required)"
    )
    assert told == ([text] if warned else [])


def test_a_listener_that_asks_without_tls() -> None:
    [line] = found({}, policies={"ACCEPTED": {"tls": "off", **ASKS}})
    assert line.startswith("listeners[0].policies[0].verify_client_certificate: asks for a certificate")
    assert found({}, policies={"ACCEPTED": ASKS}) == []


def test_keys_without_effect() -> None:
    keys = {"client_identities": [{"spki": KEY}], "accept_server_only_certificates": True}
    loc = "mail_flow_policies[0]"
    hint = "has no effect (set verify_client_certificate to true)"
    assert found(keys) == [
        f"{loc}.client_identities: {hint}",
        f"{loc}.accept_server_only_certificates: {hint}",
    ]
    assert found(keys, policies={"ACCEPTED": ASKS}) == [], "a listener asks under this policy"
    assert found(ASKS, policies={"ACCEPTED": keys}) == []
    [first, second] = found({}, policies={"ACCEPTED": keys})
    assert first == f"listeners[0].policies[0].client_identities: {hint}"
    assert second == f"listeners[0].policies[0].accept_server_only_certificates: {hint}"
