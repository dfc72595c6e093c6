"""References, ports and keys without effect."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.config.documents import CONTRACT, TODAY, document, listener

from gatepost.config.check import NOT_ENFORCED, check
from gatepost.config.load import load_yaml
from gatepost.core.errors import ConfigurationError

CERTIFICATES = {"Demo", "gw"}


def faults(**sections: Any) -> list[str]:
    return [p.line() for p in check(document(**sections), CERTIFICATES, TODAY) if not p.warning]


def warnings(**sections: Any) -> list[str]:
    return [p.line() for p in check(document(**sections), CERTIFICATES, TODAY) if p.warning]


def test_the_small_document_is_sound() -> None:
    assert check(document(), CERTIFICATES, TODAY) == ()


def test_dangling_names_get_the_nearest_one() -> None:
    assert faults(listeners=[listener(interface="data-1", certificate="Dema")]) == [
        'listeners[0].certificate: no certificate named "Dema" (did you mean Demo?)',
        'listeners[0].interface: no interface named "data-1" (did you mean Data 1?)',
    ]


def test_names_are_given_once() -> None:
    interfaces = [{"name": "Data 1", "address": "192.0.2.1"}, {"name": "Data 1", "address": "192.0.2.2"}]
    assert faults(interfaces=interfaces) == [
        'interfaces[1].name: "Data 1" is already the name of interfaces[0] (names are given once)'
    ]
    assert faults(address_lists=[{"name": "a"}, {"name": "b"}, {"name": "a"}]) == [
        'address_lists[2].name: "a" is already the name of address_lists[0] (names are given once)'
    ]


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("0.0.0.0", "192.0.2.2", True),
        ("192.0.2.2", "0.0.0.0", True),
        ("::", "2001:db8::1", True),
        ("::", "192.0.2.1", False),
        ("2001:db8::1", "2001:DB8:0::1", True),
    ],
)
def test_listeners_do_not_share_an_address_and_port(one: str, other: str, overlap: bool) -> None:
    interfaces = [{"name": "A", "address": one}, {"name": "B", "address": other}]
    listeners = [listener(name="a", interface="A"), listener(name="b", interface="B")]
    found = faults(interfaces=interfaces, listeners=listeners)
    assert [line.partition(":")[0] for line in found] == (["listeners[1].port"] if overlap else [])


def test_services_of_an_interface_count_too() -> None:
    interface = {"name": "Data 1", "address": "192.0.2.1", "https": {"port": 25}, "ssh": {"port": 25}}
    assert faults(interfaces=[interface]) == [
        "interfaces[0].https.port: 192.0.2.1:25 is already taken by listener In (choose another port or interface)",
        "interfaces[0].ssh.port: 192.0.2.1:25 is already taken by listener In (choose another port or interface)",
    ]


def test_what_is_not_built_yet_is_warned_about_where_it_is_asked_for() -> None:
    interface = {"name": "Data 1", "address": "192.0.2.1", "https": {"port": 443}, "ssh": {"port": 22}}
    found = check(
        document(
            interfaces=[interface],
            destination_controls={
                "default": {"dane": "mandatory", "mta_sts": True},
                "destinations": [
                    {"domain": "a.example", "dane": "opportunistic", "mta_sts": True},
                    {"domain": "b.example", "dane": "none", "mta_sts": False},
                    {"domain": "c.example", "tls": "none", "dane": "mandatory"},
                ],
            },
            tls_settings={"web": {"minimum": "TLSv1.3"}},
        ),
        CERTIFICATES,
        TODAY,
    )
    assert all(problem.warning for problem in found)
    assert [problem.path for problem in found if problem.text == NOT_ENFORCED] == [
        "interfaces[0].https",
        "interfaces[0].ssh",
        "tls_settings.web",
    ]


def test_the_contract_is_sound() -> None:
    assert all(problem.warning for problem in check(load_yaml(CONTRACT), CERTIFICATES, TODAY))


def test_the_system_should_have_a_name() -> None:
    assert warnings(system={}) == ["system.hostname: is not set: localhost is used (name the machine)"]


def test_broken_protocols_are_warned_about() -> None:
    [line] = warnings(tls_settings={"inbound": {"minimum": "TLSv1.1"}, "outbound": {"minimum": "TLSv1.2"}})
    assert line.startswith("tls_settings.inbound.minimum: TLSv1.1 is broken")


def test_a_first_wait_beyond_the_longest_is_warned_about() -> None:
    assert [
        line.partition(":")[0] for line in warnings(bounce_profiles=[{"name": "D", "initial_retry": "2h"}])
    ] == ["bounce_profiles[0].initial_retry"]


def test_a_name_of_sni_means_one_certificate_that_exists() -> None:
    sni = [
        {"name": "mx2.example.net", "certificate": "gw"},
        {"name": "MX2.example.net.", "certificate": "Demo"},
        {"name": "*.example.org", "certificate": "gone"},
    ]
    found = faults(listeners=[listener(sni=sni)])
    assert [line.partition(":")[0] for line in found] == [
        "listeners[0].sni[1].name",
        "listeners[0].sni[2].certificate",
    ]
    assert "is already the name of listeners[0].sni[0]" in found[0]
    assert "cert new" in found[1]


@pytest.mark.parametrize("link", ["ldap", "web_security", "dlp", "file_analysis"])
def test_a_certificate_for_an_outside_service_exists_and_is_not_used_yet(link: str) -> None:
    assert faults(**{link: {"certificate": "gone"}})[0].startswith(f"{link}.certificate: no certificate")
    assert warnings(**{link: {"certificate": "gw"}}) == [f"{link}.certificate: {NOT_ENFORCED}"]
    assert warnings(**{link: {}}) == []


def test_a_quiet_of_alerts_that_begins_above_its_longest_is_warned_of() -> None:
    assert warnings(alerts={"suppression": {"initial": "2h", "longest": "1h"}}) == [
        "alerts.suppression.initial: is longer than longest, which is used instead"
    ]
    assert warnings(alerts={"suppression": {"initial": "5m"}}) == []


def test_webhooks_are_urls_each_once_and_better_encrypted() -> None:
    hooks = [{"url": "http://a.example/x"}, {"url": "https://b.example/"}]
    assert warnings(alerts={"webhooks": hooks}) == [
        "alerts.webhooks[0].url: is not encrypted: whoever is on the way reads what is wrong with this gateway (use https)"
    ]
    twice = faults(alerts={"webhooks": [hooks[1], hooks[1]]})
    assert [line.partition(":")[0] for line in twice] == ["alerts.webhooks[1].url"]


@pytest.mark.parametrize(
    "url",
    ["ftp://a.example/", "https://", "https://me:pw@a.example/", "https://a.example/#x", "https://a b/", "x"],
)
def test_what_is_no_url_of_a_webhook(url: str) -> None:
    text = json.dumps({"alerts": {"webhooks": [{"url": url}]}})
    with pytest.raises(ConfigurationError) as refusal:
        load_yaml(text)
    assert [problem.path for problem in refusal.value.problems] == ["alerts.webhooks[0].url"]
