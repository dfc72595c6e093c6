"""One CA, spoken to: nonces, refusals, waits, and everything that can come instead of an answer."""

from __future__ import annotations

import json

import pytest
from tests.certs.acme.kit import Scene, run
from tests.fakes.acme_ca import HOST, problem

from gatepost.certs.acme.client import AcmeClient, Limits, Signer
from gatepost.certs.acme.errors import AcmeFailed
from gatepost.net.http import HttpAnswer, HttpFailed
from gatepost.wire.acme import read_order
from gatepost.wire.acme_objects import Status


def client_of(scene: Scene, **limits: float) -> AcmeClient:
    return AcmeClient(
        scene.ca,
        scene.ca.url,
        scene,
        limits=Limits(**limits),  # type: ignore[arg-type]
        pause=scene.pause,
    )


async def failure_of(scene: Scene) -> AcmeFailed:
    with pytest.raises(AcmeFailed) as caught:
        await scene.obtain()
    assert caught.value.text.isprintable()
    return caught.value


def test_a_refused_nonce_is_followed_by_the_one_of_the_refusal() -> None:
    async def main() -> None:
        scene = Scene()
        account = await scene.account()
        scene.ca.bad_nonces = 7
        before = len(scene.ca.requests)
        issued = await scene.obtain(account=account)
        assert issued.chain
        # Seven more requests than needed, and no question for a nonce in between.
        assert scene.ca.requests[before:].count("nonce") == 1
        assert scene.pauses == [1.0] * len(scene.pauses)

    run(main)


def test_a_ca_that_refuses_all_its_nonces_is_given_up() -> None:
    async def main() -> None:
        scene = Scene()
        account = await scene.account()
        scene.ca.bad_nonces = 10**6
        with pytest.raises(AcmeFailed, match="16 nonces of its own"):
            await scene.obtain(account=account)
        assert scene.ca.count("new-order") == 16

    run(main)


def test_a_nonce_from_the_pool_is_used_before_one_is_asked_for() -> None:
    async def main() -> None:
        scene = Scene()
        await scene.obtain()
        assert scene.ca.requests.count("nonce") == 2  # one for the account, one for the order

    run(main)


def test_a_short_wait_is_waited_for_on_the_spot() -> None:
    async def main() -> None:
        scene = Scene()
        scene.ca.answer("new-order", problem(429, "rateLimited", retry_after="20"))
        scene.ca.answer("dir", problem(503, "serverInternal", retry_after="7"))
        assert (await scene.obtain()).chain
        assert {20.0, 7.0} <= set(scene.pauses)

    run(main)


def test_a_long_wait_goes_to_the_caller() -> None:
    async def main() -> None:
        scene = Scene()
        words = "too many certificates (5) already issued for this exact set of identifiers"
        scene.ca.answer("new-order", problem(429, "rateLimited", words, retry_after="86400"))
        failure = await failure_of(scene)
        assert failure.text == f"the CA refused the new order: {words} (rateLimited)"
        assert (failure.retry_after, failure.permanent, failure.kind) == (86_400.0, False, "rateLimited")
        assert scene.ca.count("new-order") == 1

    run(main)


def test_being_put_off_again_and_again_has_an_end() -> None:
    async def main() -> None:
        scene = Scene()
        scene.ca.answer("new-order", problem(429, "rateLimited", retry_after="5"), times=50)
        assert (await failure_of(scene)).retry_after == 5.0
        assert scene.ca.count("new-order") == 3

    run(main)


@pytest.mark.parametrize(
    ("place", "asked"), [("dir", 3), ("nonce", 3), ("order", 3), ("authz", 3), ("cert", 3), ("new-order", 1), ("finalize", 1)]
)  # fmt: skip
def test_only_what_changes_nothing_is_asked_again(place: str, asked: int) -> None:
    async def main() -> None:
        scene = Scene()
        account = await scene.account()
        before = scene.ca.count(place)
        scene.ca.answer(place, HttpFailed("no answer within 30 s"), times=50)
        with pytest.raises(AcmeFailed, match="no answer within 30 s"):
            await scene.obtain(account=account)
        assert scene.ca.count(place) - before == asked

    run(main)


def test_one_lost_answer_does_no_harm() -> None:
    async def main() -> None:
        scene = Scene()
        for place in ("dir", "nonce", "authz", "order", "cert"):
            scene.ca.answer(place, HttpFailed("connection reset by peer"))
            scene.ca.answer(place, HttpAnswer(502, {}, b"<html>Bad Gateway</html>"))
        assert (await scene.obtain()).chain

    run(main)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (HttpAnswer(200, {}, b"<html>hello</html>"), "cannot be understood: the directory is not JSON"),
        (HttpAnswer(200, {}, b"{}"), "has no `newNonce`"),
        (HttpAnswer(200, {}, b"\xff" * 100), "is not JSON"),
        (HttpAnswer(200, {}, b" " * 300_000), "longer than"),
        (HttpAnswer(404, {}, b"not here"), "status 404"),
        (HttpAnswer(301, {"location": "https://elsewhere.example/\r\nx"}, b""), "redirects the directory"),
        (
            HttpAnswer(200, {}, json.dumps(dict.fromkeys(("newNonce", "newAccount", "newOrder"), "http://ca.example/")).encode()),
            "leads from https to http",
        ),
    ],
)  # fmt: skip
def test_a_directory_that_is_none(answer: HttpAnswer, sentence: str) -> None:
    async def main() -> None:
        scene = Scene()
        scene.ca.answer("dir", answer, times=9)
        with pytest.raises(AcmeFailed) as caught:
            await scene.account()
        assert sentence in caught.value.text
        assert caught.value.text.isprintable()

    run(main)


def test_an_order_without_a_place_cannot_be_followed() -> None:
    async def main() -> None:
        scene = Scene()
        order = {
            "status": "pending",
            "identifiers": [{"type": "dns", "value": "mx.example"}],
            "authorizations": [],
            "finalize": f"{HOST}/finalize/0",
        }
        scene.ca.answer("new-order", HttpAnswer(201, {}, json.dumps(order).encode()))
        assert "the `Location` is not the URL" in (await failure_of(scene)).text
        assert scene.journal.order is None

    run(main)


def test_a_ca_without_nonces() -> None:
    async def main() -> None:
        scene = Scene()
        client = client_of(scene)
        await client.directory()
        client._nonces.clear()
        original = scene.ca.request

        async def without(*given: object, **named: object) -> HttpAnswer:
            answer = await original(*given, **named)  # type: ignore[arg-type]
            return HttpAnswer(answer.status, {}, answer.body)

        scene.ca.request = without  # type: ignore[method-assign]
        with pytest.raises(AcmeFailed, match="gives no nonce: status 200"):
            await client.ask(f"{HOST}/order/0", Signer(scene.key.signing), "the order")

    run(main)


def test_polling_heeds_retry_after_within_bounds_and_ends() -> None:
    async def main() -> None:
        scene = Scene(polls=10**9)
        account = await scene.account()
        issue = scene.obtain(account=account)
        with pytest.raises(
            AcmeFailed, match=r"the authorization of mx\.example was not decided within 300 s"
        ):
            await issue
        assert 15 < scene.ca.count("authz") < 60
        assert max(scene.pauses) <= 20.0
        assert scene.challenges.now == []  # withdrawn all the same

        client = client_of(scene)
        processing = {
            "status": "processing",
            "identifiers": [{"type": "dns", "value": "mx.example"}],
            "authorizations": [],
            "finalize": f"{HOST}/finalize/0",
        }
        for told in ("10", "99999", "soon"):
            scene.ca.answer("order", HttpAnswer(200, {"retry-after": told}, json.dumps(processing).encode()))
        valid = {**processing, "status": "valid", "certificate": f"{HOST}/cert/0"}
        scene.ca.answer("order", HttpAnswer(200, {}, json.dumps(valid).encode()))
        scene.pauses.clear()
        order = await client.poll(
            f"{HOST}/order/0", account.signer(), read_order, lambda o: o.status is Status.VALID, "the order"
        )
        assert order.certificate == f"{HOST}/cert/0"
        assert scene.pauses == [10.0, 20.0, 2.25]

    run(main)
