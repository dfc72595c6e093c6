"""The host access table, compiled: which sender group does a connection belong to (asyncos 2.3)?

Entries are read top to bottom and the first match wins, whatever its kind. Compiled, an entry is its place in that
order; addresses are found by one binary search (`policy.address_places`), names in a dictionary for exact names and one for suffixes,
scores in one for each of the 201 scores that there are, and the lowest place found wins. So a look-up costs some microseconds,
however long the table is. While scoring is not configured no score entry matches, not even `sbrs[none]`.

A group whose policy says `continue` is noted and the reading goes on. Names match only a confirmed host name. When
the name could not be looked up, a group that rejects or requires TLS must not be slipped past: if one of its names stands
before the first other match, the outcome is `CouldNotTell` (451). In any other group such a name is no match
(architecture 4, DNS).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address

from gatepost.config.senders import AddressSender, AllSenders, NameSender, ScoreSender, Sender
from gatepost.core.address import IPAddress
from gatepost.policy.address_places import NOWHERE, AddressPlaces


class NameState(Enum):
    """What is known of a peer's host name when there is none."""

    NONE = "none"  # no PTR record, not confirmed, or look-ups are switched off
    UNDETERMINED = "undetermined"  # DNS did not answer


PeerName = str | NameState


class NoScore(Enum):
    """Why a peer has no reputation score; the value is what the log prints."""

    NOT_ENABLED = "not enabled"  # nobody is asked
    NONE = "None"  # no list knows it


Score = float | NoScore
"""A reputation score from -10.0 to 10.0 with one decimal, or why there is none."""


@dataclass(frozen=True, slots=True)
class HatGroup:
    """One group: `decides` unless its policy continues; `strict` when it rejects or requires TLS."""

    name: str
    senders: tuple[Sender, ...]
    decides: bool = True
    strict: bool = False


@dataclass(frozen=True, slots=True)
class HatMatch:
    """The group that matched (its number in the table), the entry as the log prints it, and the groups noted before."""

    group: int
    text: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CouldNotTell:
    """A name of this group might have matched, and DNS did not answer."""

    group: int
    text: str


class _Table:
    """Entries by kind; each leads to its place in the table's order. They come in order, then `freeze`."""

    __slots__ = (
        "_blocks",
        "_first_name",
        "_first_strict_name",
        "_names",
        "_places",
        "_scores",
        "_suffixes",
        "everybody",
    )

    def __init__(self) -> None:
        self._blocks: dict[int, list[tuple[int, int, int]]] = {4: [], 6: []}
        self._places: dict[int, AddressPlaces] = {}
        self._names: dict[str, int] = {}
        self._suffixes: dict[str, int] = {}
        self._scores: dict[int | None, int] = {}  # tenths, or None for a peer without a score
        self._first_name = NOWHERE
        self._first_strict_name = NOWHERE
        self.everybody = NOWHERE

    def add(self, place: int, sender: Sender, strict: bool) -> None:
        """Of several equal entries the first one counts."""
        match sender:
            case AddressSender(blocks=blocks):
                for block in blocks:
                    width = 32 if block.version == 4 else 128
                    first = block.prefix << (width - block.length)
                    self._blocks[block.version].append((first, block.length, place))
            case NameSender(name=name, within=within):
                (self._suffixes if within else self._names).setdefault(name, place)
                self._first_name = min(self._first_name, place)
                if strict:
                    self._first_strict_name = min(self._first_strict_name, place)
            case AllSenders():
                self.everybody = min(self.everybody, place)
            case ScoreSender(low=low, high=high):
                for tenths in _tenths(low, high):
                    self._scores.setdefault(tenths, place)

    def freeze(self) -> None:
        """Compile the addresses."""
        for version, width in ((4, 32), (6, 128)):
            self._places[version] = AddressPlaces.of_blocks(self._blocks[version], width)
        self._blocks.clear()

    def by_address(self, address: IPAddress) -> int:
        """The first place that matches whatever the name is."""
        place = self._places[address.version].find(int(address))
        return place if place < self.everybody else self.everybody

    def by_name(self, name: str) -> int:
        """The first place that matches a confirmed host name (lower-case, no trailing dot)."""
        best = self._names.get(name, NOWHERE)
        if suffixes := self._suffixes:
            dot = name.find(".") + 1
            while dot:
                place = suffixes.get(name[dot:])
                if place is not None and place < best:
                    best = place
                dot = name.find(".", dot) + 1
        return best

    def by_score(self, score: Score) -> int:
        """The first place that matches a score; no place while scoring is not configured."""
        if not self._scores or score is NoScore.NOT_ENABLED:
            return NOWHERE
        return self._scores.get(None if isinstance(score, NoScore) else round(score * 10), NOWHERE)

    def names_before(self, place: int) -> bool:
        return self._first_name < place

    def strict_name_before(self, place: int) -> int:
        """The first name of a strict group that stands before `place`, or no place at all."""
        return self._first_strict_name if self._first_strict_name < place else NOWHERE


class Hat:
    """A compiled table. Immutable once built."""

    __slots__ = ("_deciding", "_first_of", "_group_of", "_groups", "_noting", "_texts")

    def __init__(self, groups: Sequence[HatGroup]) -> None:
        self._groups = tuple(group.name for group in groups)
        self._texts: list[str] = []
        self._group_of: list[int] = []
        self._deciding = _Table()
        noting: list[tuple[int, _Table]] = []
        for number, group in enumerate(groups):
            table = self._deciding
            if not group.decides:
                table = _Table()
                noting.append((number, table))
            for sender in group.senders:
                table.add(len(self._texts), sender, group.strict)
                self._texts.append(sender.text)
                self._group_of.append(number)
        self._noting = tuple(noting)
        self._first_of = self._firsts(groups)
        for table in (self._deciding, *(table for _, table in noting)):
            table.freeze()

    def needs_name(self, address: IPAddress) -> bool:
        """True when a host name could change what this address matches: the look-up is worth waiting for."""
        address = plain_address(address)
        return self._deciding.names_before(self._deciding.by_address(address))

    @staticmethod
    def _firsts(groups: Sequence[HatGroup]) -> tuple[tuple[type[Sender], int, int], ...]:
        """The first entry of each kind that asks for more than the address: the kind, its place and its deciding group."""
        found: dict[tuple[type[Sender], int], int] = {}
        place = 0
        for number, group in enumerate(groups):
            for sender in group.senders:
                if group.decides and isinstance(sender, NameSender | ScoreSender):
                    found.setdefault((type(sender), number), place)
                place += 1
        return tuple((kind, place, number) for (kind, number), place in found.items())

    def candidates(self, address: IPAddress, *, named: bool, scored: bool) -> frozenset[int]:
        """The groups that may decide about an address of which neither the host name nor the score is known yet.

        `named` and `scored` say whether there will be one; without both it is what `match` says.
        """
        place = self._deciding.by_address(plain_address(address))
        groups = {
            number
            for kind, at, number in self._first_of
            if at < place and (named if kind is NameSender else scored)
        }
        if place != NOWHERE:
            groups.add(self._group_of[place])
        return frozenset(groups)

    def match(
        self, address: IPAddress, name: PeerName, score: Score = NoScore.NOT_ENABLED
    ) -> HatMatch | CouldNotTell | None:
        """The first match; None when no entry matches (there is no entry for everybody)."""
        address = plain_address(address)
        table = self._deciding
        host = comparable_name(name) if isinstance(name, str) else ""
        place = table.by_address(address)
        if (by_score := table.by_score(score)) < place:
            place = by_score
        if host:
            if table.names_before(place) and (by_name := table.by_name(host)) < place:
                place = by_name
        elif name is NameState.UNDETERMINED:
            doubtful = table.strict_name_before(place)
            if doubtful != NOWHERE:
                return CouldNotTell(self._group_of[doubtful], self._texts[doubtful])
        if place == NOWHERE:
            return None
        notes = self._notes(address, host, score, place) if self._noting else ()
        return HatMatch(self._group_of[place], self._texts[place], notes)

    def _notes(self, address: IPAddress, host: str, score: Score, limit: int) -> tuple[str, ...]:
        """Names of the continuing groups that match before the deciding place."""
        noted = []
        for number, table in self._noting:
            if (
                table.by_address(address) < limit
                or table.by_score(score) < limit
                or (host and table.names_before(limit) and table.by_name(host) < limit)
            ):
                noted.append(self._groups[number])
        return tuple(noted)


def _tenths(low: float | None, high: float | None) -> Iterable[int | None]:
    """The scores of an entry, in tenths, as its text is printed; None for `sbrs[none]`."""
    if low is None or high is None:
        return (None,)
    return range(round(low * 10), round(high * 10) + 1)


def plain_address(address: IPAddress) -> IPAddress:
    """An IPv4-mapped IPv6 address as the IPv4 address that it is (C29)."""
    if not isinstance(address, IPv4Address) and (mapped := address.ipv4_mapped) is not None:
        return mapped
    return address


def comparable_name(name: str) -> str:
    """A host name of DNS as entries are compared."""
    return name.lower().rstrip(".")
