"""Certificates, authorities and users inside an exported file, and their way back (R32).

    certificates:
      - {name: gw, origin: imported, created: …, certificate: base64, intermediates: […], csr: …, private_key: PEM}
    custom_authorities: PEM
    users: {admin: verifiers}

These three keys stand beside the document's own. A file that has them brings its certificates and users, replacing those
of the same name and leaving the others, and its list of authorities; a file without them touches nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from gatepost.certs.authorities import custom_roots
from gatepost.certs.inventory import keep_profile
from gatepost.certs.making import check_name
from gatepost.control.ops.registry import Context
from gatepost.core.errors import Problem
from gatepost.pki.errors import PkiError
from gatepost.pki.keys import SecretBytes
from gatepost.pki.profile import Profile
from gatepost.store.config_store import Content
from gatepost.store.users import User

PARTS = (CERTIFICATES, AUTHORITIES, USERS) = ("certificates", "custom_authorities", "users")


@dataclass(frozen=True, slots=True)
class Brought:
    """What came in a file beside the document, and what is wrong with it.

    `authorities` and `users` are None where the file does not have them.
    """

    profiles: tuple[Profile, ...] = ()
    authorities: str | None = None
    users: Mapping[str, str] | None = None
    problems: tuple[Problem, ...] = ()

    def names(self) -> list[str]:
        return [profile.name for profile in self.profiles]

    async def into(self, context: Context, content: Content) -> Content:
        """The content with everything that was brought. Stores revisions; what is there already stays as it is."""
        profiles = dict(content.profiles)
        for profile in self.profiles:
            stored = context.store.profile(profiles.get(profile.name, 0))
            if stored is None or not stored.sealed or stored.record != profile.document():
                profiles[profile.name] = await keep_profile(
                    context.store, context.keeper, profile, context.clock
                )
        return replace(
            content,
            profiles=profiles,
            authorities=content.authorities if self.authorities is None else self.authorities,
            users=content.users if self.users is None else {**content.users, **self.users},
        )


async def export_parts(context: Context, content: Content) -> dict[str, Any]:
    """The three keys of a version, private keys in clear."""
    certificates = []
    for name, revision in content.profiles.items():
        stored = context.store.profile(revision)
        assert stored is not None  # a version never refers to a revision that is gone
        key = await context.keeper.open(name, revision, stored.sealed) if stored.sealed else b""
        certificates.append(Profile.from_document(dict(stored.record), SecretBytes(key)).with_key_document())
    parts: dict[str, Any] = {CERTIFICATES: certificates, USERS: dict(content.users)}
    if content.authorities:
        parts[AUTHORITIES] = content.authorities
    return parts


def take_parts(data: dict[str, Any]) -> tuple[dict[str, Any], Brought]:
    """The file's document without the three keys, and what stood under them."""
    rest = {key: value for key, value in data.items() if key not in PARTS}
    problems: list[Problem] = []
    profiles = _profiles(data.get(CERTIFICATES), problems)
    authorities = _authorities(data.get(AUTHORITIES), problems)
    users = _users(data.get(USERS), problems)
    return rest, Brought(profiles, authorities, users, tuple(problems))


def _profiles(value: Any, problems: list[Problem]) -> tuple[Profile, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        problems.append(Problem(CERTIFICATES, "is not a list", "leave the key out, or export it again"))
        return ()
    found: dict[str, Profile] = {}
    for index, item in enumerate(value):
        path = f"{CERTIFICATES}[{index}]"
        try:
            profile = _profile(item)
        except PkiError as error:
            problems.append(Problem(path, error.text, error.hint))
            continue
        if profile.name in found:
            problems.append(Problem(f"{path}.name", f"{profile.name} is given twice", "names are given once"))
        found[profile.name] = profile
    return tuple(found.values())


def _profile(item: Any) -> Profile:
    """One certificate, its key compared with it. Raises PkiError."""
    if not isinstance(item, dict):
        raise PkiError("is not a mapping")
    profile = Profile.from_document(item)
    check_name(profile.name)
    profile.require_keys()
    return profile


def _authorities(value: Any, problems: list[Problem]) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value.isascii():
        problems.append(Problem(AUTHORITIES, "is not PEM text"))
        return None
    roots = custom_roots(value)
    problems += [Problem(AUTHORITIES, text) for text in roots.problems]
    return "".join(root.pem.decode("ascii") for root in roots.certificates)


def _users(value: Any, problems: list[Problem]) -> Mapping[str, str] | None:
    if value is None:
        return None
    if not isinstance(value, dict) or not all(_is_user(text) for text in value.values()):
        problems.append(Problem(USERS, "is not a mapping of names to hashed pass-phrases"))
        return None
    return value


def _is_user(text: Any) -> bool:
    try:
        User.of_text(text if isinstance(text, str) else "")
    except ValueError:
        return False
    return True
