"""Lists of key-exchange groups in OpenSSL's form, and what is left of one for a small ClientHello.

A ClientHello that carries a post-quantum key share is larger than one TCP segment, and some peers, or what stands before them, lose it or
break off. The product's own list offers the post-quantum group without its share, so that a first ClientHello is small; but a server that prefers
the group asks for the share, and the second one is large then. `small_groups` leaves the post-quantum groups out.

The form (SSL_CTX_set1_groups_list): names separated by `:`, or by `/` where a new tuple of preference begins; before a name `?` (skip it
where it is unknown), `*` (send its share), `-` (take it out); `DEFAULT` stands for the library's own list.
"""

from __future__ import annotations

import re

SMALL_GROUPS = "X25519:secp256r1:?X448:secp384r1:secp521r1"
_MARKS = "?*-"
_POST_QUANTUM = "MLKEM"  # in the names of all groups with a lattice in them


def small_groups(groups: str) -> str:
    """The classic groups of a list in its order, of which the first that the library knows has its share sent.

    The product's own follow where nothing is left of the list, or nothing that the library is sure to know.
    """
    own = {_name(one): one for one in SMALL_GROUPS.split(":")}
    found: dict[str, str] = {}
    removed: set[str] = set()
    for item in re.split(r"[:/]", groups):
        name = item.lstrip(_MARKS)
        marks = item[: len(item) - len(name)]
        if "-" in marks:
            removed.add(name.upper())
        elif name.upper().startswith("DEFAULT"):
            found |= {key: one for key, one in own.items() if key not in found}
        elif name and _POST_QUANTUM not in name.upper():
            found.setdefault(name.upper(), f"?{name}" if "?" in marks else name)
    left = {key: text for key, text in found.items() if key not in removed}
    if all(text.startswith("?") for text in left.values()):
        left |= {key: one for key, one in own.items() if key not in left}
    return ":".join(left.values())


def _name(item: str) -> str:
    return item.lstrip(_MARKS).upper()
