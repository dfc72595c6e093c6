"""Reading what an ACME server sends: JSON from outside to the values of `acme_objects` (RFC 8555 §7).

What it trusts. Nothing: each field's type is checked, lists and texts are bounded, and what a field must be is said in
the error. Fields that we do not know are passed over, as the RFC asks (§7.1).

URLs. What a CA names will be asked with signed requests, so each URL is a whole `https` URL without user or
fragment. Only where the directory itself was configured with `http` may others be `http` too: a directory on
`https` never leads to a request in clear. Other hosts than the directory's are allowed, CAs are spread over several.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import orjson

from gatepost.wire.acme_objects import (
    ERROR_PREFIX,
    AccountState,
    AcmeNameError,
    Authorization,
    Challenge,
    ChallengeKind,
    Directory,
    Identifier,
    IdentifierKind,
    Order,
    Problem,
    Status,
    SuggestedWindow,
    identifier_of,
    shown,
)

MAX_BODY = 256 * 1024
MAX_TEXT = 4096
MAX_URL = 2000  # what `net.http` sends
MAX_LIST = 200
MAX_DEPTH = 3  # of problems within problems
MIN_TOKEN = 22  # characters: RFC 8555 §8.3 asks for 128 bits of entropy
_URL = re.compile(r"https?://[!-~]+")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,256}")
_KINDS = frozenset(kind.value for kind in ChallengeKind)

T = TypeVar("T")


class AcmeMalformed(ValueError):
    """An answer that is not what the protocol says; the sentence names object and field."""


def require_url(text: str, base: str, what: str = "the URL") -> str:
    """`text` if it may be asked on behalf of the directory at `base`. Raises AcmeMalformed."""
    if len(text) > MAX_URL or not _URL.fullmatch(text) or set(text) & set('#\\"<>'):
        raise AcmeMalformed(f"{what} is not the URL of an ACME resource: `{shown(text, 100)}`")
    try:
        parts = urlsplit(text)
        proper = bool(parts.hostname) and parts.port != 0
    except ValueError:
        proper = False
    if not proper or "@" in parts.netloc:
        raise AcmeMalformed(f"{what} is not the URL of an ACME resource: `{shown(text, 100)}`")
    if parts.scheme != "https" and not base.startswith("http://"):
        raise AcmeMalformed(f"{what} leads from https to http: `{shown(text, 100)}`")
    return text


def read_directory(body: bytes, url: str) -> Directory:
    """The directory found at `url`."""
    found = _Fields("the directory", _object(body, "the directory"), url)
    meta = found.part("meta")
    names = meta.raw("profiles", dict)
    profiles = tuple(
        (shown(name, 64), shown(text) if isinstance(text, str) else "")
        for name, text in (names or {}).items()
    )
    return Directory(
        url=url,
        new_nonce=found.url("newNonce"),
        new_account=found.url("newAccount"),
        new_order=found.url("newOrder"),
        revoke_certificate=found.url("revokeCert", optional=True),
        key_change=found.url("keyChange", optional=True),
        renewal_info=found.url("renewalInfo", optional=True),
        terms=shown(meta.text("termsOfService", optional=True)),
        external_account_required=meta.flag("externalAccountRequired"),
        profiles=profiles[:MAX_LIST],
    )


def read_account(body: bytes, base: str) -> AccountState:
    """An account. Its `orders` are not looked at: nothing here needs the list."""
    found = _Fields("the account", _object(body, "the account"), base)
    return AccountState(found.status(), tuple(shown(text) for text in found.texts("contact")))


def read_order(body: bytes, base: str) -> Order:
    """An order; a valid one has the URL of its certificate."""
    found = _Fields("the order", _object(body, "the order"), base)
    order = Order(
        status=found.status(),
        identifiers=tuple(found.each("identifiers", _identifier)),
        authorizations=found.urls("authorizations"),
        finalize=found.url("finalize"),
        certificate=found.url("certificate", optional=True),
        expires=found.time("expires"),
        problem=found.problem(),
        profile=shown(found.text("profile", optional=True), 64),
    )
    if not order.identifiers:
        raise AcmeMalformed("the order has no `identifiers`")
    if order.status is Status.VALID and not order.certificate:
        raise AcmeMalformed("the order is valid and has no `certificate`")
    return order


def read_authorization(body: bytes, base: str) -> Authorization:
    """An authorization and the challenges of the kinds that we know."""
    found = _Fields("the authorization", _object(body, "the authorization"), base)
    entries = found.dicts("challenges")
    return Authorization(
        identifier=_identifier(found.required("identifier", dict), found),
        status=found.status(),
        challenges=tuple(_challenge(_Fields("the challenge", e, base)) for e in entries if _known(e)),
        wildcard=found.flag("wildcard"),
        offered=tuple(shown(e["type"], 40) for e in entries if isinstance(e.get("type"), str)),
        expires=found.time("expires"),
    )


def read_problem(body: bytes, status: int) -> Problem:
    """The problem of an error answer. Never raises: what is no problem document becomes one without words."""
    try:
        document = _object(body, "the answer")
    except AcmeMalformed:
        return Problem("", f"the answer has status {status} and says no more", status)
    return _problem(document, status, MAX_DEPTH)


def read_renewal_info(body: bytes, base: str) -> SuggestedWindow:
    """The suggested window (RFC 9773 §4.2). Raises AcmeMalformed also where it ends before it starts."""
    found = _Fields("the renewal information", _object(body, "the renewal information"), base)
    window = _Fields("the suggested window", found.required("suggestedWindow", dict), base)
    start, end = window.time("start"), window.time("end")
    if start is None or end is None or end <= start:
        raise AcmeMalformed("the suggested window has no start before its end")
    return SuggestedWindow(start, end, shown(found.text("explanationURL", optional=True)))


# --- fields --------------------------------------------------------------------------------------------


class _Fields:
    """The fields of one JSON object, taken by type. `where` begins the sentence of an error."""

    def __init__(self, where: str, document: dict[str, Any], base: str) -> None:
        self.where = where
        self.base = base
        self._document = document

    def raw(self, key: str, kind: type[T]) -> T | None:
        """The field, None when it is absent or null."""
        value = self._document.get(key)
        if value is None:
            return None
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise AcmeMalformed(f"`{key}` of {self.where} is not {_SPOKEN.get(kind, kind.__name__)}")
        return value

    def required(self, key: str, kind: type[T]) -> T:
        value = self.raw(key, kind)
        if value is None:
            raise AcmeMalformed(f"{self.where} has no `{key}`")
        return value

    def text(self, key: str, *, optional: bool = False) -> str:
        value = (self.raw(key, str) or "") if optional else self.required(key, str)
        if len(value) > MAX_TEXT:
            raise AcmeMalformed(f"`{key}` of {self.where} is longer than {MAX_TEXT} characters")
        return value

    def flag(self, key: str) -> bool:
        return bool(self.raw(key, bool))

    def part(self, key: str) -> _Fields:
        return _Fields(f"`{key}` of {self.where}", self.raw(key, dict) or {}, self.base)

    def url(self, key: str, *, optional: bool = False) -> str:
        text = self.text(key, optional=optional)
        return require_url(text, self.base, f"`{key}` of {self.where}") if text or not optional else ""

    def items(self, key: str) -> list[Any]:
        value = self.raw(key, list) or []
        if len(value) > MAX_LIST:
            raise AcmeMalformed(f"`{key}` of {self.where} has more than {MAX_LIST} entries")
        return value

    def dicts(self, key: str) -> list[dict[str, Any]]:
        found = self.items(key)
        if not all(isinstance(item, dict) for item in found):
            raise AcmeMalformed(f"`{key}` of {self.where} is not a list of objects")
        return found

    def texts(self, key: str) -> tuple[str, ...]:
        found = self.items(key)
        if not all(isinstance(item, str) and len(item) <= MAX_TEXT for item in found):
            raise AcmeMalformed(f"`{key}` of {self.where} is not a list of texts")
        return tuple(found)

    def urls(self, key: str) -> tuple[str, ...]:
        what = f"an entry of `{key}` of {self.where}"
        return tuple(require_url(text, self.base, what) for text in self.texts(key))

    def each(self, key: str, read: Callable[[dict[str, Any], _Fields], T]) -> list[T]:
        return [read(entry, self) for entry in self.dicts(key)]

    def status(self) -> Status:
        text = self.text("status")
        try:
            return Status(text)
        except ValueError:
            raise AcmeMalformed(f"{self.where} has the unknown status `{shown(text, 40)}`") from None

    def time(self, key: str) -> float | None:
        text = self.text(key, optional=True)
        if not text:
            return None
        moment = parse_time(text)
        if moment is None:
            raise AcmeMalformed(f"`{key}` of {self.where} is no moment: `{shown(text, 40)}`")
        return moment

    def problem(self) -> Problem | None:
        value = self.raw("error", dict)
        return None if value is None else _problem(value, 0, MAX_DEPTH)


_SPOKEN: dict[type, str] = {
    str: "a text",
    bool: "true or false",
    int: "a number",
    list: "a list",
    dict: "an object",
}
_MOMENT = re.compile(r"(\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2})(\.\d+)?([Zz]|[+-]\d{2}:\d{2})")


def parse_time(text: str) -> float | None:
    """Seconds since the epoch of an RFC 3339 moment, None for any other text."""
    match = _MOMENT.fullmatch(text) if text.isascii() else None
    if match is None:
        return None
    try:
        zone = "+00:00" if match[3] in "Zz" else match[3]
        whole = datetime.datetime.fromisoformat(match[1].upper() + zone).timestamp()
    except (ValueError, OverflowError):
        return None
    return whole + float(f"0{match[2][:10]}" if match[2] else 0)


def _object(body: bytes, what: str) -> dict[str, Any]:
    if len(body) > MAX_BODY:
        raise AcmeMalformed(f"{what} is longer than {MAX_BODY // 1024} KB")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise AcmeMalformed(f"{what} is not JSON") from None
    if not isinstance(value, dict):
        raise AcmeMalformed(f"{what} is not a JSON object")
    return value


def _identifier(entry: dict[str, Any], owner: _Fields) -> Identifier:
    fields = _Fields(f"an identifier of {owner.where}", entry, owner.base)
    kind, value = fields.text("type"), fields.text("value")
    try:
        found = identifier_of(value)
        if found.kind is IdentifierKind(kind):
            return found
    except (AcmeNameError, ValueError):
        pass
    raise AcmeMalformed(f"{fields.where} cannot be: {shown(kind, 40)} `{shown(value, 100)}`")


def _known(entry: dict[str, Any]) -> bool:
    return isinstance(entry.get("type"), str) and entry["type"] in _KINDS


def _challenge(fields: _Fields) -> Challenge:
    """The token goes into a path, a DNS record and a certificate: only base64url passes (RFC 8555 §8.3)."""
    token = fields.text("token")
    if not _TOKEN.fullmatch(token) or len(token) < MIN_TOKEN:
        raise AcmeMalformed("the token of a challenge is not base64url of at least 128 bits")
    kind = ChallengeKind(fields.text("type"))
    return Challenge(kind, fields.url("url"), fields.status(), token, fields.problem())


def _problem(document: dict[str, Any], status: int, depth: int) -> Problem:
    """Lenient: a CA's error must not be hidden by an error in how it is written."""
    kind, detail, code = document.get("type"), document.get("detail"), document.get("status")
    title, parts, named = document.get("title"), document.get("subproblems"), document.get("identifier")
    words = detail if isinstance(detail, str) and detail else title
    listed = parts[:MAX_LIST] if isinstance(parts, list) and depth > 1 else []
    return Problem(
        kind=kind[:MAX_TEXT].removeprefix(ERROR_PREFIX) if isinstance(kind, str) else "",
        detail=words[:MAX_TEXT] if isinstance(words, str) else "",
        status=code if isinstance(code, int) and 100 <= code < 600 else status,
        identifier=_named(named),
        subproblems=tuple(_problem(part, 0, depth - 1) for part in listed if isinstance(part, dict)),
    )


def _named(entry: Any) -> Identifier | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("value"), str):
        return None
    try:
        return identifier_of(entry["value"])
    except AcmeNameError:
        return None
