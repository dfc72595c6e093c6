"""What is to be said of names whose certificate is at hand: does it carry the name that clients will ask for?

The names are those of SNI entries, and the hosts of the public port.

`config.check` knows certificates by name only; here is the store. A wildcard is carried by a certificate that is valid for any
name below the domain, not by one that lists some of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gatepost.config.model import Document
from gatepost.config.sni import parse_sni_name, sample_name
from gatepost.control.ops.registry import Context
from gatepost.core.errors import Problem
from gatepost.core.tls import NameSource, ReferenceName
from gatepost.pki.errors import PkiError
from gatepost.pki.names import match_names
from gatepost.pki.profile import Profile


def sni_warnings(
    context: Context, profiles: Mapping[str, int], document: Document, coming: Mapping[str, Profile]
) -> tuple[Problem, ...]:
    """A warning for each name that its certificate, or the one beside it, does not carry (R10).

    `coming` are profiles that are not in the store yet.
    """

    def carries(certificate: str, name: str) -> bool:
        if certificate in coming:
            return _valid_for(coming[certificate], name)
        return certificate not in profiles or _carries(context, profiles[certificate], name)

    found = _public_hosts(carries, document)
    for index, listener in enumerate(document.listeners):
        for number, entry in enumerate(listener.sni):
            if not carries(entry.certificate, entry.name):
                path = f"listeners[{index}].sni[{number}].certificate"
                text = (
                    f"{entry.certificate} is not valid for {entry.name}: clients that verify will refuse it"
                )
                found.append(Problem(path, text, "use a certificate that names it", warning=True))
    return tuple(found)


def _public_hosts(carries: Callable[[str, str], bool], document: Document) -> list[Problem]:
    found = []
    for index, entry in enumerate(document.mta_sts_policies):
        if not carries(entry.certificate, entry.host):
            text = (
                f"{entry.certificate} is not valid for {entry.host}: no sender will take the policy from it"
            )
            hint = f"use a certificate that names {entry.host}"
            found.append(Problem(f"mta_sts_policies[{index}].certificate", text, hint, warning=True))
    for index, taker in enumerate(document.tls_reports_received.https):
        if not carries(taker.certificate, taker.comparable_host):
            text = f"{taker.certificate} is not valid for {taker.comparable_host}: no sender will post reports to it"
            hint = f"use a certificate that names {taker.comparable_host}"
            path = f"tls_reports_received.https[{index}].certificate"
            found.append(Problem(path, text, hint, warning=True))
    return found


def _carries(context: Context, revision: int, name: str) -> bool:
    """True where nothing is to be said: also of a profile that cannot be read, of which others speak."""
    stored = context.store.profile(revision)
    try:
        return stored is None or _valid_for(Profile.from_document(stored.record), name)
    except PkiError:
        return True


def _valid_for(profile: Profile, name: str) -> bool:
    """Each of the profile's certificates carries the name."""
    asked = ReferenceName(sample_name(parse_sni_name(name)), NameSource.OPERATOR)
    return all(match_names(pair.leaf.names, [asked]) is not None for pair in profile.pairs)
