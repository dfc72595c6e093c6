"""A name server for tests: it knows what it is told, and misbehaves where it is told to.

It answers over UDP and TCP like a recursive resolver would (RA set, CNAMEs followed among its own records), on any
address and port, from threads of its own, so that a test may use it beside any event loop; live tests
start it as a process: `python -m tests.fakes.dns_authority 127.0.0.53 5301 records.json`.

Records are `{name: {type: [rdata, …]}}`: `{"example.net": {"MX": ["10 mx.example.net."]}, "mx.example.net": {"A":
["127.0.0.1"]}}`. A name without records that is above a known one exists (no data); any other does not (NXDOMAIN).
"""

from __future__ import annotations

import json
import signal
import socketserver
import struct
import sys
import threading
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

Records = Mapping[str, Mapping[str, Sequence[str]]]


class Behaviour(StrEnum):
    """What the server does with questions about a name."""

    SERVFAIL = "servfail"
    REFUSED = "refused"
    TIMEOUT = "timeout"  # no answer at all, over UDP and TCP
    TRUNCATED = "truncated"  # over UDP an empty answer with TC; the whole over TCP
    NO_EDNS = "no-edns"  # FORMERR for a question with EDNS
    GARBAGE = "garbage"  # octets that are no DNS message
    WRONG_ID = "wrong-id"  # a forged answer first, with another id; then the right one
    NXDOMAIN = "nxdomain"
    BOGUS = "bogus"  # SERVFAIL, but the records for who asks without checking (CD)
    INSECURE = "insecure"  # the records, never as validated


class DnsAuthority:
    """The server. A context manager; `address` and `port` say where it listens. Thread-safe enough for tests."""

    def __init__(
        self, records: Records, *, address: str = "127.0.0.1", port: int = 0, ttl: int = 300, ad: bool = False
    ) -> None:
        self.ttl = ttl
        self.ad = ad  # claim that everything was validated
        self.asked: list[tuple[str, str, str]] = []  # (name, type, `udp` or `tcp`)
        self._behaviour: dict[str, Behaviour] = {}
        self._records: dict[dns.name.Name, dict[str, list[str]]] = {}
        self.update(records)
        self._udp, self._tcp = self._bind(address, port)
        self.address, self.port = self._udp.server_address[0], self._udp.server_address[1]
        self._threads = [
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
            for server in (self._udp, self._tcp)
        ]

    def update(self, records: Records) -> None:
        """Add or replace names."""
        for name, types in records.items():
            self._records[_name(name)] = {kind.upper(): list(rdata) for kind, rdata in types.items()}

    def remove(self, name: str) -> None:
        self._records.pop(_name(name), None)

    def behave(self, name: str, behaviour: Behaviour | None) -> None:
        """From now on; None: well again. The name `*` means all names."""
        key = name if name == "*" else _name(name).to_text()
        if behaviour is None:
            self._behaviour.pop(key, None)
        else:
            self._behaviour[key] = behaviour

    def questions(self, name: str, kind: str) -> int:
        """How often this was asked."""
        return sum(1 for asked in self.asked if asked[:2] == (name.lower().rstrip("."), kind))

    def __enter__(self) -> DnsAuthority:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *unused: object) -> None:
        for server in (self._udp, self._tcp):
            server.shutdown()
            server.server_close()
        for thread in self._threads:
            thread.join()

    # --- answering --------------------------------------------------------------------------------------

    def answers(self, wire: bytes, transport: str) -> list[bytes]:
        """The datagrams or messages to send back, in order."""
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        self.asked.append((name, dns.rdatatype.to_text(question.rdtype), transport))
        behaviour = self._behaviour.get(question.name.to_text().lower(), self._behaviour.get("*"))
        response = dns.message.make_response(query, recursion_available=True)
        match behaviour:
            case Behaviour.TIMEOUT:
                return []
            case Behaviour.GARBAGE:
                return [wire[:2] + b"\xff\xff garbage"]
            case Behaviour.SERVFAIL:
                response.set_rcode(dns.rcode.SERVFAIL)
                return [response.to_wire()]
            case Behaviour.REFUSED:
                response.set_rcode(dns.rcode.REFUSED)
                return [response.to_wire()]
            case Behaviour.NO_EDNS if query.edns >= 0:
                response.use_edns(-1)
                response.set_rcode(dns.rcode.FORMERR)
                return [response.to_wire()]
            case Behaviour.TRUNCATED if transport == "udp":
                response.flags |= dns.flags.TC
                return [response.to_wire()]
            case Behaviour.BOGUS if not query.flags & dns.flags.CD:
                response.set_rcode(dns.rcode.SERVFAIL)
                return [response.to_wire()]
            case Behaviour.NXDOMAIN:
                self._negative(response, question.name, dns.rcode.NXDOMAIN)
            case _:
                self._fill(response, question)
        if self.ad and behaviour not in (Behaviour.INSECURE, Behaviour.BOGUS):
            response.flags |= dns.flags.AD
        sent = response.to_wire(max_size=65535)
        if behaviour is Behaviour.WRONG_ID and transport == "udp":
            forged = dns.message.make_response(query, recursion_available=True)
            forged.id = query.id ^ 1
            return [forged.to_wire(), sent]
        return [sent]

    def _fill(self, response: dns.message.Message, question: dns.rrset.RRset) -> None:
        name, kind = question.name, dns.rdatatype.to_text(question.rdtype)
        for _ in range(20):
            types = self._records.get(_lower(name))
            if types is None:
                known = any(other.is_subdomain(name) for other in self._records)
                self._negative(response, name, dns.rcode.NOERROR if known else dns.rcode.NXDOMAIN)
                return
            if kind in types:
                response.answer.append(self._rrset(name, kind, types[kind]))
                return
            if "CNAME" not in types:
                self._negative(response, name, dns.rcode.NOERROR)
                return
            alias = self._rrset(name, "CNAME", types["CNAME"])
            response.answer.append(alias)
            name = alias[0].target

    def _rrset(self, name: dns.name.Name, kind: str, rdata: Sequence[str]) -> dns.rrset.RRset:
        if any(text.startswith("raw ") for text in rdata):  # octets that no library would write
            made = dns.rrset.RRset(name, dns.rdataclass.IN, dns.rdatatype.from_text(kind))
            for text in rdata:
                octets = bytes.fromhex(text.removeprefix("raw "))
                made.add(dns.rdata.GenericRdata(made.rdclass, made.rdtype, octets), self.ttl)
            return made
        return dns.rrset.from_text_list(name, self.ttl, dns.rdataclass.IN, kind, rdata)

    def _negative(self, response: dns.message.Message, name: dns.name.Name, rcode: dns.rcode.Rcode) -> None:
        response.set_rcode(rcode)
        zone = name.parent() if len(name) > 2 else name
        soa = f"ns.invalid. root.invalid. 1 3600 600 86400 {self.ttl}"
        response.authority.append(self._rrset(zone, "SOA", [soa]))

    # --- sockets ----------------------------------------------------------------------------------------

    def _bind(self, address: str, port: int) -> tuple[socketserver.UDPServer, socketserver.TCPServer]:
        authority = self

        class Datagrams(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                data, sock = self.request
                for answer in authority.answers(data, "udp"):
                    sock.sendto(answer, self.client_address)

        class Connections(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while len(head := self.rfile.read(2)) == 2:
                    data = self.rfile.read(struct.unpack("!H", head)[0])
                    for answer in authority.answers(data, "tcp"):
                        self.wfile.write(struct.pack("!H", len(answer)) + answer)

        for _ in range(20):
            udp = _server(socketserver.UDPServer, address, port, Datagrams)
            try:
                return udp, _server(_Tcp, address, udp.server_address[1], Connections)
            except OSError:
                udp.server_close()
                if port:
                    raise
        raise OSError("no port is free for UDP and TCP")


class _Tcp(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False


def _server(kind: Any, address: str, port: int, handler: Any) -> Any:
    if ":" in address:
        import socket

        kind = type(kind.__name__, (kind,), {"address_family": socket.AF_INET6})
    return kind((address, port), handler)


def _name(text: str) -> dns.name.Name:
    return _lower(dns.name.from_text(text))


def _lower(name: dns.name.Name) -> dns.name.Name:
    return dns.name.from_text(name.to_text().lower())


def main(arguments: Sequence[str]) -> None:
    """`ADDRESS PORT RECORDS.json`: serve until ended by a signal; says `ready` when it listens."""
    address, port, path = arguments
    records = json.loads(Path(path).read_text("utf-8"))
    with DnsAuthority(records, address=address, port=int(port)) as authority:
        sys.stdout.write(f"ready {authority.address} {authority.port}\n")
        sys.stdout.flush()
        signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main(sys.argv[1:])
