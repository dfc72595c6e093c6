"""ca.crl.*: revocation lists: taken from files, fetched from URLs, shown, forgotten (R11).

Where lists are fetched is configuration, and changes like everything in it. The lists themselves are not: a list that came in is
used at once by every worker, without a new version, and no rollback brings an old one back. The desk's job
`crl` fetches and hands over what it got with `ca.crl.keep`; an administrator's `ca.crl.fetch` only rings for it.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gatepost.certs.crls import own_authorities, when_due
from gatepost.certs.times import iso_time
from gatepost.config.authorities import RevocationSource
from gatepost.config.load import load_plain, to_plain
from gatepost.control.ops.draft import Submission, changed_section, draft_of, submit
from gatepost.control.ops.reading import as_text
from gatepost.control.ops.registry import Arguments, Context, operation
from gatepost.control.ops.versions import current
from gatepost.control.ports import Caller
from gatepost.core.certificate_events import RevocationListFetched
from gatepost.core.errors import Exit, OperatorError
from gatepost.pki.revocation import MAX_LIST, ListFacts
from gatepost.store.config_store import Content, Version
from gatepost.store.payload import version_payload
from gatepost.store.revocations import (
    FILE,
    MAX_TOTAL,
    Fetching,
    KeptList,
    all_told,
    configured_sources,
    counting_lists,
    drop_list,
    fetching,
    keep_list,
    kept_list,
    kept_lists,
    payload_lists,
    put_fetching,
)

SECTION = "certificate_authorities"
JOB = "crl"


def _sources(content: Content) -> tuple[RevocationSource, ...]:
    return load_plain({SECTION: dict(content.document.get(SECTION) or {})}).certificate_authorities.crl


# --- showing --------------------------------------------------------------------------------------


async def list_(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """All sources of the configuration and all lists from files, with what is in use."""
    content, now = current(context).content, context.clock.now()
    kept = kept_lists(context.store)
    rule = (content.document.get(SECTION) or {}).get("crl_stale", "warn")
    rows = [
        _source_row(source, fetching(context.store, source.url), kept.get(source.url), rule, now)
        for source in _sources(content)
    ]
    return [*rows, *(_row(one.facts.issuer, one, rule, now) for one in kept.values() if one.from_file)]


def _source_row(
    source: RevocationSource, state: Fetching, kept: KeptList | None, rule: str, now: float
) -> dict[str, Any]:
    row = _row(source.title, kept, rule, now)
    if state.failures:
        text = f"the last attempt failed: {state.reason}"
        row["findings"].append(_finding("crl-failed", "warning", text, "look at the URL and at its server"))
    return {
        **row,
        "url": source.url,
        "secondary": source.secondary or "",
        "every": source.every,
        "tried": iso_time(state.tried) if state.tried else "",
        "next_fetch": iso_time(max(now, when_due(source, state, kept, now).at)),
        "failures": state.failures,
        "reason": state.reason,
    }


def _row(name: str, kept: KeptList | None, rule: str, now: float) -> dict[str, Any]:
    facts = kept.facts if kept is not None else None
    findings = [] if facts is None or not facts.stale(now) else [_stale(facts, rule)]
    return {
        "name": name,
        "url": "",
        "status": "missing" if facts is None else "stale" if findings else "good",
        "issuer": facts.issuer if facts else "",
        "number": facts.number if facts else None,
        "this_update": iso_time(facts.this_update) if facts else "",
        "next_update": iso_time(facts.next_update) if facts and facts.next_update is not None else "",
        "revoked": facts.revoked if facts else 0,
        "partial": facts.partial if facts else False,
        "fingerprint": facts.fingerprint if facts else "",
        "received": iso_time(kept.at) if kept else "",
        "findings": findings,
    }


def _stale(facts: ListFacts, rule: str) -> dict[str, Any]:
    breaks = rule == "refuse"
    text = f"out of date since {iso_time(facts.next_update or 0.0)}"
    meaning = (
        "no certificate of this authority is verified" if breaks else "newer revocations are not noticed"
    )
    return _finding(
        "crl-stale", "error" if breaks else "warning", text, "fetch or import a newer list", meaning
    )


def _finding(code: str, severity: str, text: str, repair: str, meaning: str = "") -> dict[str, Any]:
    return {
        "code": code,
        "severity": severity,
        "text": text,
        "meaning": meaning,
        "repair": repair,
        "subject": "",
    }


# --- where lists come from ------------------------------------------------------------------------


async def add(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Fetch one more list from now on."""
    draft = draft_of(context, caller)
    entry: dict[str, Any] = {"url": arguments.text("url")}
    entry |= {key: text for key in ("name", "secondary", "every") if (text := arguments.text(key, ""))}
    before = list((draft.content.document.get(SECTION) or {}).get("crl") or ())
    content = changed_section(draft.content, SECTION, {"crl": [*before, entry]})
    comment = arguments.comment() or f"revocation list {entry['url']} added"
    how = Submission(comment, arguments.flag("pending"))
    return await submit(context, caller, draft.with_content(content), how)


async def remove(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Do not use a list any more: fetched no longer, or forgotten when it came from a file."""
    name = arguments.text("name")
    draft = draft_of(context, caller)
    sources = _sources(draft.content)
    left = [source for source in sources if name not in (source.url, source.title)]
    if len(left) < len(sources):
        section = load_plain({SECTION: {"crl": [to_entry(source) for source in left]}})
        plain = to_plain(section)[SECTION]["crl"]
        content = changed_section(draft.content, SECTION, {"crl": plain})
        comment = arguments.comment() or f"revocation list {name} removed"
        how = Submission(comment, arguments.flag("pending"))
        return await submit(context, caller, draft.with_content(content), how)
    return await _forget_file(context, name)


def to_entry(source: RevocationSource) -> Any:
    """A source in its written form."""
    return source.model_dump(mode="json", exclude_unset=True, exclude_none=True)


async def _forget_file(context: Context, name: str) -> Any:
    found = [
        one
        for one in kept_lists(context.store).values()
        if one.from_file and (name == one.facts.issuer or _begins(one.facts.fingerprint, name))
    ]
    if not found:
        raise OperatorError(f"there is no revocation list {name}", "`gatepost ca crl list` shows them")
    if len(found) > 1:
        hint = "name it by its fingerprint, which `gatepost ca crl list --json` shows"
        raise OperatorError(f"{len(found)} revocation lists are called {name}", hint)
    (one,) = found
    drop_list(context.store, one.source, told=context.gateway is None)
    await _reactivate(context)
    return {"forgotten": one.facts.issuer, "said": f"the list of {one.facts.issuer} is forgotten"}


def _begins(fingerprint: str, name: str) -> bool:
    wanted = name.replace(":", "").lower()
    return len(wanted) >= 8 and fingerprint.startswith(wanted)


# --- lists ----------------------------------------------------------------------------------------


async def import_(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Use a list from a file. A newer one of the same authority takes its place, an older one is refused."""
    return await _take(context, "", arguments.data("file"))


async def keep(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Use a list that was fetched from one of the configuration's URLs."""
    source = arguments.text("source")
    if source not in configured_sources(current(context).content.document):
        raise OperatorError(f"the configuration does not name the revocation list {source}")
    return await _take(context, source, arguments.data("file"))


async def _take(context: Context, source: str, data: bytes) -> dict[str, Any]:
    if len(data) > MAX_LIST:
        raise OperatorError(f"the revocation list is longer than {MAX_LIST >> 20} MiB")
    version, now = current(context), context.clock.now()
    known = own_authorities(context.store, version.content)
    values = {"file": as_text(data), "known": known, "now": now}
    read = await context.read("revocation", values)
    facts, der = ListFacts(**read["facts"]), b64decode(read["der"])
    new = KeptList(source or FILE + facts.line, facts, read["signer"], now, len(der), der)
    old = kept_list(context.store, new.source)
    if old is not None and old.der == der:
        return {"unchanged": True, **_told(new, now), "said": f"the list of {facts.issuer} is in use already"}
    _require_room(context, version.content, new)
    if old is not None and facts.older_than(old.facts):
        raise OperatorError(
            f"the revocation list of {facts.issuer} is older than the one in use:"
            f" it is of {iso_time(facts.this_update)}, that of {iso_time(old.facts.this_update)}",
            "give the newest list of the authority",
        )
    await _put(context, version, new)
    context.emit(
        RevocationListFetched(
            context.clock.now(),
            source or "from a file",
            facts.issuer,
            facts.revoked,
            facts.next_update or 0.0,
        )
    )
    return {"unchanged": False, **_told(new, now), "said": f"the list of {facts.issuer} is in use"}


def _told(one: KeptList, now: float) -> dict[str, Any]:
    facts = one.facts
    return {
        "issuer": facts.issuer,
        "revoked": facts.revoked,
        "next_update": iso_time(facts.next_update) if facts.next_update is not None else "",
        "stale": facts.stale(now),
    }


def _require_room(context: Context, content: Content, new: KeptList) -> None:
    others = [one.size for one in counting_lists(context.store, content.document) if one.source != new.source]
    if sum(others) + new.size > MAX_TOTAL:
        raise OperatorError(
            f"all revocation lists together would be longer than {MAX_TOTAL >> 20} MiB",
            "remove one that is not needed, with `gatepost ca crl remove`",
        )


async def _put(context: Context, version: Version, new: KeptList) -> None:
    """Store the list and let the workers have it: everywhere or nowhere, like a commit, but of the same version."""
    store, gateway = context.store, context.gateway
    if gateway is None:
        keep_list(store, new, told=True)
        return
    payload = version_payload(store, version)
    payload["crls"] = payload_lists(store, version.content.document, [new])
    await gateway.activate(payload, lambda: keep_list(store, new, told=False))
    all_told(store)


async def _reactivate(context: Context) -> None:
    """Let the workers have what is in the store."""
    if context.gateway is not None:
        version = current(context)
        await context.gateway.activate(version_payload(context.store, version), lambda: None)
        all_told(context.store)


async def activate(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Let the workers have the lists that are in the store: somebody died between storing one and telling them."""
    await _reactivate(context)
    return {"said": "the workers have the revocation lists of the store"}


# --- fetching -------------------------------------------------------------------------------------


async def fetch(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Fetch one list now, or all; answers with how each went."""
    gateway = context.running()
    name, now = arguments.text("name", ""), context.clock.now()
    sources = _sources(current(context).content)
    chosen = [source for source in sources if name in ("", source.url, source.title)]
    if not chosen:
        text = f"no revocation list {name} is fetched" if name else "no revocation list is fetched"
        raise OperatorError(text, "`gatepost ca crl add URL` adds one", code=Exit.REFUSED)
    for source in chosen:
        state = fetching(context.store, source.url)
        put_fetching(context.store, source.url, replace(state, wanted=now))
    await gateway.look(JOB)
    wanted = {source.url for source in chosen}
    rows: list[Mapping[str, Any]] = await list_(context, arguments, caller)
    return [row for row in rows if row["url"] in wanted]


OPERATIONS = (
    operation("ca.crl.list", list_),
    operation("ca.crl.add", add, "url name secondary every comment pending", changes=True),
    operation("ca.crl.remove", remove, "name comment pending", changes=True),
    operation("ca.crl.import", import_, "file", changes=True),
    operation("ca.crl.keep", keep, "source file", changes=True),
    operation("ca.crl.activate", activate, changes=True),
    operation("ca.crl.fetch", fetch, "name"),
)
