"""Certificate revocation lists: one list read, and the lists of a configuration as a value that the judge looks into.

A list counts when it names the issuer and the issuer's key has signed it (RFC 5280 §6.3.3), whoever carried it here. What it
lists is revoked, also when the list is out of date; its age is a finding of its own, which breaks the chain only where the
configuration says so. Of several lists of one issuer the youngest decides about age. No list for an issuer is no finding:
which issuers must have one is the operator's choice, by which lists are loaded.

A list for a part of the certificates (RFC 5280 §5.2.5: one distribution point of many, hosts only, authorities only)
revokes what it lists like any other, since an issuer gives a serial number once; it says nothing of certificates outside its part. Indirect
and delta lists, and lists with a critical extension that is not known, are not used.

Limits. 8 MiB a list, some 200,000 entries; the serial numbers are kept as a set, since the library looks through its list one by one.
"""

from __future__ import annotations

import binascii
import hashlib
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning

from gatepost.pki.certificate import Certificate
from gatepost.pki.errors import PkiError
from gatepost.pki.findings import Code, Finding, finding
from gatepost.pki.load import UNREADABLE
from gatepost.pki.text import folded_name, name_text

MAX_LIST = 8 << 20
_MAX_SIGNERS = 16  # keys of one name whose signature on a list is remembered
_UNDERSTOOD = (x509.IssuingDistributionPoint, x509.AuthorityKeyIdentifier, x509.CRLNumber)
_BEGIN, _END = b"-----BEGIN X509 CRL-----", b"-----END X509 CRL-----"


@dataclass(frozen=True, slots=True)
class _Part:
    """Which certificates of its issuer a list speaks of; without limits, all."""

    points: frozenset[str] | None = None  # the URLs under which certificates name this part
    hosts_only: bool = False
    authorities_only: bool = False
    no_certificates: bool = False  # attribute certificates only

    def covers(self, certificate: Certificate) -> bool:
        left_out = self.hosts_only if certificate.is_ca else self.authorities_only
        if left_out or self.no_certificates:
            return False
        return self.points is None or bool(self.points & _points_of(certificate))


@dataclass(frozen=True, slots=True)
class ListFacts:
    """What is to be known of a list without reading it again. Times are seconds since the epoch.

    `next_update` and `number` are None where it does not say. `line` is the same for all lists that follow one another: those of one
    issuer, of one of its keys, for one part of its certificates.
    """

    issuer: str
    line: str
    number: int | None
    this_update: float
    next_update: float | None
    revoked: int
    fingerprint: str  # SHA-256 of the DER, lower-case hex
    partial: bool

    def stale(self, now: float) -> bool:
        """Its next update should have been there already."""
        return self.next_update is not None and self.next_update < now

    def older_than(self, other: ListFacts) -> bool:
        """The issuer made it before the other one: by number, else by date. False between different lines."""
        if self.line != other.line:
            return False
        if self.number is not None and other.number is not None and self.number != other.number:
            return self.number < other.number
        return self.this_update < other.this_update


class RevocationList:
    """One list. `serials` are the numbers that it revokes."""

    __slots__ = (
        "_parsed",
        "_part",
        "_signers",
        "der",
        "facts",
        "issuer_key",
        "serials",
    )

    def __init__(self, parsed: x509.CertificateRevocationList) -> None:
        self._parsed = parsed
        self._part = _part(parsed)
        self._signers: dict[str, bool] = {}
        self.der = parsed.public_bytes(Encoding.DER)
        self.issuer_key = folded_name(parsed.issuer)
        self.serials = frozenset(entry.serial_number for entry in parsed)
        ends = parsed.next_update_utc
        self.facts = ListFacts(
            issuer=name_text(parsed.issuer),
            line=_line(parsed, self.issuer_key, self._part),
            number=_number(parsed),
            this_update=parsed.last_update_utc.timestamp(),
            next_update=None if ends is None else ends.timestamp(),
            revoked=len(self.serials),
            fingerprint=hashlib.sha256(self.der).hexdigest(),
            partial=self._part != _Part(),
        )

    def covers(self, certificate: Certificate) -> bool:
        """It would list the certificate, were that revoked."""
        return certificate.issuer_key == self.issuer_key and self._part.covers(certificate)

    def vouch(self, signer: str) -> None:
        """Believe that the key with this digest (`key_digest`) signed it: who gives the list has checked that."""
        if signer:
            self._signers[signer] = True

    def signed_by(self, issuer: Certificate) -> bool:
        """The issuer's key signed it, and may sign such lists. The answer is remembered: a long list takes half a second."""
        if issuer.subject_key != self.issuer_key:
            return False
        key = key_digest(issuer)
        known = self._signers.get(key)
        if known is None:
            known = _may_sign(issuer) and self._valid_signature(issuer)
            if len(self._signers) < _MAX_SIGNERS:
                self._signers[key] = known
        return known

    def _valid_signature(self, issuer: Certificate) -> bool:
        key = cast(CertificateIssuerPublicKeyTypes, issuer.parsed.public_key())
        try:
            return self._parsed.is_signature_valid(
                key
            )  # TypeError for a key that cannot sign, such as X25519
        except UNREADABLE:
            return False


def key_digest(certificate: Certificate) -> str:
    """SHA-256 of the public key, lower-case hex."""
    return hashlib.sha256(certificate.public_key_der).hexdigest()


def read_list(data: bytes) -> RevocationList:
    """A list as PEM or DER. Raises PkiError for what is none, is damaged, or cannot be used, and says which."""
    if len(data) > MAX_LIST:
        raise PkiError(f"the revocation list is longer than {MAX_LIST >> 20} MiB")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            parsed = x509.load_der_x509_crl(list_der(data))
            _require_usable(parsed)
            return RevocationList(parsed)
    except PkiError:
        raise
    except UNREADABLE:
        raise PkiError("it is no revocation list, or is damaged", "a list is PEM (X509 CRL) or DER") from None


def require_known_entries(data: bytes) -> None:
    """Refuse a list with a critical extension in an entry (RFC 5280 §5.3). Slow for long lists; done once, when it comes in."""
    for entry in x509.load_der_x509_crl(data):
        try:
            critical = any(extension.critical for extension in entry.extensions)
        except UNREADABLE:
            raise PkiError("an entry of the revocation list is damaged") from None
        if critical:
            raise PkiError("an entry of the revocation list has a critical extension that is not known")


@dataclass(frozen=True, slots=True)
class SignedList:
    """A list as it is handed on by who checked it; `signer` is the `key_digest` of its issuer, or empty."""

    der: bytes
    signer: str = ""


class Crls:
    """The lists of one configuration. Immutable; `version` is a digest of content and rule.

    With `refuse_stale` a list that is out of date breaks the chains that it covers. Lists that stand in `before` are not read again.
    """

    __slots__ = ("_by_issuer", "_refuse_stale", "lists", "problems", "version")

    def __init__(
        self,
        lists: Iterable[bytes | SignedList] = (),
        *,
        refuse_stale: bool = False,
        before: Crls | None = None,
    ) -> None:
        self._refuse_stale = refuse_stale
        self._by_issuer: dict[str, list[RevocationList]] = {}
        known = {one.der: one for one in before.lists} if before is not None else {}
        problems: list[str] = []
        read: list[RevocationList] = []
        digest = hashlib.sha256(b"refuse" if refuse_stale else b"warn")
        for number, data in enumerate(lists, start=1):
            given = data if isinstance(data, SignedList) else SignedList(data)
            try:
                found = known.get(given.der) or read_list(given.der)
            except PkiError as error:
                problems.append(f"revocation list {number}: {error.text}")
                continue
            found.vouch(given.signer)
            digest.update(bytes.fromhex(found.facts.fingerprint))
            read.append(found)
            self._by_issuer.setdefault(found.issuer_key, []).append(found)
        self.lists: tuple[RevocationList, ...] = tuple(read)
        self.problems = tuple(problems)
        self.version = digest.hexdigest() if read else ""

    def state(self, now: float) -> str:
        """What a verdict depends on besides the chain: `version`, and how many lists are out of date at `now`."""
        return f"{self.version}/{sum(one.facts.stale(now) for one in self.lists)}" if self.lists else ""

    def check_path(self, path: Sequence[Certificate], now: float) -> Iterator[Finding]:
        """What the lists say of every certificate of a path but the root."""
        for depth, (certificate, issuer) in enumerate(pairwise(path)):
            yield from self._check(depth, certificate, issuer, now)

    def _check(
        self, depth: int, certificate: Certificate, issuer: Certificate, now: float
    ) -> Iterator[Finding]:
        signed = [one for one in self._by_issuer.get(certificate.issuer_key, ()) if one.signed_by(issuer)]
        serial = certificate.serial
        if any(serial in one.serials for one in signed):
            yield finding(depth, Code.REVOKED, "certificate is revoked", certificate)
            return
        covering = [one for one in signed if one.covers(certificate)]
        if covering and all(one.facts.stale(now) for one in covering):
            text = "the issuer's revocation list is out of date"
            yield finding(depth, Code.CRL_STALE, text, certificate, breaks=self._refuse_stale)


NO_CRLS = Crls()


def list_der(data: bytes) -> bytes:
    """The DER of the first PEM block of the right kind, or what is not PEM as it is. Raises ValueError."""
    start = data.find(_BEGIN)
    if start < 0:
        return data
    end = data.find(_END, start)
    if end < 0:
        raise ValueError("the block has no end")
    try:
        return binascii.a2b_base64(data[start + len(_BEGIN) : end])
    except binascii.Error as error:
        raise ValueError("the block is no base64") from error


def _require_usable(parsed: x509.CertificateRevocationList) -> None:
    for extension in parsed.extensions:
        value = extension.value
        if isinstance(value, x509.DeltaCRLIndicator):
            raise PkiError("it is a delta list, which only says what changed", "take the complete list")
        if isinstance(value, x509.IssuingDistributionPoint) and value.indirect_crl:
            raise PkiError("it is an indirect list, for certificates of other issuers")
        if extension.critical and not isinstance(value, _UNDERSTOOD):
            raise PkiError("it has a critical extension that is not known")


def _part(parsed: x509.CertificateRevocationList) -> _Part:
    try:
        point = parsed.extensions.get_extension_for_class(x509.IssuingDistributionPoint).value
    except x509.ExtensionNotFound:
        return _Part()
    named = point.full_name is not None or point.relative_name is not None
    return _Part(
        _urls(point.full_name) if named else None,
        point.only_contains_user_certs,
        point.only_contains_ca_certs,
        point.only_contains_attribute_certs,
    )


def _points_of(certificate: Certificate) -> frozenset[str]:
    """The URLs under which the certificate says that it would be listed."""
    try:
        value = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset().union(*(_urls(point.full_name) for point in value))


def _urls(names: Iterable[x509.GeneralName] | None) -> frozenset[str]:
    return frozenset(name.value for name in names or () if isinstance(name, x509.UniformResourceIdentifier))


def _line(parsed: x509.CertificateRevocationList, issuer_key: str, part: _Part) -> str:
    """What lists that replace one another have in common."""
    try:
        key = parsed.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        key = None
    flags = (part.hosts_only, part.authorities_only, part.no_certificates)
    points = None if part.points is None else sorted(part.points)
    return hashlib.sha256(repr((issuer_key, key, points, flags)).encode()).hexdigest()[:32]


def _number(parsed: x509.CertificateRevocationList) -> int | None:
    try:
        return parsed.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        return None


def _may_sign(issuer: Certificate) -> bool:
    """RFC 5280 §6.3.3 (f): where the key usage is said, it includes signing such lists."""
    try:
        return issuer.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign
    except x509.ExtensionNotFound:
        return True
