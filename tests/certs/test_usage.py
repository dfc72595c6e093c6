"""Which part of a document uses which certificate."""

from __future__ import annotations

from typing import Any

from gatepost.certs.usage import Use, uses

DELIVERY = "destination_controls.global.certificate"
DOCUMENT: dict[str, Any] = {
    "system": {"hostname": "gw.example"},
    "interfaces": [
        {
            "name": "In",
            "address": "192.0.2.1",
            "hostname": "mx.example",
            "https": {"port": 443, "certificate": "web"},
        },
        {"name": "Out", "address": "192.0.2.2"},
    ],
    "listeners": [
        {"name": "A", "interface": "In", "certificate": "gw"},
        {"name": "B", "interface": "Out", "certificate": "gw"},
    ],
    "destination_controls": {"global": {"certificate": "client"}},
}


def test_every_use_has_its_path_and_the_name_that_the_certificate_must_carry() -> None:
    assert list(uses(DOCUMENT)) == [
        Use("web", "interfaces[0].https.certificate", "https of In", "mx.example"),
        Use("gw", "listeners[0].certificate", "listener A", "mx.example"),
        Use("gw", "listeners[1].certificate", "listener B", "gw.example"),
        Use("client", DELIVERY, "delivery", ""),
    ]


def test_a_listener_uses_the_certificates_of_its_names() -> None:
    sni = [
        {"name": "mx2.example.net", "certificate": "other"},
        {"name": "*.example.org", "certificate": "wild"},
    ]
    document = {"listeners": [{"name": "A", "interface": "In", "certificate": "gw", "sni": sni}]}
    assert list(uses(document))[1:3] == [
        Use("other", "listeners[0].sni[0].certificate", "listener A for mx2.example.net", "mx2.example.net"),
        Use("wild", "listeners[0].sni[1].certificate", "listener A for *.example.org", ""),
    ]


def test_outside_services_use_what_they_are_given() -> None:
    links = ("ldap", "web_security", "dlp", "file_analysis")
    document = {link: {"certificate": f"for {link}"} for link in links} | {"dlp": {}}
    assert [(use.certificate, use.path, use.what) for use in uses(document)][1:] == [
        ("for ldap", "ldap.certificate", "ldap"),
        ("for web_security", "web_security.certificate", "web security"),
        ("for file_analysis", "file_analysis.certificate", "file analysis"),
    ]


def test_what_is_left_out_is_the_demo_certificate() -> None:
    document = {
        "interfaces": [{"name": "In", "address": "192.0.2.1", "https": {"port": 443}}],
        "listeners": [{"name": "C", "interface": "In"}],
    }
    assert [(use.certificate, use.path) for use in uses(document)] == [
        ("Demo", "interfaces[0].https.certificate"),
        ("Demo", "listeners[0].certificate"),
        ("Demo", DELIVERY),
    ]
    assert list(uses({})) == [Use("Demo", DELIVERY, "delivery", "")]


def test_a_policy_uses_its_certificate_for_the_host_that_serves_it() -> None:
    document = {
        "mta_sts_policies": [{"domain": "Example.NET", "certificate": "web"}, {"domain": "not a name"}]
    }
    assert list(uses(document))[1:] == [
        Use(
            "web",
            "mta_sts_policies[0].certificate",
            "MTA-STS policy of Example.NET",
            "mta-sts.example.net",
        ),
        Use("Demo", "mta_sts_policies[1].certificate", "MTA-STS policy of not a name", ""),
    ]


def test_a_url_for_reports_uses_its_certificate() -> None:
    document = {"tls_reports_received": {"https": [{"host": "Reports.example", "certificate": "web"}]}}
    assert list(uses(document))[1:] == [
        Use(
            "web",
            "tls_reports_received.https[0].certificate",
            "TLS reports at Reports.example",
            "reports.example",
        )
    ]
