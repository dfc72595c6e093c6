"""The name server of the zoo: answers for its zones from several addresses, misbehaves where it is told to, and keeps what it was asked.

It is an authority, not a resolver: no recursion, referrals to zones on other addresses. One thread serves all sockets; what is asked is
small, and comes from one resolver. Each zone belongs to one address, so that a silent server does not silence the others
(a resolver remembers how long an address takes to answer).
"""

from __future__ import annotations

import selectors
import socket
import struct
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
from dns.name import Name
from dns.rdatatype import RdataType

from gatepost.app.zoo.dnssec import Found, Zone, broken_signature, deepest
from gatepost.app.zoo.table.shape import DnsFault

PORT = 53
_MAX_UDP = 1232
_LENGTH = struct.Struct("!H")

Faults = Mapping[tuple[Name, str], DnsFault]
"""By name and type; an empty type means every type of the name."""


@dataclass(slots=True)
class World:
    """All zones by the address of their server, and the faults."""

    zones: dict[str, dict[Name, Zone]] = field(default_factory=dict)
    faults: dict[tuple[Name, str], DnsFault] = field(default_factory=dict)

    def add(self, address: str, zone: Zone) -> Zone:
        """Serve this zone from an address."""
        self.zones.setdefault(address, {})[zone.origin] = zone
        return zone

    def fault(self, name: Name, kind: str) -> DnsFault | None:
        return self.faults.get((name, kind)) or self.faults.get((name, ""))

    def answer(self, address: str, wire: bytes, *, tcp: bool) -> tuple[str, str, bytes]:
        """Name and type that are asked for, and the octets to send back: none at all where the server is silent.

        Raises DNSException for what is no question.
        """
        query = dns.message.from_wire(wire)
        if len(query.question) != 1 or query.flags & dns.flags.QR:
            raise dns.exception.FormError
        question = query.question[0]
        name, kind = question.name.canonicalize(), question.rdtype
        word = dns.rdatatype.to_text(kind)
        fault = self.fault(name, word)
        asked = (name.to_text(omit_final_dot=True), word)
        if fault is DnsFault.SILENT:
            return (*asked, b"")
        if fault is DnsFault.GARBAGE:
            return (*asked, wire[:2] + b"\xff\xff no DNS at all")
        response = dns.message.make_response(query)
        if fault is DnsFault.SERVFAIL:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif fault is DnsFault.TRUNCATED and not tcp:
            response.flags |= dns.flags.TC | dns.flags.AA
        else:
            self._fill(response, address, name, kind, fault, signed=bool(query.ednsflags & dns.flags.DO))
        octets = response.to_wire(max_size=65_535)
        if len(octets) > _MAX_UDP and not tcp:
            response = dns.message.make_response(query)
            response.flags |= dns.flags.TC | dns.flags.AA
            octets = response.to_wire()
        return (*asked, octets)

    def _fill(
        self,
        response: dns.message.Message,
        address: str,
        name: Name,
        kind: RdataType,
        fault: DnsFault | None,
        *,
        signed: bool,
    ) -> None:
        zone = deepest(self.zones[address], name, kind)
        if zone is None:
            response.set_rcode(dns.rcode.REFUSED)
            return
        asked = dns.name.from_text("nobody", name) if fault is DnsFault.NXDOMAIN else name
        found = zone.find(asked, kind, signed=signed and fault is not DnsFault.UNSIGNED)
        if found.missing or fault is DnsFault.NXDOMAIN:
            response.set_rcode(dns.rcode.NXDOMAIN)
        if found.authoritative:
            response.flags |= dns.flags.AA
        response.answer = _damaged(found) if fault is DnsFault.BOGUS else found.answer
        response.authority, response.additional = found.authority, found.additional


def _damaged(found: Found) -> list[dns.rrset.RRset]:
    return [broken_signature(one) if one.rdtype == dns.rdatatype.RRSIG else one for one in found.answer]


class NameServer:
    """The sockets. From construction until `close`; `asked` holds (name, type) of every question in order."""

    def __init__(self, world: World, port: int = PORT) -> None:
        self.asked: list[tuple[str, str]] = []
        self._world = world
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ, ("end", ""))
        for address in world.zones:
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            udp.bind((address, port))
            self._selector.register(udp, selectors.EVENT_READ, ("udp", address))
            tcp = socket.create_server((address, udp.getsockname()[1]), backlog=64)
            self._selector.register(tcp, selectors.EVENT_READ, ("tcp", address))
        self._thread = threading.Thread(target=self._serve, name="zoo name server", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread and close the sockets."""
        self._wake.send(b"\0")
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()
        self._wake.close()

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                kind, address = key.data
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                if kind == "end":
                    return
                with suppress(OSError, dns.exception.DNSException, struct.error):
                    if kind == "udp":
                        self._datagram(sock, address)
                    else:
                        self._connection(sock, address)

    def _datagram(self, sock: socket.socket, address: str) -> None:
        data, peer = sock.recvfrom(4096)
        name, kind, octets = self._world.answer(address, data, tcp=False)
        self.asked.append((name, kind))
        if octets:
            sock.sendto(octets, peer)

    def _connection(self, listener: socket.socket, address: str) -> None:
        """One question on a connection; the resolver asks again for the next. It is prompt, or cut."""
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(2)
            file = connection.makefile("rb")
            (length,) = _LENGTH.unpack(file.read(2))
            name, kind, octets = self._world.answer(address, file.read(length), tcp=True)
            self.asked.append((name, kind))
            if octets:
                connection.sendall(_LENGTH.pack(len(octets)) + octets)
