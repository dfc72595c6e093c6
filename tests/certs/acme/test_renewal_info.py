"""Renewal information: asked for by the certificate's id, kept within bounds, and missing without harm (RFC 9773)."""

from __future__ import annotations

import json

import pytest
from tests.certs.acme.kit import Scene, run
from tests.fakes.acme_ca import HOST, problem
from tests.fakes.ca import TestAuthority

from gatepost.certs.acme.errors import AcmeFailed
from gatepost.certs.acme.renewal_info import certificate_id_of, renewal_window
from gatepost.net.http import HttpAnswer
from gatepost.policy.renew import Window

WINDOW = {
    "suggestedWindow": {"start": "2027-02-01T00:00:00Z", "end": "2027-02-02T00:00:00Z"},
    "explanationURL": "https://ca.example/why",
}


def answer(document: object, **headers: str) -> HttpAnswer:
    return HttpAnswer(
        200, {name.replace("_", "-"): text for name, text in headers.items()}, json.dumps(document).encode()
    )


@pytest.mark.parametrize(
    ("told", "seconds"), [("21600", 21_600.0), ("1", 60.0), ("9999999", 86_400.0), ("soon", 21_600.0)]
)
def test_the_window_of_a_certificate(told: str, seconds: float) -> None:
    async def main() -> None:
        scene = Scene()
        leaf = (await scene.obtain()).chain[0]
        scene.ca.windows[certificate_id_of(leaf)] = answer(WINDOW, retry_after=told)
        found = await renewal_window(scene.ca, scene.ca.url, leaf, scene)
        assert found == Window(1801440000.0, 1801526400.0, seconds, "https://ca.example/why")

    run(main)


def test_a_ca_without_renewal_information_or_without_this_certificate_has_no_window() -> None:
    async def main() -> None:
        scene = Scene()
        leaf = (await scene.obtain()).chain[0]
        assert await renewal_window(scene.ca, scene.ca.url, leaf, scene) is None
        bare = dict.fromkeys(("newNonce", "newAccount", "newOrder"), f"{HOST}/x")
        scene.ca.answer("dir", answer(bare))
        before = scene.ca.count("renewal")
        assert await renewal_window(scene.ca, scene.ca.url, leaf, scene) is None
        assert scene.ca.count("renewal") == before

    run(main)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (problem(500, "serverInternal"), "refused the renewal information"),
        (answer([]), "cannot be understood"),
        (answer({"suggestedWindow": {"start": "2027-02-02T00:00:00Z", "end": "2027-02-01T00:00:00Z"}}), "before its end"),
    ],
)  # fmt: skip
def test_nonsense_is_said(given: HttpAnswer, sentence: str) -> None:
    async def main() -> None:
        scene = Scene()
        leaf = (await scene.obtain()).chain[0]
        scene.ca.answer("renewal", given, times=3)
        with pytest.raises(AcmeFailed, match=sentence):
            await renewal_window(scene.ca, scene.ca.url, leaf, scene, pause=scene.pause)

    run(main)


def test_a_certificate_without_its_issuers_key_has_no_id() -> None:
    assert certificate_id_of(TestAuthority(key_identifiers=False).issue(["a.example"]).chain_der[0]) == ""
    assert certificate_id_of(b"garbage") == ""
    first, second = certificate_id_of(TestAuthority().issue(["a.example"]).chain_der[0]).split(".")
    assert first
    assert second
