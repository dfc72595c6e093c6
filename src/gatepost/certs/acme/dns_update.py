"""Records for dns-01 by dynamic update (RFC 2136), signed with TSIG (RFC 8945).

The record's name may be an alias (CNAME) into a zone that exists for nothing else; the update goes to where the alias leads. The zone is
the configured one, or the closest that has a SOA record, asked of the server that takes the update. One value is added
and later exactly that value is removed, so the values of two orders stand side by side.

What it trusts. A name goes into the message label by label, never as text of a zone file; what DNS cannot hold is refused before
(C41). The server's answer must carry the same key's signature.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import dns.asyncquery
import dns.exception
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tsig
import dns.update

from gatepost.certs.acme.challenges import Dns01
from gatepost.certs.acme.errors import AcmeFailed
from gatepost.certs.acme.propagation import Propagation
from gatepost.net.dns_client import DnsClient, NameServer, NoAnswer
from gatepost.net.errors import plain_error_text
from gatepost.net.zone_servers import dns_name, real_name, zone_of
from gatepost.pki.keys import SecretBytes
from gatepost.wire.jose import JoseError, decode_b64

TTL = 60
SECONDS = 15.0
ALGORITHMS = frozenset({"hmac-sha256", "hmac-sha384", "hmac-sha512"})


@dataclass(frozen=True, slots=True)
class TsigKey:
    """The key that the server knows: its name, an algorithm of `ALGORITHMS`, the secret itself (not its base64)."""

    name: str
    secret: SecretBytes = field(repr=False)
    algorithm: str = "hmac-sha256"

    @classmethod
    def from_text(cls, name: str, secret: str, algorithm: str = "hmac-sha256") -> TsigKey:
        """`secret` in base64, as `tsig-keygen` writes it. Raises AcmeFailed without the text."""
        try:
            octets = decode_b64(secret.strip().rstrip("=").replace("+", "-").replace("/", "_"))
        except JoseError:
            octets = b""
        if not octets or algorithm not in ALGORITHMS:
            raise AcmeFailed(
                f"the key {name} for dynamic updates is not base64, or its algorithm is not one of "
                + ", ".join(sorted(ALGORITHMS)),
                permanent=True,
            )
        return cls(name, SecretBytes(octets), algorithm)


class DnsUpdate:
    """Adds and removes records at `server`.

    `client` finds where aliases lead (None: they are not followed); `propagation` waits for the secondaries (None: nobody does).
    """

    def __init__(
        self,
        server: NameServer,
        key: TsigKey | None,
        *,
        zone: str = "",
        client: DnsClient | None = None,
        propagation: Propagation | None = None,
        ttl: int = TTL,
        seconds: float = SECONDS,
    ) -> None:
        self._server = server
        self._key = key
        self._zone = zone
        self._client = client
        self._propagation = propagation
        self._ttl = ttl
        self._seconds = seconds

    async def present(self, proof: Dns01) -> None:
        """Add the value, then wait until it can be seen. Raises AcmeFailed."""
        await self._change(proof, add=True)
        if self._propagation is not None:
            await self._propagation.visible(proof.record, proof.value)

    async def withdraw(self, proof: Dns01) -> None:
        """Remove the value, if it is there. Raises AcmeFailed."""
        await self._change(proof, add=False)

    async def _change(self, proof: Dns01, *, add: bool) -> None:
        try:
            record = proof.record if self._client is None else await real_name(self._client, proof.record)
            name = dns_name(record)
            zone = dns_name(self._zone or await zone_of(DnsClient((self._server,)), record))
        except NoAnswer as failure:
            raise AcmeFailed(f"the zone of {proof.record} is not found: {failure}") from None
        if not name.is_subdomain(zone):
            raise AcmeFailed(f"{record} does not lie in the zone {_plain(zone)} of acme.dns", permanent=True)
        update = dns.update.UpdateMessage(zone, keyring=self._keyring())
        data = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.TXT, f'"{proof.value}"')
        if add:
            update.add(name.relativize(zone), self._ttl, data)
        else:
            update.delete(name.relativize(zone), data)
        await self._send(update, f"to {'add' if add else 'remove'} {record} in {_plain(zone)}")

    async def _send(self, update: dns.update.UpdateMessage, what: str) -> None:
        """By TCP: an update is not asked twice, and its answer is not forged easily."""
        where = f"the DNS server {self._server}"
        try:
            answer = await dns.asyncquery.tcp(
                update, self._server.address, timeout=self._seconds, port=self._server.port
            )
        except dns.exception.Timeout:
            raise AcmeFailed(
                f"{where} did not answer the request {what} within {self._seconds:g} s"
            ) from None
        except tuple(_TSIG_WORDS) as error:
            words = next(text for kind, text in _TSIG_WORDS.items() if isinstance(error, kind))
            raise AcmeFailed(f"{where} refused {what}: {words}", permanent=True) from None
        except (dns.exception.DNSException, OSError, EOFError) as error:
            raise AcmeFailed(f"{where} cannot be asked {what}: {_reason(error)}") from None
        code = answer.rcode()
        if self._key is not None and not answer.had_tsig:
            raise AcmeFailed(f"{where} answered without the key's signature: {dns.rcode.to_text(code)}")
        if code != dns.rcode.NOERROR:
            words = _CODE_WORDS.get(code, "no reason given")
            raise AcmeFailed(f"{where} refused {what}: {dns.rcode.to_text(code)}, {words}")

    def _keyring(self) -> dns.tsig.Key | None:
        if self._key is None:
            return None
        return dns.tsig.Key(dns_name(self._key.name), self._key.secret.reveal(), self._key.algorithm)


_TSIG_WORDS: dict[type[Exception], str] = {
    dns.tsig.PeerBadKey: "it does not know the key; compare acme.dns.key_name",
    dns.tsig.PeerBadSignature: "the key's secret is another there",
    dns.tsig.PeerBadTime: "its clock and ours differ by more than five minutes",
    dns.tsig.PeerBadTruncation: "it wants another algorithm for the key",
    dns.tsig.BadSignature: "its own signature is wrong",
    dns.tsig.BadTime: "its clock and ours differ by more than five minutes",
}
_CODE_WORDS = {
    dns.rcode.REFUSED: "the key may not change this record there",
    dns.rcode.NOTAUTH: "it is not the master of this zone, or does not know the key",
    dns.rcode.NOTZONE: "the record is outside the zone",
    dns.rcode.SERVFAIL: "its log says why",
}


def _plain(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True)


def _reason(error: Exception) -> str:
    return plain_error_text(error) if isinstance(error, OSError) else type(error).__name__
