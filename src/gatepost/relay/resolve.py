"""Due -> list[Hop]: where the mail of a destination may be delivered, best first.

The smtp route of the recipient domain decides whether MX records are asked, of which name, or whether
hosts are fixed (`[host]`, an address). Hosts become addresses, IPv6 and IPv4 as the interface allows; what
DNS says about a *recipient's* domain is checked against loops and inside addresses (architecture 4,
DNS), what the operator wrote in a route is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from gatepost.core.address import IPAddress
from gatepost.core.address_ranges import refused_address
from gatepost.net.dns_answer import DnsAnswer, DnsStatus, Mx
from gatepost.net.dns_trust import settles_dnssec
from gatepost.policy.hop import Hop, LeftOut
from gatepost.policy.mx import (
    MxHost,
    MxOrder,
    MxOutcome,
    drop_ourselves,
    order_hosts,
)
from gatepost.policy.reference_names import HopNames
from gatepost.policy.route import FixedHosts, Reject, RouteHost, UseAddress, UseDns
from gatepost.policy.tls_out import DestinationRule
from gatepost.relay.outcome import Failure, Stage
from gatepost.relay.services import Runtime, Services

MAX_HOPS = 20  # addresses tried for one destination in one attempt
SMTP_PORT = 25

_BAD_MX = {
    MxOutcome.NULL: Stage.NULL_MX,
    MxOutcome.NO_HOST: Stage.UNROUTABLE,
    MxOutcome.LOOP: Stage.LOOP,
}


Told = Callable[[LeftOut], None]
"""Is told of each host and address that DNS names and that is not used."""


def nobody(left_out: LeftOut) -> None:
    """A delivery does not ask what was left out."""


class Unresolved(Exception):
    """No hop can be had: `failure` says why, and whether for good."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self.failure = failure


def _unresolved(stage: Stage, text: str, *, permanent: bool) -> Unresolved:
    return Unresolved(Failure(stage, permanent, (text,)))


async def resolve(
    services: Services, runtime: Runtime, domain: str, rule: DestinationRule, told: Told = nobody
) -> list[Hop]:
    """The hops of a recipient domain, in the order in which they are to be tried. Raises Unresolved.

    Where the rule asks for it, with the TLSA records of each host and the MTA-STS policy of the domain whose MX records led there.
    """
    hops = await _resolve(services, runtime, domain, told)
    if rule.looks_up_tlsa:
        hops = await _with_tlsa(services, hops)
    return await _with_sts(services, hops) if rule.looks_up_sts else hops


async def _with_sts(services: Services, hops: list[Hop]) -> list[Hop]:
    """The policy belongs to the name whose MX records were asked; a host that the operator wrote has none (architecture 4)."""
    domains = {hop: hop.names.route_host or hop.names.domain for hop in hops if hop.names.mx_host}
    policies = {domain: await services.sts.of(domain) for domain in dict.fromkeys(domains.values())}
    found = [(hop, domains.get(hop, "")) for hop in hops]
    return [
        replace(hop, sts=(domain, policy)) if (policy := policies.get(domain)) is not None else hop
        for hop, domain in found
    ]


async def _with_tlsa(services: Services, hops: list[Hop]) -> list[Hop]:
    services_of = dict.fromkeys((hop.host, hop.port) for hop in hops if not hop.names.literal)
    found = await asyncio.gather(*(services.resolver.tlsa(host, port) for host, port in services_of))
    answers = dict(zip(services_of, found, strict=True))
    return [replace(hop, tlsa=answers.get((hop.host, hop.port))) for hop in hops]


async def _resolve(services: Services, runtime: Runtime, domain: str, told: Told) -> list[Hop]:
    match runtime.routes.find(domain):
        case Reject(reason):
            raise _unresolved(Stage.POLICY, reason, permanent=True)
        case UseAddress(address):
            return [_literal_hop(runtime, domain, address)]
        case UseDns(name):
            return await _by_mx(services, runtime, domain, name, told, route=None)
        case FixedHosts(hosts):
            return await _by_route(services, runtime, domain, hosts, told)


def _literal_hop(runtime: Runtime, domain: str, address: IPAddress) -> Hop:
    """A recipient `user@[192.0.2.1]`: that address and no other (RFC 5321 §4.1.3)."""
    reason = refused_address(address, runtime.document.dns.allow_private_mx, runtime.own_addresses)
    if reason:
        raise _unresolved(Stage.HOST, f"{address}: {reason}", permanent=True)
    return Hop(address, SMTP_PORT, HopNames(domain, address=str(address), literal=True))


async def _by_route(
    services: Services, runtime: Runtime, domain: str, hosts: Iterable[RouteHost], told: Told
) -> list[Hop]:
    """The hops of an operator's route, in written order. One host that fails does not stop the others."""
    hops: list[Hop] = []
    failure: Failure | None = None
    for host in hosts:
        try:
            if host.address is not None:
                names = HopNames(domain, address=str(host.address), literal=True)
                hops.append(Hop(host.address, host.port, names))
            elif host.mx:
                hops += await _by_mx(services, runtime, domain, host.host, told, route=host)
            else:
                names = HopNames(domain, route_host=host.host)
                hops += _hops(await services.resolver.addresses(host.host), host.host, host.port, names)
        except Unresolved as error:
            told(LeftOut(host.host, "", error.failure.text))
            failure = _kinder(failure, error.failure)
    if not hops:
        raise Unresolved(failure or Failure(Stage.HOST, True, ("the smtp route names no host",)))
    return _first(hops, told)


async def _by_mx(
    services: Services, runtime: Runtime, domain: str, name: str, told: Told, *, route: RouteHost | None
) -> list[Hop]:
    """The mail exchangers of `name`, or `name` itself where there is no MX record (RFC 5321 §5.1)."""
    answer = await services.resolver.mx(name)
    hosts = _exchangers(services, runtime, answer, name, told)
    found = await asyncio.gather(*(services.resolver.addresses(host.host) for host in hosts))
    addresses = dict(zip((host.host for host in hosts), found, strict=True))

    def ours(host: MxHost) -> bool:
        known = addresses.get(host.host)
        return host.host in runtime.own_names or (
            known is not None
            and known.status is DnsStatus.FOUND
            and any(address in runtime.own_addresses for address in known.values)
        )

    order = drop_ourselves(hosts, ours)
    _tell(order, told)
    if order.outcome is MxOutcome.LOOP:
        raise _unresolved(Stage.LOOP, f"{name}: {order.outcome.text}", permanent=True)
    judged = settles_dnssec(services.resolver.verdicts)
    return _mx_hops(
        runtime, domain, route, order.ranked, addresses, told, signed=answer.secure, judged=judged
    )


def _tell(order: MxOrder, told: Told) -> None:
    for host, reason in order.dropped:
        told(LeftOut(host.host, "", reason))


def _first(hops: list[Hop], told: Told) -> list[Hop]:
    """As many as are tried in one attempt."""
    for hop in hops[MAX_HOPS:]:
        told(LeftOut(hop.host, str(hop.address), f"beyond the first {MAX_HOPS} addresses"))
    return hops[:MAX_HOPS]


def _mx_hops(
    runtime: Runtime,
    domain: str,
    route: RouteHost | None,
    ranked: Iterable[MxHost],
    addresses: Mapping[str, DnsAnswer[IPAddress]],
    told: Told,
    *,
    signed: bool,
    judged: bool,
) -> list[Hop]:
    """The addresses of the exchangers, without those that DNS may not lead to. Raises Unresolved."""
    hops: list[Hop] = []
    failure: Failure | None = None
    for host in ranked:
        known = addresses[host.host]
        names = HopNames(
            domain,
            route_host=route.host if route else "",
            mx_host=host.host,
            mx_secure=signed and known.secure,
            mx_signed=signed,
            mx_judged=judged,
        )
        try:
            for hop in _hops(known, host.host, route.port if route else SMTP_PORT, names):
                reason = "" if route else _refused(runtime, hop.address)
                if reason:
                    told(LeftOut(host.host, str(hop.address), reason))
                    text = f"{host.host} [{hop.address}]: {reason}"
                    failure = _kinder(failure, Failure(Stage.HOST, True, (text,)))
                else:
                    hops.append(hop)
        except Unresolved as error:
            told(LeftOut(host.host, "", error.failure.text))
            failure = _kinder(failure, error.failure)
    if not hops:
        raise Unresolved(failure or Failure(Stage.HOST, True, (f"no exchanger of {domain} has an address",)))
    return _first(hops, told)


def _exchangers(
    services: Services, runtime: Runtime, answer: DnsAnswer[Mx], name: str, told: Told
) -> tuple[MxHost, ...]:
    match answer.status:
        case DnsStatus.TEMPORARY:
            text = f"DNS Soft Error looking up {name} (MX): {answer.detail}"
            raise _unresolved(Stage.DIRECTORY, text, permanent=False)
        case DnsStatus.NXDOMAIN:
            text = f"DNS Hard Error looking up {name} (MX):  NXDomain"
            raise _unresolved(Stage.HOST, text, permanent=True)
        case DnsStatus.NO_DATA:
            return (MxHost(0, name),)
        case DnsStatus.FOUND:
            records = (MxHost(mx.preference, mx.host) for mx in answer.values)
            order = order_hosts(records, runtime.own_names, services.rng)
    _tell(order, told)
    if order.outcome is not MxOutcome.FOUND:
        raise _unresolved(_BAD_MX[order.outcome], f"{name}: {order.outcome.text}", permanent=True)
    return order.ranked


def _refused(runtime: Runtime, address: IPAddress) -> str:
    return refused_address(address, runtime.document.dns.allow_private_mx, runtime.own_addresses)


def _hops(answer: DnsAnswer[IPAddress], host: str, port: int, names: HopNames) -> list[Hop]:
    """One hop for each address of a host. Raises Unresolved where there is none."""
    if answer.status is DnsStatus.FOUND:
        return [Hop(address, port, names) for address in answer.values]
    if answer.status is DnsStatus.TEMPORARY:
        text = f"DNS Soft Error looking up {host} (A): {answer.detail}"
        raise _unresolved(Stage.DIRECTORY, text, permanent=False)
    kind = "NXDomain" if answer.status is DnsStatus.NXDOMAIN else "no address"
    raise _unresolved(Stage.HOST, f"DNS Hard Error looking up {host} (A):  {kind}", permanent=True)


def _kinder(known: Failure | None, other: Failure) -> Failure:
    """Of two failures the one that lets us try again: "could not tell" defers, never bounces."""
    return other if known is None or (known.permanent and not other.permanent) else known
