"""Tags in envelope senders, by which a report of our own mail is told from one of forged mail (BATV, `prvs`).

How it works. Mail of our domains leaves with `prvs=KDDDSSSSSS=local@domain` as its envelope sender: K the number of the key, DDD the last
day of the tag, as days since 1970 modulo 1000, SSSSSS the first three octets of HMAC-SHA1 (RFC 2104) over K, DDD and the address. A report (null sender) to
an address of ours must carry such a tag; the tag is taken off before anything else looks at the recipient. So the form is that of the
draft (draft-levine-smtp-batv-01), and hosts that share a key understand each other's tags.

What we chose. The HMAC is over the address in lower case, since hosts on the way change the case of addresses; when a tag is read, the address as it
came counts too. A tag that is not needed (the sender is not null) is taken off whether it is good or not: some programs answer to the envelope sender.

Limits. A tag lives seven days. A quoted local part, and one that would be longer than 64 octets with a tag, is never tagged, so no tag is asked of it;
nor of `postmaster`, which is always to be reached (RFC 5321 §4.5.1). Three octets are guessed once in 16 million tries: enough for what it guards.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gatepost.config.bounce_verification import UntaggedBounces
from gatepost.config.model import Document
from gatepost.core.address import MAX_LOCAL_PART, Address
from gatepost.core.reply import Refusal
from gatepost.policy.mailboxes import MailboxTable

TAG_DAYS = 7
KEY_NUMBERS = 10
DAY = 86_400
HEADER = "X-Gatepost-Bounce-Tag"

_TAGGED = re.compile(r"prvs=([0-9])([0-9]{3})([0-9a-f]{6})=([^.].*)", re.ASCII | re.IGNORECASE | re.DOTALL)
_OVERHEAD = len("prvs=KDDDSSSSSS=")


class TagState(StrEnum):
    """What a recipient's tag came to, as the log says it."""

    GOOD = "good"
    MISSING = "no tag"
    EXPIRED = "an expired tag"
    WRONG = "a wrong tag"


@dataclass(frozen=True, slots=True)
class TagRules:
    """Whose addresses are tagged, and with which keys. `current` is the number of the key that new tags are made with."""

    domains: MailboxTable
    exceptions: MailboxTable | None
    keys: Mapping[int, bytes] = field(repr=False)
    current: int

    def ours(self, address: Address) -> bool:
        """The address is one of a domain of ours, and not an exception."""
        if not address.domain or self.domains.find(address) is None:
            return False
        return self.exceptions is None or self.exceptions.find(address) is None

    def covers(self, domain: str) -> bool:
        """The domain is one of ours: its mail stays inside, and needs no tag."""
        return self.domains.find(Address(f"x@{domain}", "x", domain)) is not None


def compile_tags(document: Document, keys: Mapping[int, bytes], current: int) -> TagRules | None:
    """The rules of a checked document; None where nothing is tagged, or no key is there to do it with."""
    settings = document.bounce_verification
    if not settings.domains or current not in keys:
        return None
    exceptions = None
    if settings.exceptions is not None:
        found = document.address_list(settings.exceptions)
        if found is None:
            raise KeyError(settings.exceptions)
        exceptions = MailboxTable.of_texts(found.addresses)
    return TagRules(MailboxTable.of_texts(settings.domains), exceptions, dict(keys), current)


# --- going out ------------------------------------------------------------------------------------


def tagged(rules: TagRules, sender: Address, now: float) -> Address:
    """The sender as it leaves; the same where it is not tagged."""
    if sender.null or not _can_be_tagged(sender) or not rules.ours(sender):
        return sender
    number = rules.current
    day = f"{(int(now) // DAY + TAG_DAYS) % 1000:03d}"
    mark = _mark(rules.keys[number], number, day, _plain(sender.local, sender.domain))
    local = f"prvs={number}{day}{mark}={sender.local}"
    return Address(f"{local}@{sender.text.rpartition('@')[2]}", local, sender.domain)


def _can_be_tagged(address: Address) -> bool:
    local = address.local
    return (
        not local.startswith(('"', "."))
        and len(local.encode("utf-8", "surrogatepass")) + _OVERHEAD <= MAX_LOCAL_PART
        and _TAGGED.fullmatch(local) is None
    )


def _plain(local: str, domain: str) -> str:
    return f"{local}@{domain}".lower()


def _mark(key: bytes, number: int, day: str, address: str) -> str:
    source = f"{number}{day}{address}".encode("utf-8", "surrogatepass")
    return hmac.new(key, source, hashlib.sha1).hexdigest()[:6]


# --- coming in ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TagVerdict:
    """A recipient without its tag, and what is to be done. `note` is what a marked message says of it."""

    recipient: Address
    refusal: Refusal | None = None
    note: str = ""


def judge_recipient(
    rules: TagRules, recipient: Address, *, report: bool, untagged: UntaggedBounces | None, now: float
) -> TagVerdict:
    """What becomes of a recipient. `report`: the sender is null; `untagged` None: tags are taken off and not asked for."""
    plain, state = read_tag(rules, recipient, now)
    if not report or untagged in (None, UntaggedBounces.ACCEPT) or state is TagState.GOOD:
        return TagVerdict(plain)
    if not rules.ours(plain) or not _can_be_tagged(plain) or plain.local.lower() == "postmaster":
        return TagVerdict(plain)
    if untagged is UntaggedBounces.MARK:
        return TagVerdict(plain, note=state.value)
    cause = f"Rejected by bounce verification ({state})"
    return TagVerdict(plain, Refusal(550, "5.7.1", "This address has not sent such mail", cause=cause))


def read_tag(rules: TagRules, recipient: Address, now: float) -> tuple[Address, TagState]:
    """The address without a tag of ours, and what the tag came to. An address of others stays as it is."""
    found = _TAGGED.fullmatch(recipient.local)
    if found is None:
        return recipient, TagState.MISSING
    number, day, mark, local = found.groups()
    plain = Address(f"{local}@{recipient.text.rpartition('@')[2]}", local, recipient.domain)
    if not recipient.domain or rules.domains.find(plain) is None:
        return recipient, TagState.MISSING
    key = rules.keys.get(int(number))
    if key is None or not any(
        hmac.compare_digest(_mark(key, int(number), day, text), mark.lower())
        for text in (_plain(local, plain.domain), plain.text)
    ):
        return plain, TagState.WRONG
    # Days are counted modulo 1000, so a tag of long ago is one that ends far in the future. A host whose clock is ahead may be a day further.
    left = (int(day) - int(now) // DAY) % 1000
    return plain, TagState.GOOD if left <= TAG_DAYS + 1 else TagState.EXPIRED
