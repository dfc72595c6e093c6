"""What a renewal would do, found out without ordering anything: the authority is asked who it is and whether it knows us."""

from __future__ import annotations

import os
from typing import Any

from gatepost.certs.acme.errors import AcmeFailed
from gatepost.certs.acme_secrets import Secret, has_secret
from gatepost.certs.acme_vault import AcmeVault
from gatepost.certs.authority_link import connected
from gatepost.certs.crls import trusted_pem
from gatepost.certs.ordering import Authority
from gatepost.certs.renewing import Row
from gatepost.certs.times import iso_time
from gatepost.config.acme import AcmeChallenge
from gatepost.config.check_acme import challenge_addresses
from gatepost.config.load import load_plain
from gatepost.control.ops.registry import Context
from gatepost.core.errors import OperatorError
from gatepost.store.config_store import Content
from gatepost.wire.acme_objects import Directory


def vault_of(context: Context) -> AcmeVault:
    """What automatic certificates keep in the store."""
    return AcmeVault(context.store, context.keeper, context.clock)


async def rehearse_renewal(context: Context, content: Content, row: Row) -> dict[str, Any]:
    """The answer of a dry run. Raises OperatorError for what would keep the certificate from being issued."""
    wanted = row.wanted
    try:
        async with connected(trusted_pem(content), context.clock) as authority:
            directory = await authority.directory(wanted.acme.directory)
            account = await _account(context, row, authority, directory)
    except AcmeFailed as failure:
        raise OperatorError(
            f"{wanted.name} would not be renewed: {failure.whole}", "nothing was changed"
        ) from None
    _require_profile(row, directory)
    how = await _challenge(context, content, row)
    keys = [wanted.certificate.key.value]
    keys += [wanted.certificate.also.value] if wanted.certificate.also is not None else []
    now = context.clock.now()
    due = "It is due now" if row.decision.due(now) else f"It is due at {iso_time(row.decision.at)}"
    said = (
        f"{wanted.name} would be ordered from {wanted.acme.directory} for {', '.join(wanted.names)} "
        f"with {'a new key' if wanted.certificate.new_key else 'the same key'} ({' and '.join(keys)}). {account} {how} "
        f"{due}: {row.decision.reason}. Nothing was ordered and nothing changed."
    )
    return {
        "name": wanted.name,
        "dry_run": True,
        "directory": wanted.acme.directory,
        "names": list(wanted.names),
        "keys": keys,
        "new_key": wanted.certificate.new_key,
        "profile": wanted.certificate.profile or "",
        "challenges": {name: wanted.acme.challenge_of(wanted.certificate).value for name in wanted.names},
        "account": account,
        "renews": iso_time(row.decision.at),
        "why": row.decision.reason,
        "due": row.decision.due(now),
        "said": said,
    }


async def _account(context: Context, row: Row, authority: Authority, directory: Directory) -> str:
    """What the authority knows of us, as a sentence."""
    acme, vault = row.wanted.acme, vault_of(context)
    key = await vault.account_key(acme.directory)
    if key is not None and await authority.find(acme.directory, key) is not None:
        return "The account is known there."
    if directory.terms and not acme.terms_agreed:
        raise AcmeFailed(f"nobody has agreed to the terms of service, {directory.terms}")
    if acme.eab is not None and not has_secret(context.store, Secret.EAB):
        raise AcmeFailed(
            "the key of the external account is not stored (`gatepost acme secret eab` stores it)"
        )
    if directory.external_account_required and acme.eab is None:
        raise AcmeFailed("the authority makes accounts only for those that it knows, and acme.eab is not set")
    return "An account would be registered."


def _require_profile(row: Row, directory: Directory) -> None:
    wanted = row.wanted.certificate.profile
    if wanted is None or wanted in directory.profile_names:
        return
    offered = ", ".join(directory.profile_names) or "none"
    raise OperatorError(
        f"{row.wanted.name} would not be renewed: the authority has no profile {wanted}", f"it has: {offered}"
    )


async def _challenge(context: Context, content: Content, row: Row) -> str:
    """How the names would be proved, as a sentence. Raises OperatorError for what is missing on our side."""
    acme = row.wanted.acme
    kind = acme.challenge_of(row.wanted.certificate)
    if kind is not AcmeChallenge.DNS:
        port = acme.http_port if kind is AcmeChallenge.HTTP else acme.tls_port
        where = ", ".join(challenge_addresses(load_plain(content.document)))
        return f"Each name would be proved by {kind}, at port {port} of {where}, opened for it."
    dns = acme.dns
    if dns is None:
        raise OperatorError(
            f"{row.wanted.name} would not be renewed: acme.dns is not set", "set hook or server"
        )
    if dns.hook is not None:
        if not os.access(dns.hook, os.X_OK):
            raise OperatorError(
                f"{row.wanted.name} would not be renewed: {dns.hook} is no program that the gateway can run",
                "look at its path and permissions",
            )
        return f"Each name would be proved by {kind}, with the program {dns.hook}."
    if not has_secret(context.store, Secret.TSIG):
        raise OperatorError(
            f"{row.wanted.name} would not be renewed: the key {dns.key_name} is not stored",
            "`gatepost acme secret tsig` stores it",
        )
    zone = f" of {dns.zone}" if dns.zone is not None else ""
    return f"Each name would be proved by {kind}, with dynamic updates{zone} at {dns.server}."
