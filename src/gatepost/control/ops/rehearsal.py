"""What only building shows: a list of ciphers or groups that the library does not know, a certificate without its key.

The workers of a running gateway build everything before a version is stored. On a stopped gateway nobody does,
so the same is tried here first, and the fault has a path in both cases.
"""

from __future__ import annotations

from gatepost.certs.usage import uses
from gatepost.config.model import Document
from gatepost.control.ops.registry import Context
from gatepost.core.errors import Problem
from gatepost.pki.errors import PkiError
from gatepost.pki.keys import SecretBytes
from gatepost.pki.profile import Profile
from gatepost.store.config_store import Content

_LISTS = {
    "ciphers": "`openssl ciphers` lists the names",
    "groups": "names are such as X25519MLKEM768, X25519 and secp256r1",
}


async def rehearse(context: Context, content: Content, document: Document) -> tuple[Problem, ...]:
    """All faults that show when TLS contexts are built."""
    problems = tls_problems(document)
    for use in uses(content.document):
        problem = await _identity(context, content, use.certificate, use.path)
        problems += [problem] if problem is not None else []
    return tuple(problems)


def tls_problems(document: Document) -> list[Problem]:
    """Lists of ciphers and of groups that the library does not take."""
    settings = document.tls_settings
    scopes = (("inbound", settings.inbound), ("outbound", settings.outbound), ("web", settings.web))
    unusual = [
        (f"tls_settings.{name}.{key}", scope.minimum.value, key, getattr(scope, key))
        for name, scope in scopes
        for key in _LISTS
        if getattr(scope, key) != "default"
    ]
    if not unusual:
        return []
    from gatepost.net.errors import ContextError
    from gatepost.net.tls import TlsParameters, check_parameters

    problems = []
    for path, minimum, key, value in unusual:
        try:
            check_parameters(TlsParameters(minimum=minimum, **{key: value}))
        except ContextError as error:
            problems.append(Problem(path, str(error), f"{_LISTS[key]}; `default` is a good choice"))
    return problems


async def _identity(context: Context, content: Content, name: str, path: str) -> Problem | None:
    """A certificate that is used must have its key; on a stopped gateway the pair is built into a context too."""
    stored = context.store.profile(content.profiles[name])
    if stored is None or not stored.sealed:
        return Problem(path, f"the certificate {name} has no private key", "import it with its key")
    if context.gateway is not None:
        return None  # the workers try it, and they may have the key
    from gatepost.net.errors import ContextError
    from gatepost.net.tls import Identity, ServerContext

    secret = await context.keeper.open(name, stored.revision, stored.sealed)
    try:
        pairs = Profile.from_document(stored.record, SecretBytes(secret)).pairs
        identities = [Identity(pair.certificate_pem.encode("ascii"), pair.key.reveal()) for pair in pairs]
        ServerContext.build(identities, scope="rehearsal")
    except (ContextError, PkiError) as error:
        return Problem(path, f"{name}: {error}", "import it again with --replace, or use another")
    return None
