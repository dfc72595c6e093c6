"""bounce-keys: the keys that bounce tags are made with and known by.

A new key is used at once, and the others stay, so that what is on its way with an older tag is known when it comes back. A running gateway has a
change in all its workers or nowhere; the version of the configuration stays what it is.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from typing import Any

from gatepost.certs.times import iso_time
from gatepost.config.model import Document
from gatepost.control.ops.registry import Arguments, Context, operation
from gatepost.control.ops.versions import current
from gatepost.control.ports import Caller
from gatepost.core.errors import Exit, OperatorError, Problem
from gatepost.policy.bounce_tags import KEY_NUMBERS, TAG_DAYS
from gatepost.store.bounce_keys import SEALED_AS, BounceKey, bounce_keys, payload_keys, put_bounce_keys
from gatepost.store.config_store import ConfigStore
from gatepost.store.payload import version_payload

SHORTEST, LONGEST = 8, 64
KEY_BYTES = 32


async def list_(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """The keys, the one in use first; never what they are."""
    keys = bounce_keys(context.store)
    now = context.clock.now()
    newer: float | None = None
    rows = []
    for one in keys:
        rows.append(
            {
                "number": one.number,
                "made": iso_time(one.made),
                "current": newer is None,
                "needed": newer is None or now < newer + TAG_DAYS * 86_400,
            }
        )
        newer = one.made
    return rows


async def new(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Use a new key from now on: a random one, or one that another host has too."""
    secret = _secret(arguments.text("secret", ""))
    keys = bounce_keys(context.store)
    free = (keys[0].number + 1) % KEY_NUMBERS if keys else 0
    number = arguments.number("number", free)
    if number >= KEY_NUMBERS:
        raise OperatorError(
            f"{number} is no number of a key", "keys have the numbers 0 to 9", code=Exit.USAGE
        )
    replaced = any(one.number == number for one in keys)
    sealed = await context.keeper.seal(SEALED_AS, number, secret)
    added = BounceKey(number, context.clock.now(), sealed)
    await _put(context, [added, *(one for one in keys if one.number != number)])
    said = f"bounce key {number} is in use" + (", in place of another of this number" if replaced else "")
    return {"number": number, "replaced": replaced, "said": said}


async def delete(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Forget a key: what comes back with its tags is refused from now on."""
    number = arguments.number("number")
    keys = bounce_keys(context.store)
    kept = [one for one in keys if one.number != number]
    if len(kept) == len(keys):
        raise OperatorError(f"there is no bounce key {number}", "`gatepost bounce-keys list` shows them")
    await _put(context, kept)
    return {
        "number": number,
        "current": kept[0].number if kept else None,
        "said": f"bounce key {number} is forgotten",
    }


def _secret(text: str) -> bytes:
    if not text:
        return secrets.token_bytes(KEY_BYTES)
    if not (SHORTEST <= len(text) <= LONGEST and text.isascii() and text.isprintable()):
        raise OperatorError(
            f"that is no key: it has {SHORTEST} to {LONGEST} ASCII characters on one line",
            "without one a random key is made",
        )
    return text.encode("ascii")


async def _put(context: Context, keys: Sequence[BounceKey]) -> None:
    store, gateway = context.store, context.gateway
    if gateway is None:
        put_bounce_keys(store, keys)
        return
    payload = version_payload(store, current(context))
    payload["bounce_keys"] = payload_keys(payload["document"], keys)
    await gateway.activate(payload, lambda: put_bounce_keys(store, keys))


def bounce_warnings(store: ConfigStore, document: Document) -> Iterator[Problem]:
    """Domains that are to be tagged, and no key to do it with."""
    if document.bounce_verification.domains and not bounce_keys(store):
        text = "there is no key, so nothing is tagged and no tag is asked for"
        yield Problem(
            "bounce_verification.domains", text, "`gatepost bounce-keys new` makes one", warning=True
        )


OPERATIONS = (
    operation("bounce-keys.list", list_),
    operation("bounce-keys.new", new, "secret number", changes=True),
    operation("bounce-keys.delete", delete, "number", changes=True),
)
