"""The zone that a name lies in, its authoritative servers, and what each of them says.

A recursive resolver tells zone and servers; the records themselves are then asked of every server directly, without recursion, since
a resolver may still have the old ones in its cache. A server that does not answer is told apart from one that answers
without the record. TLSA records come with their time to live, and one that cannot be read is an unusable one, not none (D9).

Limits. At most 16 servers of a zone, 4 addresses of each, 8 aliases in a row, one question at a time of two tries each. Raises
`NoAnswer` only.
"""

from __future__ import annotations

from dataclasses import dataclass

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from gatepost.core.tlsa import UNREADABLE, Tlsa
from gatepost.net.dns_client import DnsClient, NameServer, NoAnswer, ask_server

MAX_SERVERS = 16
MAX_ADDRESSES = 4
MAX_ALIASES = 8
SECONDS = 3.0
UDP_PAYLOAD = 1232
PORT = 53


def dns_name(text: str) -> dns.name.Name:
    """A name of the DNS. Raises NoAnswer for one that it cannot hold."""
    try:
        return dns.name.from_text(text)
    except (dns.exception.DNSException, UnicodeError):
        raise NoAnswer("not a name that DNS can hold") from None


async def real_name(client: DnsClient, name: str) -> str:
    """Where the records of `name` really are: behind its CNAMEs, if it has some. No trailing dot."""
    wanted = dns_name(name)
    for _ in range(MAX_ALIASES):
        response = await client.ask(wanted, dns.rdatatype.CNAME)
        target = next(
            (
                record.target
                for found in response.message.answer
                if _is(found, wanted, dns.rdatatype.CNAME)
                for record in found
            ),
            None,
        )
        if target is None:
            return wanted.to_text(omit_final_dot=True).lower()
        wanted = target
    raise NoAnswer(f"more than {MAX_ALIASES} aliases behind {name}")


async def zone_of(client: DnsClient, name: str) -> str:
    """The closest zone around `name`, by its SOA record (RFC 1035 §3.3.13). No trailing dot."""
    wanted = dns_name(name)
    response = await client.ask(wanted, dns.rdatatype.SOA)
    message = response.message
    for found in (*message.answer, *message.authority):
        if found.rdtype == dns.rdatatype.SOA and wanted.is_subdomain(found.name):
            return found.name.to_text(omit_final_dot=True).lower()
    raise NoAnswer(f"no zone is found for {name}")


@dataclass(frozen=True, slots=True)
class ZoneServer:
    """One name server of a zone, by its name in the NS record, and where it can be asked."""

    host: str
    addresses: tuple[NameServer, ...]


@dataclass(frozen=True, slots=True)
class TlsaSet:
    """The TLSA records of a name as one server has them, by their text, and their time to live in seconds."""

    records: tuple[Tlsa, ...]
    ttl: int


async def zone_servers(client: DnsClient, zone: str, port: int = PORT) -> tuple[ZoneServer, ...]:
    """The zone's servers by name; one whose addresses are not found has none. Raises NoAnswer where there is no NS record."""
    wanted = dns_name(zone)
    response = await client.ask(wanted, dns.rdatatype.NS)
    hosts = [
        r.target for found in response.message.answer if _is(found, wanted, dns.rdatatype.NS) for r in found
    ]
    servers = []
    for host in sorted(hosts)[:MAX_SERVERS]:
        addresses: list[str] = []
        for kind in (dns.rdatatype.A, dns.rdatatype.AAAA):
            try:
                answer = (await client.ask(host, kind)).message.answer
            except NoAnswer:
                continue
            addresses += sorted(r.address for found in answer if found.rdtype == kind for r in found)
        asked = tuple(NameServer(address, port) for address in dict.fromkeys(addresses))
        servers.append(ZoneServer(host.to_text(omit_final_dot=True).lower(), asked[:MAX_ADDRESSES]))
    if not servers:
        raise NoAnswer(f"the servers of {zone} are not found")
    return tuple(servers)


async def servers_of(client: DnsClient, zone: str, port: int = PORT) -> tuple[NameServer, ...]:
    """The addresses of the zone's servers, each once."""
    found = await zone_servers(client, zone, port)
    addresses = tuple(dict.fromkeys(address for server in found for address in server.addresses))
    if not addresses:
        raise NoAnswer(f"the servers of {zone} are not found")
    return addresses[:MAX_SERVERS]


async def tlsa_set(server: NameServer, name: str, seconds: float = SECONDS) -> TlsaSet:
    """The TLSA records of a name as this one server has them; none where it says that there are none."""
    wanted = dns_name(name)
    query = dns.message.make_query(wanted, dns.rdatatype.TLSA, use_edns=0, payload=UDP_PAYLOAD)
    query.flags &= ~dns.flags.RD
    answer = await ask_server(server, query, seconds)
    message, rcode = answer.message, answer.message.rcode()
    if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        raise NoAnswer(f"{dns.rcode.to_text(rcode)} from {server}")
    sets = [found for found in message.answer if _is(found, wanted, dns.rdatatype.TLSA)]
    records = [Tlsa(r.usage, r.selector, r.mtype, bytes(r.cert)) for found in sets for r in found]
    unreadable = [UNREADABLE] * answer.damaged
    return TlsaSet(
        (*sorted(records, key=Tlsa.text), *unreadable), max((int(found.ttl) for found in sets), default=0)
    )


async def txt_values(server: NameServer, name: str, seconds: float = SECONDS) -> frozenset[str]:
    """The TXT records of a name as this one server has them; none where it says that there are none."""
    wanted = dns_name(name)
    query = dns.message.make_query(wanted, dns.rdatatype.TXT, use_edns=0, payload=UDP_PAYLOAD)
    query.flags &= ~dns.flags.RD
    try:
        message, _ = await dns.asyncquery.udp_with_fallback(
            query,
            server.address,
            timeout=seconds,
            port=server.port,
            ignore_unexpected=True,
            ignore_errors=True,
        )
    except dns.exception.Timeout:
        raise NoAnswer(f"timeout asking {server}") from None
    except (dns.exception.DNSException, OSError, EOFError) as error:
        raise NoAnswer(f"{type(error).__name__} asking {server}") from None
    if message.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        raise NoAnswer(f"{dns.rcode.to_text(message.rcode())} from {server}")
    return frozenset(
        b"".join(record.strings).decode("latin-1")
        for found in message.answer
        if _is(found, wanted, dns.rdatatype.TXT)
        for record in found
    )


def _is(found: dns.rrset.RRset, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> bool:
    return found.name == name and found.rdtype == kind
