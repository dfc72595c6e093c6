"""TLSA records of our own services: where they stand, which are to be published, and what the published ones match (RFC 7671 §8).

How it works. A *place* is a host and a port as the world sees them; the records of a place bind every certificate that is shown
there, those of two listeners behind one name and both of an RSA and ECDSA pair. `Shown` is what a peer is shown, or a key that is
to be shown later. A record *covers* it when a peer that follows the records would accept it: `3 1 1` by its key alone, `2 1 1` by an
issuer that is sent along, with name and dates (RFC 7672 §3.1). Of several digests peers heed the strongest only
(RFC 7671 §9), so a `3 1 1` beside a `3 1 2` of another key covers nothing.

Limits. Aliases are followed for the records themselves, not for the host: an MX host is no alias (RFC 5321 §5.1). Cases C35, C41.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from gatepost.config.inbound import Listener, ListenerTls, ListenerType
from gatepost.config.model import Document
from gatepost.config.sni import WILDCARD, meant_name, parse_sni_name
from gatepost.config.tlsa import SMTP_PORT
from gatepost.core.address import normalise_domain
from gatepost.core.tls import DanePlan, NameSource, ReferenceName
from gatepost.core.tlsa import Selector, Tlsa, Usage, of_issuer, of_key, owner, strongest
from gatepost.pki.certificate import read_certificate
from gatepost.pki.dane import judge_dane
from gatepost.pki.profile import Profile
from gatepost.pki.selfsigned import read_request

SUGGESTED_TTL = 3600  # RFC 7671 §13: short enough to get rid of a wrong one, long enough to be cached


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A service as the world sees it; its records stand under `owner`."""

    host: str
    port: int = SMTP_PORT

    @property
    def owner(self) -> str:
        return owner(self.host, self.port)


@dataclass(frozen=True, slots=True)
class Shown:
    """A certificate as a peer is shown it, DER, leaf first, without roots; of a key alone the chain is empty."""

    profile: str
    public_key: bytes = field(repr=False)
    chain: tuple[bytes, ...] = field(default=(), repr=False)


def shown_of(profile: Profile) -> tuple[Shown, ...]:
    """What a profile serves."""
    return tuple(Shown(profile.name, pair.leaf.public_key_der, pair.served) for pair in profile.pairs)


def waiting_key(profile: Profile) -> Shown | None:
    """The key of an open request that is not served yet."""
    if not profile.waiting:
        return None
    return Shown(profile.name, read_request(profile.csr).public_key)


# --- where ------------------------------------------------------------------------------------------


def places(document: Document) -> dict[Place, tuple[str, ...]]:
    """Every place whose records concern this gateway, with the names of the profiles that are shown there."""
    hosts = {item.name: item.hostname or document.system.hostname for item in document.interfaces}
    found: dict[Place, list[str]] = {}
    for listener in document.listeners:
        by_name = {parse_sni_name(entry.name): entry.certificate for entry in listener.sni}
        for place in _places(document, listener, hosts.get(listener.interface, "")):
            meant = meant_name(by_name, place.host)
            profile = by_name[meant] if meant is not None else listener.certificate
            known = found.setdefault(place, [])
            if profile not in known:
                known.append(profile)
    return {place: tuple(names) for place, names in found.items()}


def places_of(document: Document, name: str) -> dict[Place, tuple[str, ...]]:
    """The same, only where this profile is shown."""
    return {place: names for place, names in places(document).items() if name in names}


def _places(document: Document, listener: Listener, host: str) -> Iterator[Place]:
    named = [entry.name for entry in listener.sni if not entry.name.startswith(WILDCARD)]
    usual = [name for name in (host, *named) if name]
    entries = [entry for entry in document.tlsa.services if entry.listener == listener.name]
    pairs = [(name, e.port) for e in entries if e.published for name in ([e.host] if e.host else usual)]
    if not entries and listener.type is ListenerType.PUBLIC and listener.tls is ListenerTls.STARTTLS:
        pairs = [(name, SMTP_PORT) for name in usual]
    for name, port in pairs:
        if "." in name.strip("."):  # `localhost` and its like stand in no zone
            yield Place(normalise_domain(name), port)


# --- what to publish --------------------------------------------------------------------------------


def key_records(shown: Iterable[Shown]) -> tuple[Tlsa, ...]:
    """`3 1 1` of every key, each once."""
    return tuple(dict.fromkeys(of_key(one.public_key) for one in shown))


def issuer_records(shown: Iterable[Shown], host: str, now: float) -> tuple[Tlsa, ...]:
    """`2 1 1` of the issuer of every certificate, where it is sent along and the name and dates are right (RFC 7672 §3.1.2)."""
    found = []
    for one in shown:
        for der in one.chain[1:2]:
            record = of_issuer(read_certificate(der).public_key_der)
            if covers(record, one, host, now):
                found.append(record)
    return tuple(dict.fromkeys(found))


# --- what the published ones match ------------------------------------------------------------------


def covers(record: Tlsa, shown: Shown, host: str, now: float) -> bool:
    """A peer that has this record alone takes what is shown. Of a key alone only `3 1 x` can be told."""
    if shown.chain:
        plan = DanePlan(host, (record,), (ReferenceName(host, NameSource.DNSSEC),))
        return not record.unusable and judge_dane(shown.chain, plan, now).record is not None
    of_a_key = record.usage == Usage.DANE_EE and record.selector == Selector.PUBLIC_KEY
    return of_a_key and record.matches(b"", shown.public_key)


def covering(records: Sequence[Tlsa], shown: Shown, host: str, now: float) -> tuple[Tlsa, ...]:
    """Those of a whole set that cover it, as a peer sees the set."""
    return tuple(record for record in strongest(records) if covers(record, shown, host, now))


def useful(records: Sequence[Tlsa]) -> bool:
    """The set asks peers to authenticate the host; one without usable records asks for TLS only (D5)."""
    return bool(strongest(records))
