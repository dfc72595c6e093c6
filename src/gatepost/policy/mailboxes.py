"""Does an address stand in a list of domains and mailboxes? Used by the RAT and by address lists.

The first entry that matches wins, whatever its kind. Compiled, each kind is one dictionary from the comparable form
to the entry's place, so the length of the list does not matter.
"""

from __future__ import annotations

from collections.abc import Sequence

from gatepost.config.recipients import (
    EntryKind,
    MailboxEntry,
    canonical_literal,
    comparable_local,
    parse_mailbox_entry,
)
from gatepost.core.address import Address


class MailboxTable:
    """A compiled list. Immutable once built."""

    __slots__ = ("_domains", "_everybody", "_kinds", "_locals", "_mailboxes", "_suffixes")

    def __init__(self, entries: Sequence[MailboxEntry]) -> None:
        self._domains: dict[str, int] = {}
        self._suffixes: dict[str, int] = {}
        self._mailboxes: dict[tuple[str, str], int] = {}
        self._locals: dict[str, int] = {}
        self._everybody = len(entries)
        self._kinds = tuple(entry.kind for entry in entries)
        for place, entry in enumerate(entries):
            match entry.kind:
                case EntryKind.DOMAIN:
                    self._domains.setdefault(entry.domain, place)
                case EntryKind.PARTIAL:
                    self._suffixes.setdefault(entry.domain, place)
                case EntryKind.MAILBOX:
                    self._mailboxes.setdefault((entry.local, entry.domain), place)
                case EntryKind.LOCAL:
                    self._locals.setdefault(entry.local, place)
                case EntryKind.ALL:
                    self._everybody = min(self._everybody, place)

    @classmethod
    def of_texts(cls, texts: Sequence[str]) -> MailboxTable:
        """A table of entries as written. Raises config.values.Fault for one that is none."""
        return cls([parse_mailbox_entry(text) for text in texts])

    def find(self, address: Address) -> int | None:
        """The place of the first entry that matches, or None. The null path matches `ALL` only."""
        best = self._everybody
        domain = address.domain
        if domain.startswith("["):
            domain = canonical_literal(domain) or domain
        if domain:
            best = min(best, self._domains.get(domain, best))
        if self._suffixes:
            dot = domain.find(".")
            while dot >= 0:
                best = min(best, self._suffixes.get(domain[dot + 1 :], best))
                dot = domain.find(".", dot + 1)
        if address.local and (self._mailboxes or self._locals):
            local = comparable_local(address.local)
            best = min(best, self._mailboxes.get((local, domain), best), self._locals.get(local, best))
        return best if best < len(self._kinds) else None

    def kind(self, place: int) -> EntryKind:
        """The kind of the entry at a place."""
        return self._kinds[place]
