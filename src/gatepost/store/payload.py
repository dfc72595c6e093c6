"""What a process needs to run one version of the configuration, as one JSON value.

    {"version": 7, "author": "local:0", "comment": "", "document": {…},
     "profiles": {"gw": {"chains": ["…"], "revision": 12, "sealed": "base64", "keys": ["…"]}},
     "authorities": {"system": true, "custom_pem": "…"},
     "crls": [{"der": "base64", "signer": "hex"}],
     "users": {"mary": "SCRAM-SHA-256$…"}, "nobody": "base64",
     "bounce_keys": [{"number": 3, "sealed": "base64", "key": "base64"}]}

The desk makes it with sealed keys; only the supervisor opens them, and it gives each worker only the keys
that its listeners and its client use (architecture 3, Keys): then `sealed` is gone and `keys` is there. `chains` are the served
certificates, PEM, leaf first, one or two of different key types; `keys` belong to them in the same order. A key that only
waits for its certificate is not among them.

`users` are those who may send, with what their pass-phrases are compared with, and only where a policy has `smtp_auth`; nobody else's verifier ever
leaves the store. `nobody` comes with the opened keys: the secret, derived from the master key, that answers for names that are no user.

Of bounce tags every worker has all keys, the newest first, once some domain is tagged.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Collection, Mapping
from typing import Any

from gatepost.config.defaults import DEMO
from gatepost.pki.errors import PkiError
from gatepost.pki.keys import SecretBytes
from gatepost.pki.profile import Profile, split_keys
from gatepost.store.bounce_keys import SEALED_AS, bounce_keys, payload_keys
from gatepost.store.config_store import ConfigStore, Content, StoredProfile, Version
from gatepost.store.revocations import payload_lists
from gatepost.store.secrets import MasterKey, SealBroken, master_key_lost
from gatepost.store.users import User

Payload = dict[str, Any]
NOBODY = "smtp users that do not exist"


def sealed_payload(store: ConfigStore, content: Content, number: int, author: str, comment: str) -> Payload:
    """The payload of a content that is, or is about to become, version `number`. Keys stay sealed."""
    profiles = {}
    for name, revision in content.profiles.items():
        profile = store.profile(revision)
        if profile is None:
            raise LookupError(f"profile {name!r} has no revision {revision}")
        profiles[name] = {
            "chains": _chains(profile),
            "revision": revision,
            "sealed": b64encode(profile.sealed).decode("ascii"),
        }
    lists = content.document.get("certificate_authorities") or {}
    return {
        "version": number,
        "author": author,
        "comment": comment,
        "document": dict(content.document),
        "profiles": profiles,
        "authorities": {
            "system": bool(lists.get("system", True)),
            "custom_pem": content.authorities if lists.get("custom", False) else "",
        },
        "crls": payload_lists(store, content.document),
        "users": _senders(content),
        "bounce_keys": payload_keys(content.document, bounce_keys(store)),
    }


def _senders(content: Content) -> dict[str, str]:
    """The enabled users of role `smtp`, where a policy lets them in."""
    if not asks_users(content.document):
        return {}
    found = ((name, User.of_text(text)) for name, text in content.users.items())
    return {name: user.smtp.text() for name, user in found if user.enabled and user.smtp is not None}


def asks_users(document: Mapping[str, Any]) -> bool:
    """Whether a policy, or what a listener changes in one, has `smtp_auth`. The document is in its written form."""
    policies = [*(document.get("mail_flow_policies") or ())]
    for listener in document.get("listeners") or ():
        policies += listener.get("policies") or ()
    return any(policy.get("smtp_auth", "off") != "off" for policy in policies)


def _chains(profile: StoredProfile) -> list[str]:
    """What the profile serves. A record that cannot be read is left to the checks of a commit; its chain still stands."""
    try:
        return list(Profile.from_document(profile.record).chains_pem)
    except PkiError:
        return [profile.chain]


def version_payload(store: ConfigStore, version: Version) -> Payload:
    """The payload of a committed version."""
    return sealed_payload(store, version.content, version.number, version.author, version.comment)


def open_payload(payload: Payload, key: MasterKey, wanted: Collection[str]) -> Payload:
    """The payload for a worker: the keys of the `wanted` profiles in clear, no envelope at all.

    Raises OperatorError (exit 78) when a key does not open.
    """
    profiles: dict[str, Any] = {}
    broken = []
    for name, profile in payload["profiles"].items():
        chains = profile["chains"]
        profiles[name] = {"chains": chains}
        sealed = b64decode(profile.get("sealed", ""))
        if name not in wanted or not sealed:
            continue
        try:
            secret = key.open(name, profile["revision"], sealed)
        except SealBroken:
            broken.append(name)
        else:
            served = split_keys(SecretBytes(secret))[: len(chains)]
            profiles[name]["keys"] = [one.reveal().decode("ascii") for one in served]
    tags, unopened = _open_bounce_keys(payload, key)
    if broken or unopened:
        raise master_key_lost(
            "the master key is not the one that sealed this configuration", sorted(broken) + unopened
        )
    opened = {**payload, "profiles": profiles, "bounce_keys": tags}
    if payload.get("users"):
        opened["nobody"] = b64encode(key.derive(NOBODY)).decode("ascii")
    return opened


def _open_bounce_keys(payload: Payload, key: MasterKey) -> tuple[list[dict[str, Any]], list[str]]:
    opened, broken = [], []
    for one in payload.get("bounce_keys", ()):
        try:
            secret = key.open(SEALED_AS, one["number"], b64decode(one["sealed"]))
        except SealBroken:
            broken.append(f"bounce key {one['number']}")
        else:
            opened.append({"number": one["number"], "key": b64encode(secret).decode("ascii")})
    return opened, broken


def used_profiles(document: Mapping[str, Any]) -> set[str]:
    """The profiles whose keys the mail workers use: the listeners', and the client's of deliveries.

    The document is in its written form, so what it leaves out is the default profile.
    """
    used = {DEMO for listener in document.get("listeners") or () if "certificate" not in listener}
    for section in ("listeners", "destination_controls"):
        _collect(document.get(section), used)
    if "certificate" not in ((document.get("destination_controls") or {}).get("global") or {}):
        used.add(DEMO)
    return used


def _collect(value: Any, into: set[str]) -> None:
    """Names under `certificate`, wherever an entry may carry one."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key == "certificate" and isinstance(item, str):
                into.add(item)
            else:
                _collect(item, into)
    elif isinstance(value, list | tuple):
        for item in value:
            _collect(item, into)
