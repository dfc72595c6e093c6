"""The name check (R10): MX host, certificate and interface host name of every listener, side by side.

A sender that verifies asks one thing: is the certificate valid for the name in the MX record? The interface's host name is the
one in our greeting; it should be the same, or an administrator sooner or later mends the wrong one. For delivery the client
certificate is compared with the host name that we say in EHLO. The system's host name plays no part in any of it and
is shown apart, since it is so often taken for the one that counts.

An MX host *leads here* when one of its addresses is the interface's; where none does (a gateway behind address translation
has an address that no MX host has), the one that has the interface's name. What could not be looked up is never
called different.

This is pure: the documents, the stored certificates and what DNS said (`mx_lookup`) come in, a value goes out.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gatepost.certs.mx_lookup import Known, MxDomain, MxHost
from gatepost.config.inbound import Listener, ListenerType, RecipientAction
from gatepost.config.model import Document
from gatepost.config.recipients import EntryKind, parse_mailbox_entry
from gatepost.config.sni import meant_name, parse_sni_name
from gatepost.core.address import normalise_domain
from gatepost.core.tls import NameSource, ReferenceName
from gatepost.pki.findings import Code
from gatepost.pki.names import PresentedNames, match_names
from gatepost.pki.notes import Note, note

MAX_NAMES = 50  # of a certificate, shown
SYSTEM_SENTENCE = "plays no part in it: neither senders nor receivers compare it with anything"
_MEANING = "a sender that verifies compares the MX host name with the certificate, and does not send where they differ"


class Verdict(StrEnum):
    """`unknown`: what could be compared is the same, and the MX records are not known."""

    SAME = "same"
    DIFFERS = "differs"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Shown:
    """A certificate profile that a peer is shown, with the names of each certificate in it; `sni` is empty for the usual one.

    Without `presented` it is not there or cannot be read.
    """

    profile: str
    presented: tuple[PresentedNames, ...]
    sni: str = ""

    def covers(self, host: str) -> bool:
        """Every certificate of the profile is valid for the host: the peer chooses which it gets."""
        reference = [ReferenceName(host, NameSource.OPERATOR)]
        return bool(self.presented) and all(match_names(names, reference) for names in self.presented)

    @property
    def names(self) -> tuple[str, ...]:
        """The names as they are shown, each once."""
        texts = (text for names in self.presented for text in names.texts(MAX_NAMES))
        return tuple(dict.fromkeys(texts))[:MAX_NAMES]


@dataclass(frozen=True, slots=True)
class ListenerNames:
    """One listener's three names. `differs` are the odd ones of `mx`, `certificate` and `interface`.

    `here` are the MX hosts that lead here, by address or (`by_name`) by name only.
    """

    listener: str
    type: str
    interface: str
    address: str
    host: str
    own_host: bool
    certificates: tuple[Shown, ...]
    domains: tuple[MxDomain, ...]
    here: tuple[str, ...]
    by_name: bool
    verdict: Verdict
    differs: tuple[str, ...]
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True)
class OutboundNames:
    """The client certificate, and the host names of the interfaces that mail may leave by."""

    certificate: Shown
    interfaces: tuple[tuple[str, str], ...]
    automatic: bool
    verdict: Verdict
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True)
class NameCheck:
    """Everything, for all listeners or those of one certificate."""

    listeners: tuple[ListenerNames, ...]
    outbound: OutboundNames | None
    system: str


Profiles = Mapping[str, Sequence[PresentedNames]]


def accepted_domains(document: Document, profile: str = "") -> tuple[str, ...]:
    """The domains that the listeners (all, or those that show a profile) take mail for, each once."""
    found = (domain for one in _chosen(document, profile) for domain in _domains(one))
    return tuple(dict.fromkeys(found))


def check_names(
    document: Document, profiles: Profiles, looked: Mapping[str, MxDomain], profile: str = ""
) -> NameCheck:
    """Compare. `profiles` are the names of every stored certificate; `profile` limits it to what shows that one."""
    outbound = document.destination_controls.global_.certificate
    return NameCheck(
        tuple(_listener(document, one, profiles, looked) for one in _chosen(document, profile)),
        _outbound(document, profiles) if profile in ("", outbound) else None,
        document.system.hostname,
    )


def _chosen(document: Document, profile: str) -> list[Listener]:
    def shows(listener: Listener) -> bool:
        return profile in ("", listener.certificate, *(entry.certificate for entry in listener.sni))

    return [listener for listener in document.listeners if shows(listener)]


def _domains(listener: Listener) -> Iterator[str]:
    """Plain domains of the recipients that it accepts; a mailbox counts with its domain."""
    if listener.type is not ListenerType.PUBLIC:
        return
    for rule in listener.recipient_access:
        entry = parse_mailbox_entry(rule.recipient)
        plain = entry.kind in (EntryKind.DOMAIN, EntryKind.MAILBOX) and not entry.domain.startswith("[")
        if plain and rule.action is RecipientAction.ACCEPT:
            yield entry.domain


# --- a listener ----------------------------------------------------------------------------------------


def _listener(
    document: Document, listener: Listener, profiles: Profiles, looked: Mapping[str, MxDomain]
) -> ListenerNames:
    interface = document.interface(listener.interface)
    address = interface.address if interface is not None else ""
    host = normalise_domain(document.interface_hostname(listener.interface))
    usual = _shown(listener.certificate, profiles)
    others = tuple(_shown(e.certificate, profiles, parse_sni_name(e.name)) for e in listener.sni)
    domains = tuple(looked[d] for d in dict.fromkeys(_domains(listener)) if d in looked)
    here, by_name = _here(domains, address, host)
    compared = _Compared(listener, host, (usual, *others), domains, here)
    notes = tuple(compared.notes())
    return ListenerNames(
        listener.name,
        listener.type.value,
        listener.interface,
        address,
        host,
        interface is not None and interface.hostname is not None,
        (usual, *others),
        domains,
        here,
        by_name,
        compared.verdict(),
        compared.differs(),
        notes,
    )


def _shown(profile: str, profiles: Profiles, sni: str = "") -> Shown:
    return Shown(profile, tuple(profiles.get(profile, ())), sni)


def _here(domains: Iterable[MxDomain], address: str, host: str) -> tuple[tuple[str, ...], bool]:
    """The MX hosts that lead to the interface, and whether only their name says so."""
    hosts = [one for domain in domains for one in domain.hosts]
    own = ipaddress.ip_address(address) if address else None
    by_address = [one.host for one in hosts if own is not None and own in one.addresses]
    if by_address:
        return tuple(dict.fromkeys(by_address)), False
    named = [one.host for one in hosts if one.host == host]
    return tuple(dict.fromkeys(named)), bool(named)


@dataclass(frozen=True, slots=True)
class _Compared:
    """The comparison of one listener's names."""

    listener: Listener
    host: str
    shown: tuple[Shown, ...]  # the usual one first
    domains: tuple[MxDomain, ...]
    here: tuple[str, ...]

    def served(self, asked: str) -> Shown:
        """What a client is shown that asks for a name."""
        listed = {one.sni: one for one in self.shown[1:]}
        meant = meant_name(listed, asked)
        return self.shown[0] if meant is None else listed[meant]

    def covered(self, host: str) -> bool:
        return self.served(host).covers(host)

    @property
    def nowhere(self) -> bool:
        """Every domain was answered, and no MX host leads here."""
        known = all(domain.known not in (Known.NO_ANSWER, Known.NOT_LOOKED_UP) for domain in self.domains)
        hosts = [host for domain in self.domains for host in domain.hosts]
        addresses = all(host.known is not Known.NO_ANSWER for host in hosts)
        return bool(self.domains) and not self.here and known and addresses

    def differs(self) -> tuple[str, ...]:
        """The odd ones: what is to be changed for all three to be the same."""
        odd: dict[str, None] = {}
        for host in self.here:
            if host == self.host:
                if not self.covered(host):
                    odd["certificate"] = None
            elif self.covered(host):
                odd["interface"] = None
            elif self.covered(self.host):
                odd["mx"] = None
            else:
                odd.update({"mx": None, "certificate": None, "interface": None})
        if not self.here and not self.covered(self.host):
            odd["certificate"] = None
        if self.nowhere:
            odd["mx"] = None
        return tuple(word for word in ("mx", "certificate", "interface") if word in odd)

    def verdict(self) -> Verdict:
        if self.differs():
            return Verdict.DIFFERS
        return Verdict.UNKNOWN if self.domains and not self.here else Verdict.SAME

    def notes(self) -> Iterator[Note]:
        place = f"interface {self.listener.interface}"
        for host in self.here:
            yield from self._host_notes(host, place)
        if self.host not in self.here and not self.covered(self.host):
            yield self._uncovered(self.host, f"the host name of {place}")
        if self.covered(self.host) and not self.shown[0].covers(self.host):
            yield self._only_asked(place)
        if self.nowhere:
            names = ", ".join(domain.domain for domain in self.domains[:5])
            yield _note(
                f"no MX host of {names} leads to {place} or has its host name {self.host}",
                f"let the MX record name {self.host}; behind address translation, give the interface the MX host's name",
            )

    def _host_notes(self, host: str, place: str) -> Iterator[Note]:
        if not self.covered(host):
            yield self._uncovered(host, "an MX host that leads here")
        if host != self.host:
            yield _note(
                f"the MX host {host} leads to {place}, whose host name is {self.host}",
                f"give the interface the host name {host}, or let the MX record name {self.host}",
                "senders see another name in the greeting than the one that they looked up",
            )

    def _only_asked(self, place: str) -> Note:
        """The usual certificate lacks the name that everybody sees, and one under sni has it."""
        usual, asked = self.shown[0], self.served(self.host)
        return _note(
            f"only clients that ask for {self.host}, the host name of {place}, are shown it: in {asked.profile}, under sni; "
            f"the others get {usual.profile}, which does not name it",
            f"make {asked.profile} the listener's certificate, or add {self.host} to {usual.profile}",
            "many senders ask for no name (SNI), and verify what they are shown",
        )

    def _uncovered(self, host: str, what: str) -> Note:
        shown = self.served(host)
        certificate = f"the certificate {shown.profile} of listener {self.listener.name}"
        if not shown.presented:
            return _note(f"{certificate} cannot be read", "import it again with --replace")
        return _note(
            f"{certificate} is not valid for {host}, {what}",
            f"use a certificate that names {host}, or add it as a further name when it is made anew",
        )


def _note(text: str, repair: str, meaning: str = _MEANING) -> Note:
    return note(Code.NAME_MISMATCH, "warning", text, repair=repair, meaning=meaning)


# --- delivery ------------------------------------------------------------------------------------------


def _outbound(document: Document, profiles: Profiles) -> OutboundNames:
    """The delivery interface's name; with `auto` any interface may be the one."""
    shown = _shown(document.destination_controls.global_.certificate, profiles)
    fixed = document.interface(document.delivery.interface)
    chosen = [fixed] if fixed is not None else list(document.interfaces)
    names = tuple((one.name, normalise_domain(document.interface_hostname(one.name))) for one in chosen)
    wrong = [(name, host) for name, host in names if not shown.covers(host)]
    notes = tuple(
        _note(
            f"the client certificate {shown.profile} is not valid for {host}, the host name of interface {name}",
            f"use a certificate that names {host} under destination_controls.global.certificate",
            "a receiver that verifies client certificates finds another name in it than the one in EHLO",
        )
        for name, host in wrong
    )
    verdict = Verdict.DIFFERS if wrong else Verdict.SAME if names else Verdict.UNKNOWN
    return OutboundNames(shown, names, fixed is None, verdict, notes)


def leads_here(one: ListenerNames, host: MxHost) -> bool:
    """Whether this MX host is among those that lead to the listener."""
    return host.host in one.here
