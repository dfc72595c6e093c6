"""Debian's dkimpy as a judge of our DKIM signatures, and as a signer for our verifier. It runs with the system's Python, since it is no package of ours."""

from __future__ import annotations

import json
import subprocess
from base64 import b64encode
from collections.abc import Mapping

PYTHON = "/usr/bin/python3"
_SCRIPT = """
import base64, dkim, json, sys
asked = json.load(sys.stdin)
texts = asked["published"]
def published(name, timeout=5):
    return texts.get(name.decode().rstrip("."), "").encode() or None
judge = dkim.DKIM(base64.b64decode(asked["message"]), tlsrpt=asked["tlsrpt"])
count = sum(name.lower() == b"dkim-signature" for name, _ in judge.headers)
def one(index):
    try:
        return bool(judge.verify(index, dnsfunc=published))
    except dkim.DKIMException as error:
        return str(error)
json.dump([one(index) for index in range(count)], sys.stdout)
"""


def judged(
    message: bytes, published: Mapping[str, str], *, tlsrpt: bool | str = "strict"
) -> list[bool | str]:
    """For each signature from the top: True, False, or why it cannot be judged.

    `tlsrpt` False judges as for any mail, `strict` as for a TLS report: the key has to say that it is for those.
    """
    asked = {
        "message": b64encode(message).decode(),
        "published": dict(published),
        "tlsrpt": tlsrpt,
    }
    done = subprocess.run(
        [PYTHON, "-c", _SCRIPT],
        input=json.dumps(asked).encode(),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()
    found: list[bool | str] = json.loads(done.stdout)
    return found


_SIGN = """
import base64, dkim, json, sys
asked = json.load(sys.stdin)
names = [name.encode() for name in asked["names"]]
field = dkim.sign(
    base64.b64decode(asked["message"]), asked["selector"].encode(), asked["domain"].encode(), asked["key"].encode(),
    canonicalize=tuple(way.encode() for way in asked["way"].split("/")), signature_algorithm=asked["algorithm"].encode(),
    include_headers=names, length=asked["length"],
)
sys.stdout.buffer.write(field)
"""


def signature(
    message: bytes, domain: str, selector: str, key: str, *, algorithm: str, way: str, length: bool = False
) -> bytes:
    """A whole field by dkimpy. `key` is PEM for RSA, the seed in base64 for Ed25519; `length` adds `l=`."""
    asked = {
        "message": b64encode(message).decode(),
        "domain": domain,
        "selector": selector,
        "key": key,
        "algorithm": algorithm,
        "way": way,
        "length": length,
        "names": ["from", "to", "subject"],
    }
    done = subprocess.run(
        [PYTHON, "-c", _SIGN], input=json.dumps(asked).encode(), capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout
