"""The HAT: first match wins whatever its kind, names are asked for only where they matter, and doubt never lets in."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.config.senders import (
    AddressSender,
    AllSenders,
    NameSender,
    ScoreSender,
    Sender,
    parse_sender,
)
from gatepost.core.address import IPAddress
from gatepost.policy.hat import CouldNotTell, Hat, HatGroup, HatMatch, NameState, NoScore, PeerName, Score

NONE, UNDETERMINED = NameState.NONE, NameState.UNDETERMINED


def group(name: str, *senders: str, decides: bool = True, strict: bool = False) -> HatGroup:
    return HatGroup(name, tuple(parse_sender(text) for text in senders), decides, strict)


def match(hat: Hat, address: str, name: PeerName = NONE) -> tuple[int, str] | str | None:
    found = hat.match(ipaddress.ip_address(address), name)
    if isinstance(found, CouldNotTell):
        return f"could not tell {found.text}"
    return (found.group, found.text) if found is not None else None


@pytest.mark.parametrize(
    ("entry", "inside", "outside"),
    [
        ("192.0.2.7", ["192.0.2.7", "::ffff:192.0.2.7"], ["192.0.2.8", "::192.0.2.7"]),
        ("192.0.2.0/28", ["192.0.2.0", "192.0.2.15"], ["192.0.2.16", "192.0.1.255"]),
        ("192.0.2.", ["192.0.2.255"], ["192.0.3.0"]),
        ("10.1", ["10.1.2.3"], ["10.2.1.1", "101.1.1.1"]),
        ("10", ["10.255.255.255"], ["11.0.0.0", "100.0.0.1"]),
        ("192.0.2.5-9", ["192.0.2.5", "192.0.2.7", "192.0.2.9"], ["192.0.2.4", "192.0.2.10"]),
        ("10.3-5", ["10.3.0.0", "10.5.255.255"], ["10.2.255.255", "10.6.0.0"]),
        ("2001:db8::/32", ["2001:db8:1::5"], ["2001:db9::", "32.1.13.184"]),
        ("2001:db8::1-2001:db8::9", ["2001:db8::1", "2001:db8::9"], ["2001:db8::a", "2001:db8::"]),
        ("::ffff:192.0.2.0/120", ["192.0.2.9", "::ffff:192.0.2.9"], ["192.0.3.0"]),
        ("0.0.0.0/0", ["1.2.3.4"], ["2001:db8::1"]),
        ("::/0", ["2001:db8::1"], ["1.2.3.4", "::ffff:1.2.3.4"]),
        ("ALL", ["1.2.3.4", "2001:db8::1"], []),
        ("sbrs[-10:10]", [], ["1.2.3.4"]),
        ("sbrs[none]", [], ["1.2.3.4"]),
    ],
)
def test_addresses(entry: str, inside: list[str], outside: list[str]) -> None:
    hat = Hat([group("G", entry)])
    text = parse_sender(entry).text
    assert [match(hat, address) for address in inside] == [(0, text)] * len(inside)
    assert [match(hat, address) for address in outside] == [None] * len(outside)


def test_names() -> None:
    hat = Hat([group("G", "mx.partner.example", ".within.example")])
    assert match(hat, "192.0.2.1", "MX.Partner.Example.") == (0, "mx.partner.example")
    assert match(hat, "192.0.2.1", "a.b.within.example") == (0, ".within.example")
    for other in (
        "within.example",
        "notwithin.example",
        "x.mx.partner.example",
        "mx.partner.example.evil",
        NONE,
    ):
        assert match(hat, "192.0.2.1", other) is None


def test_the_first_match_wins_whatever_its_kind() -> None:
    hat = Hat(
        [
            group("A", "mx.example"),
            group("B", "192.0.2.7"),
            group("C", ".example"),
            group("D", "192.0.2."),
            group("E", "ALL"),
        ]
    )
    assert match(hat, "192.0.2.7", "mx.example") == (0, "mx.example")
    assert match(hat, "192.0.2.7", "a.example") == (1, "192.0.2.7")
    assert match(hat, "192.0.2.8", "a.example") == (2, ".example")
    assert match(hat, "192.0.2.8", NONE) == (3, "192.0.2.")
    assert match(hat, "192.0.3.8", NONE) == (4, "ALL")


def test_the_wider_entry_wins_when_it_stands_first() -> None:
    assert match(Hat([group("A", "10."), group("B", "10.1.1.1")]), "10.1.1.1") == (0, "10.")
    assert match(Hat([group("A", "10.1.1.1"), group("B", "10.")]), "10.1.1.1") == (0, "10.1.1.1")


def test_a_name_is_needed_only_where_it_could_change_something() -> None:
    address = ipaddress.ip_address("192.0.2.7")
    assert not Hat([group("A", "192.0.2."), group("B", "mx.example"), group("C", "ALL")]).needs_name(address)
    assert Hat([group("A", "10."), group("B", "mx.example"), group("C", "ALL")]).needs_name(address)
    assert Hat([group("A", "mx.example")]).needs_name(address)
    assert not Hat([group("C", "ALL")]).needs_name(address)


@pytest.mark.parametrize("strict", [True, False])
def test_doubt_does_not_slip_past_a_strict_group(strict: bool) -> None:
    hat = Hat([group("A", "mx.example", strict=strict), group("B", "ALL")])
    assert match(hat, "192.0.2.7", UNDETERMINED) == ("could not tell mx.example" if strict else (1, "ALL"))
    assert match(hat, "192.0.2.7", NONE) == (1, "ALL")


def test_doubt_is_no_matter_behind_the_match() -> None:
    hat = Hat([group("A", "192.0.2."), group("B", ".example", strict=True), group("C", "ALL")])
    assert match(hat, "192.0.2.7", UNDETERMINED) == (0, "192.0.2.")
    assert match(hat, "192.0.3.7", UNDETERMINED) == "could not tell .example"


def test_a_relaying_group_between_is_no_match_in_doubt() -> None:
    hat = Hat(
        [group("RELAY", ".inside.example"), group("REJECT", ".bad.example", strict=True), group("C", "ALL")]
    )
    assert match(hat, "192.0.2.7", UNDETERMINED) == "could not tell .bad.example"


def test_a_continuing_group_is_noted_and_read_past() -> None:
    hat = Hat([
        group("NOTE", "10.", decides=False),
        group("NAMES", ".example", decides=False),
        group("A", "10.1."),
        group("LATE", "ALL", decides=False),
        group("ALL", "ALL"),
    ])  # fmt: skip
    found = hat.match(ipaddress.ip_address("10.1.1.1"), "x.example")
    assert found == HatMatch(2, "10.1.", ("NOTE", "NAMES"))
    assert hat.match(ipaddress.ip_address("10.2.1.1"), NONE) == HatMatch(4, "ALL", ("NOTE", "LATE"))
    assert hat.match(ipaddress.ip_address("11.2.1.1"), UNDETERMINED) == HatMatch(4, "ALL", ("LATE",))


@pytest.mark.parametrize(
    ("score", "found"),
    [
        (NoScore.NOT_ENABLED, (4, "ALL")),
        (NoScore.NONE, (3, "sbrs[none]")),
        (-10.0, (0, "sbrs[-10.0:-3.0]")),
        (-3.0, (0, "sbrs[-10.0:-3.0]")),
        (-2.9, (1, "sbrs[-3.0:-1.0]")),
        (-0.9, (4, "ALL")),
        (2.3, (2, "sbrs[2.3:10.0]")),
        (2.2, (4, "ALL")),
        (10.0, (2, "sbrs[2.3:10.0]")),
    ],
)
def test_scores(score: Score, found: tuple[int, str]) -> None:
    hat = Hat([
        group("BAD", "sbrs[-10:-3]"),
        group("ODD", "SBRS[-3.0:-1.0]"),
        group("GOOD", "sbrs[2.3:10]"),
        group("NEW", "sbrs[none]"),
        group("ALL", "ALL"),
    ])  # fmt: skip
    given_score = hat.match(ipaddress.ip_address("192.0.2.7"), NONE, score)
    assert isinstance(given_score, HatMatch)
    assert (given_score.group, given_score.text) == found


def test_an_empty_table_matches_nobody() -> None:
    assert match(Hat([]), "10.0.0.1") is None
    assert match(Hat([group("G")]), "10.0.0.1") is None


# --- against a reader that goes row by row ----------------------------------------------------------

ENTRIES = st.sampled_from(
    [
        "10.0.0.1", "10.0.0.", "10.", "10.0.0.0/30", "10.0.0.1-2", "10.0.0-1", "10.0.0.2", "0.0.0.0/0",
        "2001:db8::/64", "2001:db8::1", "::ffff:10.0.0.2", "::ffff:10.0.0.0/126", "::/0",
        "a.example", ".example", ".a.example", "b.a.example", "sbrs[none]", "ALL",
        "sbrs[-10:-3]", "sbrs[-3:-1]", "sbrs[-1:10]", "sbrs[0.1:0.1]",
    ]
)  # fmt: skip
ADDRESSES = st.sampled_from(
    [
        "10.0.0.1",
        "10.0.0.2",
        "10.0.1.1",
        "10.9.9.9",
        "192.0.2.1",
        "::ffff:10.0.0.1",
        "2001:db8::1",
        "2001:db9::1",
    ]
)
PEERS = st.sampled_from(["a.example", "b.a.example", "example", "c.example", NONE, UNDETERMINED])
SCORES: st.SearchStrategy[Score] = st.one_of(
    st.sampled_from(list(NoScore)), st.integers(-100, 100).map(lambda tenths: tenths / 10)
)
GROUPS = st.lists(
    st.tuples(st.lists(ENTRIES, max_size=3), st.booleans(), st.booleans()), max_size=6
)  # fmt: skip


def matches(sender: Sender, address: IPAddress, name: PeerName, score: Score) -> bool | None:
    """Does this one entry match? None: it is a name, and the name could not be told."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    match sender:
        case AllSenders():
            return True
        case ScoreSender(low=None):
            return score is NoScore.NONE
        case ScoreSender(low=float(low), high=float(high)):
            return isinstance(score, float) and low <= score <= high
        case NameSender(name=wanted, within=within):
            if name is UNDETERMINED:
                return None
            if not isinstance(name, str):
                return False
            return name.endswith("." + wanted) if within else name == wanted
        case AddressSender(blocks=blocks):
            width = address.max_prefixlen
            return any(
                block.version == address.version and int(address) >> (width - block.length) == block.prefix
                for block in blocks
            )


def row_by_row(
    groups: list[HatGroup], address: IPAddress, name: PeerName, score: Score
) -> HatMatch | CouldNotTell | None:
    notes: list[str] = []
    for number, row in enumerate(groups):
        for sender in row.senders:
            outcome = matches(sender, address, name, score)
            if outcome is None and row.decides and row.strict:
                return CouldNotTell(number, sender.text)
            if outcome and row.decides:
                return HatMatch(number, sender.text, tuple(notes))
            if outcome:
                notes.append(row.name)
                break
    return None


@given(GROUPS, ADDRESSES, PEERS, SCORES)
def test_compiled_it_says_what_reading_row_by_row_says(
    rows: list[tuple[list[str], bool, bool]], address: str, name: PeerName, score: Score
) -> None:
    groups = [group(f"G{n}", *entries, decides=d, strict=s) for n, (entries, d, s) in enumerate(rows)]
    peer = ipaddress.ip_address(address)
    hat = Hat(groups)
    assert hat.match(peer, name, score) == row_by_row(groups, peer, name, score)
    found = hat.match(peer, name, score)
    if found is not None:
        named, scored = name is not NONE, score is not NoScore.NOT_ENABLED
        assert found.group in hat.candidates(peer, named=named, scored=scored)
    if not hat.needs_name(peer):
        for host in ("a.example", "b.a.example", NONE, UNDETERMINED):
            found, bare = hat.match(peer, host), hat.match(peer, NONE)
            assert isinstance(found, HatMatch) == isinstance(bare, HatMatch)
            assert not isinstance(found, CouldNotTell)
            if isinstance(found, HatMatch) and isinstance(bare, HatMatch):
                assert (found.group, found.text) == (bare.group, bare.text)
