"""Everything that is warned about in a document beside what `config` itself knows: certificates, secrets, users.

A file that is checked, the same file when it is applied, the candidate, and the version in force: all are told by the same
function, so they say the same. Certificates that come in a file stand for those of their names in the store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gatepost.config.load import to_plain
from gatepost.config.model import Document
from gatepost.control.ops.acme_parts import secret_warnings
from gatepost.control.ops.consequences import unverifiable
from gatepost.control.ops.registry import Context
from gatepost.control.ops.sender_warnings import sender_warnings
from gatepost.control.ops.sni_warnings import sni_warnings
from gatepost.core.errors import Problem
from gatepost.pki.profile import Profile
from gatepost.store.config_store import Content


def document_warnings(
    context: Context, content: Content, document: Document | None, brought: Sequence[Profile] = ()
) -> tuple[Problem, ...]:
    """The warnings of a document beside a content's certificates and users; none of one that cannot be read."""
    if document is None:
        return ()
    coming: Mapping[str, Profile] = {profile.name: profile for profile in brought}
    return (
        *secret_warnings(context, document),
        *sni_warnings(context, content.profiles, document, coming),
        *sender_warnings(content.users, document),
        *unverifiable(context, content.profiles, to_plain(document), coming),
    )
