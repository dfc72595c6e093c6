"""Reading a CA's answers: the shapes that real servers send, every field of a wrong type, and anything at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.wire import acme
from gatepost.wire.acme_objects import ChallengeKind, Identifier, IdentifierKind, Status

BASE = "https://ca.example/dir"
TOKEN = "DGyRejmCefe7v4NfDGDKfA_abc"

DIRECTORY: dict[str, Any] = {
    "keyChange": "https://ca.example/rollover-account-key",
    "meta": {
        "caaIdentities": ["ca.example"],
        "externalAccountRequired": True,
        "profiles": {"classic": "The profile you know", "shortlived": "Six days"},
        "termsOfService": "https://ca.example/terms.pdf",
        "website": "https://ca.example",
    },
    "newAccount": "https://ca.example/new-acct",
    "newNonce": "https://ca.example/new-nonce",
    "newOrder": "https://ca.example/new-order",
    "renewalInfo": "https://ca.example/renewal-info",
    "revokeCert": "https://ca.example/revoke-cert",
    "xYz1": "https://community.example/t/adding-random-entries-to-the-directory/33417",
}
ORDER: dict[str, Any] = {
    "status": "pending",
    "expires": "2026-11-14T13:05:09.123456789Z",
    "identifiers": [{"type": "dns", "value": "mx.example"}, {"type": "ip", "value": "2001:DB8::0:1"}],
    "authorizations": ["https://ca.example/authz/1", "https://ca.example/authz/2"],
    "finalize": "https://ca.example/finalize/1",
}
AUTHORIZATION: dict[str, Any] = {
    "identifier": {"type": "dns", "value": "mx.example"},
    "status": "pending",
    "expires": "2026-11-14T13:05:09+01:00",
    "wildcard": False,
    "challenges": [
        {"type": "dns-01", "status": "pending", "url": "https://ca.example/chall/1", "token": TOKEN},
        {"type": "dns-persist-01", "status": "pending", "url": "https://ca.example/chall/2", "issuer-domain-names": []},
        {
            "type": "http-01",
            "status": "invalid",
            "url": "https://ca.example/chall/3",
            "token": TOKEN,
            "error": {"type": "urn:ietf:params:acme:error:connection", "detail": "Connection refused", "status": 400},
        },
    ],
}  # fmt: skip


def read(reader: Any, document: Any) -> Any:
    return reader(json.dumps(document).encode(), BASE)


def changed(document: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**document, **fields}


def test_a_directory() -> None:
    found = read(acme.read_directory, DIRECTORY)
    assert (found.new_nonce, found.new_order) == (DIRECTORY["newNonce"], DIRECTORY["newOrder"])
    assert found.renewal_info == "https://ca.example/renewal-info"
    assert found.terms == "https://ca.example/terms.pdf"
    assert found.external_account_required
    assert found.profile_names == ("classic", "shortlived")
    bare = {key: DIRECTORY[key] for key in ("newNonce", "newAccount", "newOrder")}
    found = read(acme.read_directory, bare)
    assert (found.renewal_info, found.terms, found.external_account_required, found.profiles) == (
        "",
        "",
        False,
        (),
    )


def test_an_order() -> None:
    found = read(acme.read_order, ORDER)
    assert found.status is Status.PENDING
    assert found.identifiers == (
        Identifier(IdentifierKind.DNS, "mx.example"),
        Identifier(IdentifierKind.IP, "2001:db8::1"),
    )
    assert found.expires == pytest.approx(1794661509.123456)
    assert found.problem is None
    with pytest.raises(acme.AcmeMalformed, match="`certificate`"):
        read(acme.read_order, changed(ORDER, status="valid"))


def test_an_authorization_and_its_challenges() -> None:
    found = read(acme.read_authorization, AUTHORIZATION)
    assert [challenge.kind for challenge in found.challenges] == [ChallengeKind.DNS01, ChallengeKind.HTTP01]
    assert found.offered == ("dns-01", "dns-persist-01", "http-01")
    assert found.problem is not None
    assert found.problem.text == "Connection refused (connection)"


def test_a_problem_with_parts() -> None:
    body = {
        "type": "urn:ietf:params:acme:error:malformed",
        "detail": "Some of the identifiers\nrequested were rejected",
        "subproblems": [
            {
                "type": "urn:ietf:params:acme:error:rejectedIdentifier",
                "detail": "Policy forbids \x1b[31mthis",
                "identifier": {"type": "dns", "value": "bad.example"},
            },
            "not an object",
        ],
        "status": 400,
    }
    found = acme.read_problem(json.dumps(body).encode(), 403)
    assert found.kind == "malformed"
    assert found.status == 400
    assert found.lines() == (
        "Some of the identifiers requested were rejected (malformed)",
        "bad.example: Policy forbids \\x1b[31mthis (rejectedIdentifier)",
    )


@pytest.mark.parametrize(
    "body", [b"", b"<html>502 Bad Gateway</html>", b"[]", b'"x"', b"{" * 5000, b'{"a":' * 5000]
)
def test_an_error_without_words_is_a_problem_too(body: bytes) -> None:
    assert acme.read_problem(body, 502).lines() == ("the answer has status 502 and says no more",)


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({}, "the directory has no `newNonce`"),
        (changed(DIRECTORY, newOrder=7), "`newOrder` of the directory is not a text"),
        (changed(DIRECTORY, newOrder="http://ca.example/x"), "leads from https to http"),
        (changed(DIRECTORY, newOrder="https://user@ca.example/x"), "not the URL"),
        (changed(DIRECTORY, newOrder="https://ca.example/x\r\nHost: b"), "not the URL"),
        (changed(DIRECTORY, newOrder="https:///x"), "not the URL"),
        (changed(DIRECTORY, newOrder="https://ca.example:99999/x"), "not the URL"),
        (changed(DIRECTORY, newOrder="file:///etc/passwd"), "not the URL"),
        (changed(DIRECTORY, newOrder="https://ca.example/" + "x" * 2000), "not the URL"),
        (changed(DIRECTORY, meta=[]), "`meta` of the directory is not an object"),
        (changed(DIRECTORY, meta={"externalAccountRequired": "no"}), "is not true or false"),
        (changed(DIRECTORY, meta={"profiles": ["a"]}), "is not an object"),
    ],
)  # fmt: skip
def test_a_faulty_directory_says_what_is_wrong(document: dict[str, Any], sentence: str) -> None:
    with pytest.raises(acme.AcmeMalformed, match=sentence):
        read(acme.read_directory, document)


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        (changed(ORDER, status="done"), "unknown status `done`"),
        (changed(ORDER, status=None), "has no `status`"),
        (changed(ORDER, identifiers=[]), "has no `identifiers`"),
        (changed(ORDER, identifiers=["mx.example"]), "not a list of objects"),
        (changed(ORDER, identifiers=[{"type": "dns", "value": "a\nb"}]), "cannot be"),
        (changed(ORDER, identifiers=[{"type": "ip", "value": "mx.example"}]), "cannot be"),
        (changed(ORDER, identifiers=[{"type": "email", "value": "a@b.example"}]), "cannot be"),
        (changed(ORDER, authorizations=["https://ca.example/"] * 201), "more than 200 entries"),
        (changed(ORDER, authorizations=[1]), "not a list of texts"),
        (changed(ORDER, expires="tomorrow"), "is no moment"),
        (changed(ORDER, expires="9999-99-99T99:99:99Z"), "is no moment"),
    ],
)  # fmt: skip
def test_a_faulty_order_says_what_is_wrong(document: dict[str, Any], sentence: str) -> None:
    with pytest.raises(acme.AcmeMalformed, match=sentence):
        read(acme.read_order, document)


@pytest.mark.parametrize(
    "token", ["", "short", "../../etc/passwd-aaaaaaaaaaaaaa", "a" * 22 + "\n", "a" * 300, 'a"' * 15]
)
def test_a_token_that_could_leave_its_place_is_refused(token: str) -> None:
    challenge = {"type": "http-01", "status": "pending", "url": "https://ca.example/c", "token": token}
    with pytest.raises(acme.AcmeMalformed, match="token"):
        read(acme.read_authorization, changed(AUTHORIZATION, challenges=[challenge]))


def test_a_directory_in_clear_may_name_resources_in_clear() -> None:
    document = json.dumps(dict.fromkeys(("newNonce", "newAccount", "newOrder"), "http://ca.lab/x")).encode()
    assert acme.read_directory(document, "http://ca.lab/dir").new_order == "http://ca.lab/x"


def test_renewal_information() -> None:
    body = {
        "suggestedWindow": {"start": "2025-01-02T04:00:00Z", "end": "2025-01-03T04:00:00Z"},
        "explanationURL": "https://ca.example/docs/ari",
    }
    found = read(acme.read_renewal_info, body)
    assert (found.end - found.start, found.explanation) == (86400, "https://ca.example/docs/ari")
    backwards = {"suggestedWindow": {"start": "2025-01-03T04:00:00Z", "end": "2025-01-02T04:00:00Z"}}
    with pytest.raises(acme.AcmeMalformed, match="no start before its end"):
        read(acme.read_renewal_info, backwards)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100)
@given(data=st.data())
def test_a_field_of_any_kind_is_read_or_refused(data: st.DataObject) -> None:
    """One field becomes anything: the outcome is a value or AcmeMalformed, nothing else."""
    reader, document = data.draw(
        st.sampled_from(
            [
                (acme.read_directory, DIRECTORY),
                (acme.read_order, ORDER),
                (acme.read_authorization, AUTHORIZATION),
                (acme.read_account, {"status": "valid", "contact": []}),
                (acme.read_renewal_info, {"suggestedWindow": {"start": "2025-01-02T04:00:00Z"}}),
            ]
        )
    )
    key = data.draw(st.sampled_from(sorted(document)))
    sentence = "read"
    try:
        read(reader, changed(document, **{key: data.draw(ANYTHING)}))
    except acme.AcmeMalformed as error:
        sentence = str(error)
    assert sentence.isprintable()


@settings(max_examples=60)
@given(st.binary(max_size=60) | ANYTHING.map(lambda value: json.dumps(value).encode()))
def test_any_octets_are_an_error_or_a_problem(body: bytes) -> None:
    assert all(line.isprintable() for line in acme.read_problem(body, 500).lines())
    for reader in (acme.read_directory, acme.read_order, acme.read_authorization, acme.read_account):
        with pytest.raises(acme.AcmeMalformed):
            reader(body, BASE)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1970-01-01T00:00:10Z", 10.0),
        ("1970-01-01T01:00:10.5+01:00", 10.5),
        ("1970-01-01t00:00:10.123456789z", pytest.approx(10.12345678)),
        ("1970-01-01 00:00:10Z", None),
        ("1970-01-01T00:00:10", None),
        ("1970-01-01T00:00:10+99:00", None),
        ("١٩٧٠-01-01T00:00:10Z", None),
    ],
)
def test_moments(text: str, moment: float | None) -> None:
    assert acme.parse_time(text) == moment
