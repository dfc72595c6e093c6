"""Which part of a document uses which certificate."""

from __future__ import annotations

from gatepost.certs.usage import Use, uses

DOCUMENT = {
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
        {"name": "C", "interface": "Out"},
    ],
    "destination_controls": {"global": {"certificate": "client"}},
}


def test_every_use_has_its_path_and_the_name_that_the_certificate_must_carry() -> None:
    assert list(uses(DOCUMENT)) == [
        Use("web", "interfaces[0].https.certificate", "https of In", "mx.example"),
        Use("gw", "listeners[0].certificate", "listener A", "mx.example"),
        Use("gw", "listeners[1].certificate", "listener B", "gw.example"),
        Use("client", "destination_controls.global.certificate", "delivery", ""),
    ]


def test_an_empty_document_uses_nothing() -> None:
    assert list(uses({})) == []
