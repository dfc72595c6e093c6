"""The zone that a name lies in, its authoritative servers, and what each of them says.

A recursive resolver tells zone and servers; the records themselves are then asked of every server directly, without recursion, since
a resolver may still have the old ones in its cache. A server that does not answer is told apart from one that answers
without the record.

Limits. At most 16 servers of a zone, 8 aliases in a row, one question at a time of two tries each. Raises `NoAnswer` only.
"""

from __future__ import annotations

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from gatepost.net.dns_client import DnsClient, NameServer, NoAnswer

MAX_SERVERS = 16
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


async def servers_of(client: DnsClient, zone: str, port: int = PORT) -> tuple[NameServer, ...]:
    """The addresses of the zone's servers, each once."""
    wanted = dns_name(zone)
    response = await client.ask(wanted, dns.rdatatype.NS)
    hosts = [
        r.target for found in response.message.answer if _is(found, wanted, dns.rdatatype.NS) for r in found
    ]
    addresses: list[str] = []
    for host in hosts[:MAX_SERVERS]:
        for kind in (dns.rdatatype.A, dns.rdatatype.AAAA):
            try:
                answer = (await client.ask(host, kind)).message.answer
            except NoAnswer:
                continue
            addresses += [record.address for found in answer if found.rdtype == kind for record in found]
    if not addresses:
        raise NoAnswer(f"the servers of {zone} are not found")
    return tuple(NameServer(address, port) for address in dict.fromkeys(addresses))[:MAX_SERVERS]


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
