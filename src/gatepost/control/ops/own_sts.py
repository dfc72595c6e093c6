"""sts.show and sts.check: our own MTA-STS policies, what is to be published for them, and what the world sees (RFC 8461).

The check looks with the eyes of a sender: MX records and TXT records by DNS, the file over verified HTTPS by the very code that fetches
the policies of others. Only our own hosts are called, so inside addresses are allowed here. Certificates are those that the listeners
show; that they really do is proven after every activation (`cert.prove`).
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from gatepost.certs.authorities import system_bundle
from gatepost.certs.mx_lookup import Known, MxDomain, MxHost, look_up
from gatepost.certs.own_sts import HostCertificate, Record, Seen, own_sts_findings, worst
from gatepost.config.inbound import Listener, ListenerType
from gatepost.config.load import load_plain
from gatepost.config.model import Document
from gatepost.config.public_web import MtaStsPolicy
from gatepost.config.sni import meant_name, parse_sni_name
from gatepost.config.values import Fault, format_duration, parse_host_name
from gatepost.control.ops.registry import Arguments, Context, operation
from gatepost.control.ops.versions import current
from gatepost.control.ports import Caller
from gatepost.core.address import normalise_domain
from gatepost.core.errors import Exit, OperatorError
from gatepost.core.tls import NameSource, ReferenceName
from gatepost.net.dns_client import DnsClient, parse_name_server, system_name_servers
from gatepost.net.resolver import Resolver
from gatepost.pki.anchors import Anchors
from gatepost.pki.errors import PkiError
from gatepost.pki.judge import Purpose, judge_chain
from gatepost.pki.names import PresentedNames, match_names
from gatepost.pki.profile import Pair, Profile
from gatepost.policy.own_mta_sts import announced_id, policy_file
from gatepost.relay.sts_fetch import PolicyFetcher
from gatepost.store.config_store import Content
from gatepost.wire.mta_sts import POLICY_PATH, StsFault, record_id, record_text

TRY_SECONDS = (1.0, 2.0)  # of one name server
FETCH_SECONDS = 15.0
TXT_SECONDS = 4.0
MAX_NAMES = 20
AT_ONCE = 10  # domains that are looked at side by side


async def show(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """The policies of all domains, or of `domain`, with the records to publish."""
    document = load_plain(current(context).content.document)
    return [_shown(document, entry) for entry in _chosen(document, arguments.text("domain", ""))]


async def check(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """What the world sees of them, and where it disagrees."""
    content = current(context).content
    document = load_plain(content.document)
    entries = _chosen(document, arguments.text("domain", ""))
    if not entries:
        return []
    servers = tuple(parse_name_server(text) for text in document.dns.servers)
    client = DnsClient(servers or system_name_servers(), try_seconds=TRY_SECONDS)
    resolver = Resolver(asyncio.get_running_loop(), client)
    try:
        eye = _Eye(context, content, document, resolver)
        found: list[dict[str, Any]] = []
        for start in range(0, len(entries), AT_ONCE):
            part = entries[start : start + AT_ONCE]
            looked = await look_up([entry.comparable_domain for entry in part], resolver)
            found += await asyncio.gather(
                *(eye.look(entry, looked[entry.comparable_domain]) for entry in part)
            )
        return found
    finally:
        await resolver.close()


def _chosen(document: Document, domain: str) -> list[MtaStsPolicy]:
    if not domain:
        return list(document.mta_sts_policies)
    try:
        wanted = parse_host_name(domain)
    except Fault as fault:
        raise OperatorError(f"{domain!r} {fault.text}", fault.hint, code=Exit.USAGE) from None
    found = [entry for entry in document.mta_sts_policies if entry.comparable_domain == wanted]
    if not found:
        known = ", ".join(entry.comparable_domain for entry in document.mta_sts_policies)
        raise OperatorError(
            f"there is no MTA-STS policy of {wanted}",
            f"there are policies of {known}" if known else "add one under mta_sts_policies",
        )
    return found


def _shown(document: Document, entry: MtaStsPolicy) -> dict[str, Any]:
    domain, identifier = entry.comparable_domain, announced_id(entry)
    return {
        "domain": domain,
        "mode": entry.mode.value,
        "max_age": format_duration(entry.max_age),
        "mx": list(entry.mx),
        "certificate": entry.certificate,
        "id": identifier,
        "url": f"https://{entry.host}{POLICY_PATH}",
        "policy": policy_file(entry).decode("ascii"),
        "served": document.public_web is not None,
        "records": [
            _record("policy-host", entry.host, "A or AAAA", _public_address(document)),
            _record("policy", f"_mta-sts.{domain}", "TXT", record_text(identifier)),
            _record("reports", f"_smtp._tls.{domain}", "TXT", _report_record(document, domain)),
        ],
    }


def _report_record(document: Document, domain: str) -> str:
    """The TXT record that asks for reports (RFC 8460 §3): where they are taken here, else a mailbox that is to be made."""
    received = document.tls_reports_received
    own = [text for text in received.mailboxes if normalise_domain(text.rpartition("@")[2]) == domain]
    places = [f"mailto:{text}" for text in (own or received.mailboxes)[:1] if text.isascii()]
    places += [f"https://{one.comparable_host}{one.path}" for one in received.https[:1]]
    return f"v=TLSRPTv1; rua={','.join(places) or f'mailto:tls-reports@{domain}'}"


def _record(purpose: str, name: str, kind: str, value: str) -> dict[str, str]:
    return {"purpose": purpose, "name": name, "type": kind, "value": value}


def _public_address(document: Document) -> str:
    """The address of the public port, where the world can have the same; else empty."""
    web = document.public_web
    if web is None:
        return ""
    interface = document.interface(web.interface or "")
    address = ipaddress.ip_address(web.address or (interface.address if interface else "0.0.0.0"))
    return str(address) if address.is_global else ""


class _Eye:
    """One look at the world with one configuration."""

    def __init__(self, context: Context, content: Content, document: Document, resolver: Resolver) -> None:
        self._context = context
        self._content = content
        self._document = document
        self._resolver = resolver
        self._public = Anchors.from_pem(system_bundle()[1])
        self._known = context.inventory().anchors(content)
        self._fetch = PolicyFetcher(lambda: resolver, lambda: self._known, lambda: True, FETCH_SECONDS)

    async def look(self, entry: MtaStsPolicy, mx: MxDomain) -> dict[str, Any]:
        domain = entry.comparable_domain
        record, reports, (body, unreachable) = await asyncio.gather(
            self._record(domain), self._reports(domain), self._file(domain)
        )
        certificates = await asyncio.to_thread(self._certificates, mx)
        private = not self._document.certificate_authorities.system
        seen = Seen(mx, certificates, record, body, unreachable, reports, private)
        findings = own_sts_findings(entry, seen)
        return {
            "domain": domain,
            "mode": entry.mode.value,
            "id": announced_id(entry),
            "status": worst(findings),
            "mx": [_host(host, certificates) for host in mx.hosts],
            "mx_status": mx.known.value,
            "record_id": record.identifier,
            "fetched": not unreachable,
            "findings": [one.document() for one in findings],
        }

    async def _txt(self, name: str) -> tuple[Known, tuple[str, ...], str]:
        try:
            async with asyncio.timeout(TXT_SECONDS):
                answer = await self._resolver.txt(name)
        except TimeoutError:
            return Known.NO_ANSWER, (), "no answer in time"
        if answer.temporary:
            return Known.NO_ANSWER, (), answer.detail
        return (Known.FOUND if answer.found else Known.NONE), tuple(answer.values), ""

    async def _record(self, domain: str) -> Record:
        known, values, detail = await self._txt(f"_mta-sts.{domain}")
        try:
            return Record(known, record_id(values) or "", detail=detail)
        except StsFault as fault:
            return Record(known, fault=str(fault))

    async def _reports(self, domain: str) -> bool | None:
        known, values, _ = await self._txt(f"_smtp._tls.{domain}")
        if known is Known.NO_ANSWER:
            return None
        return any(text.replace(" ", "").startswith("v=TLSRPTv1;") for text in values)

    async def _file(self, domain: str) -> tuple[bytes, str]:
        try:
            return await self._fetch(domain), ""
        except StsFault as fault:
            return b"", str(fault)

    # --- certificates of MX hosts that are ours ----------------------------------------------------

    def _certificates(self, mx: MxDomain) -> dict[str, tuple[HostCertificate, ...]]:
        found = {}
        for host in mx.hosts:
            name = host.host.rstrip(".").lower()
            shown = [self._shown(listener, name) for listener in self._listeners(host)]
            found[name] = tuple(one for one in shown if one is not None)
        return found

    def _listeners(self, host: MxHost) -> Sequence[Listener]:
        """The public listeners that an MX host leads to: by address, else by the interface's name."""
        public = [one for one in self._document.listeners if one.type is ListenerType.PUBLIC]
        by_address, by_name = [], []
        for listener in public:
            interface = self._document.interface(listener.interface)
            if interface is None:
                continue
            if ipaddress.ip_address(interface.address) in host.addresses:
                by_address.append(listener)
            name = normalise_domain(self._document.interface_hostname(listener.interface))
            if name == host.host.rstrip(".").lower():
                by_name.append(listener)
        return by_address or by_name

    def _shown(self, listener: Listener, host: str) -> HostCertificate | None:
        listed = {parse_sni_name(entry.name): entry.certificate for entry in listener.sni}
        meant = meant_name(listed, host)
        profile = listener.certificate if meant is None else listed[meant]
        stored = self._context.store.profile(self._content.profiles.get(profile, 0))
        if stored is None:
            return None
        try:
            pairs = Profile.from_document(dict(stored.record)).pairs
            verdicts = [self._verdict(pair) for pair in pairs]
            names = [pair.leaf.names for pair in pairs]
        except PkiError as error:
            return HostCertificate(listener.name, profile, (), True, error.text)
        # §4.2: a DNS name of subjectAltName, and no common name instead.
        reference = [ReferenceName(host, NameSource.MTA_STS)]
        covers = all(match_names(PresentedNames(one.dns), reference) for one in names)
        texts = dict.fromkeys(text for one in names for text in PresentedNames(one.dns).texts(MAX_NAMES))
        problem = next((text for text, _ in verdicts if text), "")
        plain = tuple(text.removeprefix("DNS:") for text in texts)
        private = any(private for _, private in verdicts)
        return HostCertificate(listener.name, profile, plain, covers, problem, private)

    def _verdict(self, pair: Pair) -> tuple[str, bool]:
        """What a sender minds about a chain, and whether only an authority of the operator's own list vouches for it."""
        now = self._context.clock.now()
        verdict = judge_chain(pair.served, self._public, now, Purpose.SERVER)
        if verdict.ok:
            return "", False
        if judge_chain(pair.served, self._known, now, Purpose.SERVER).ok:
            return "", True
        return verdict.worst.text if verdict.worst is not None else "no path to an authority", False


def _host(host: MxHost, certificates: Mapping[str, tuple[HostCertificate, ...]]) -> dict[str, Any]:
    name = host.host.rstrip(".").lower()
    shown = certificates.get(name, ())
    return {
        "host": name,
        "listeners": [one.listener for one in shown],
        "certificates": [one.profile for one in shown],
    }


OPERATIONS = (operation("sts.show", show, "domain"), operation("sts.check", check, "domain"))
