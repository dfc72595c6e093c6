"""Checks of reputation scores: lists that weigh nothing, and scores that nobody asks for.

Entries `sbrs[...]` without lists are no fault and no surprise: the contract says that they match nobody then.
"""

from __future__ import annotations

from collections.abc import Iterator

from gatepost.config.findings import ANY, Finding, duplicates
from gatepost.config.model import Document
from gatepost.config.values import parse_host_name

LISTS = ("reputation", "lists")


def reputation_findings(document: Document) -> Iterator[Finding]:
    """Everything about DNS lists and the entries `sbrs[...]` that use them."""
    lists = document.reputation.lists
    yield from duplicates(LISTS, "zone", [parse_host_name(one.zone) for one in lists])
    for index, one in enumerate(lists):
        loc = (*LISTS, index)
        if one.weight is None and not one.weights:
            yield Finding(
                (*loc, "weight"), "is missing: no answer of this list weighs anything", "for example -4"
            )
        yield from duplicates((*loc, "weights"), "answer", [it.answer for it in one.weights])
    if lists and not wants_scores(document):
        yield Finding(
            LISTS,
            "nobody is asked: no listener has an entry sbrs[...] in its host_access",
            "add a group such as {group: BLOCKED_LIST, senders: ['sbrs[-10.0:-3.0]'], policy: BLOCKED}",
            warning=True,
            about=(LISTS, ("listeners", ANY, "host_access", ANY, "senders", ANY)),
        )


def wants_scores(document: Document) -> bool:
    """Some listener's HAT has an entry `sbrs[...]`."""
    return any(
        text[:4].lower() == "sbrs"
        for listener in document.listeners
        for group in listener.host_access
        for text in group.senders
    )
