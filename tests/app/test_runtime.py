"""A committed configuration as a worker uses it: which certificate each listener shows for which name."""

from __future__ import annotations

from typing import Any

import pytest
from OpenSSL import SSL
from tests.fakes.ca import Issued
from tests.fakes.gateway_parts import DOCUMENT, authority, listener

from gatepost.app.runtime import build_runtime
from gatepost.config.load import load_plain, to_plain
from gatepost.core.tls import ClientHello
from gatepost.net.tls import ClientContext, ServerContext, peer_chain


def shake(client: SSL.Connection, server: SSL.Connection) -> None:
    """A handshake in memory, with a second ClientHello if it is asked for."""
    for _ in range(6):
        for here, there in ((client, server), (server, client)):
            try:
                here.do_handshake()
            except SSL.WantReadError:
                pass
            try:
                there.bio_write(here.bio_read(65536))
            except SSL.WantReadError:
                pass


def shown(context: ServerContext, name: str) -> tuple[bytes, ...]:
    """The chain of a handshake in memory."""
    client, server = ClientContext.build().connection(name), context.connection()
    shake(client, server)
    return peer_chain(client)


def payload(profiles: dict[str, Issued], **sections: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "document": to_plain(load_plain({**DOCUMENT, **sections})),
        "profiles": {
            name: {"chains": [issued.chain_pem.decode()], "keys": [issued.key_pem.decode()]}
            for name, issued in profiles.items()
        },
        "authorities": {"system": False, "custom_pem": ""},
    }


def test_a_listener_shows_the_certificate_of_the_name_that_is_asked_for() -> None:
    names = ("gw", "two", "wild")
    profiles = {name: authority().issue([f"{name}.example"]) for name in names}
    sni = [
        {"name": "MX2.example.net.", "certificate": "two"},
        {"name": "*.example.org", "certificate": "wild"},
    ]
    runtime = build_runtime(payload(profiles, listeners=[listener(sni=sni), listener("Plain", port=2526)]))
    for name, profile in [
        ("mx2.example.net", "two"),
        ("a.example.org", "wild"),
        ("a.b.example.org", "gw"),
        ("mx.example.net", "gw"),
        ("", "gw"),
    ]:
        assert shown(runtime.server_contexts["In"], name)[0] == profiles[profile].chain_der[0], name
    assert shown(runtime.server_contexts["Plain"], "mx2.example.net")[0] == profiles["gw"].chain_der[0]


def test_a_listener_that_names_no_certificate_shows_the_demo_one() -> None:
    demo = authority().issue(["demo.example"])
    unnamed = {key: value for key, value in listener().items() if key != "certificate"}
    runtime = build_runtime(payload({"Demo": demo}, listeners=[unnamed]))
    assert shown(runtime.server_contexts["In"], "")[0] == demo.chain_der[0]


def test_only_listeners_with_a_policy_that_asks_have_a_context_that_asks() -> None:
    gw, two = authority().issue(["gw.example"]), authority().issue(["two.example"])
    sni = [{"name": "mx2.example.net", "certificate": "two"}]
    asking = {"ACCEPTED": {"verify_client_certificate": True}}
    runtime = build_runtime(
        payload(
            {"gw": gw, "two": two},
            listeners=[listener(sni=sni, policies=asking), listener("Plain", port=2526)],
        )
    )
    assert list(runtime.asking_contexts) == ["In"]
    assert runtime.asking_contexts["In"].requests_certificate
    assert not any(context.requests_certificate for context in runtime.server_contexts.values())
    for name, issued in (("", gw), ("mx2.example.net", two)):
        assert shown(runtime.asking_contexts["In"], name)[0] == issued.chain_der[0]


def test_a_policy_that_no_group_uses_asks_nobody() -> None:
    policies = [
        {"name": "ACCEPTED", "action": "accept", "tls": "preferred"},
        {"name": "ASKING", "action": "accept", "tls": "required", "verify_client_certificate": True},
    ]
    gw = authority().issue(["gw.example"])
    runtime = build_runtime(payload({"gw": gw}, listeners=[listener()], mail_flow_policies=policies))
    assert runtime.asking_contexts == {}


def test_the_groups_of_each_direction_are_used() -> None:
    gw = authority().issue(["gw.example"])
    settings = {"inbound": {"groups": "secp384r1"}, "outbound": {"groups": "secp521r1:secp384r1"}}
    runtime = build_runtime(payload({"gw": gw}, tls_settings=settings))
    client = runtime.client_contexts["", ClientHello.DEFAULT].connection()
    server = runtime.server_contexts["In"].connection()
    shake(client, server)
    assert client.get_group_name() == server.get_group_name() == "secp384r1"


@pytest.mark.parametrize(
    ("form", "group"), [(ClientHello.DEFAULT, "X25519MLKEM768"), (ClientHello.SMALL, "x25519")]
)
def test_a_server_that_prefers_the_large_group_gets_it_unless_the_hello_is_small(
    form: ClientHello, group: str
) -> None:
    gw = authority().issue(["gw.example"])
    runtime = build_runtime(
        payload({"gw": gw}, tls_settings={"inbound": {"groups": "X25519MLKEM768/X25519"}})
    )
    client = runtime.client_contexts["", form].connection()
    server = runtime.server_contexts["In"].connection()
    shake(client, server)
    assert client.get_group_name() == group
