"""One profile's own page: its certificates with their chains, its keys' kinds, its request; never a key.

The stable keys of the contract are there as in a list (`Entry.document`); what belongs to the first certificate stands at
the top, the second certificate of two under `beside`.
"""

from __future__ import annotations

from typing import Any

from gatepost.certs.inventory import Entry
from gatepost.certs.times import iso_time
from gatepost.pki.certificate import Certificate, read_certificate
from gatepost.pki.errors import PkiError
from gatepost.pki.profile import Pair, Profile
from gatepost.pki.selfsigned import read_request
from gatepost.store.config_store import StoredProfile

LEVEL = "machine"
"""Where a certificate lives (R12): this machine's own store. A machine that leaves it behind loses it; export it before."""


def page(entry: Entry, stored: StoredProfile) -> dict[str, Any]:
    """The JSON form of one profile's page: what a list has, and certificates, keys and request in full."""
    facts = entry.facts
    common = {
        **entry.document,
        "subject": "",
        "fingerprint": "",
        "revision": facts.revision,
        "created": iso_time(facts.created),
        "private_key": facts.has_key,
        "level": LEVEL,
    }
    try:
        profile = Profile.from_document(stored.record)
    except PkiError:
        return {**common, "names": [], "serial": "", "key": "", "chain": [], "beside": None, "request": None}
    return {
        **common,
        **_pair_page(profile.main),
        "origin": facts.origin,
        "beside": None if profile.beside is None else _pair_page(profile.beside),
        "request": _request_page(profile),
    }


def _pair_page(pair: Pair) -> dict[str, Any]:
    chain = [read_certificate(der) for der in pair.chain]
    leaf, sent = chain[0], set(pair.served)
    return {
        "subject": leaf.subject,
        "names": list(leaf.names.texts()),
        "issuer": leaf.issuer,
        "not_before": iso_time(leaf.not_before),
        "not_after": iso_time(leaf.not_after),
        "origin": pair.origin.value,
        "serial": f"{leaf.serial:x}",
        "fingerprint": leaf.fingerprint,
        "key": public_key_text(leaf),
        "chain": [
            {
                "subject": one.subject,
                "issuer": one.issuer,
                "not_after": iso_time(one.not_after),
                "fingerprint": one.fingerprint,
                "sent": one.der in sent,
            }
            for one in chain
        ],
    }


def _request_page(profile: Profile) -> dict[str, Any] | None:
    """The signing request: `open` says that its key waits beside the served one until the answer comes."""
    if not profile.csr:
        return None
    request = read_request(profile.csr)
    return {"subject": request.subject, "names": list(request.names), "waiting_key": profile.waiting}


def public_key_text(certificate: Certificate) -> str:
    """`RSA 2048`, `EC secp256r1`: the kind of a certificate's key."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    key = certificate.parsed.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {key.curve.name}"
    return type(key).__name__.removeprefix("_").removesuffix("PublicKey")
