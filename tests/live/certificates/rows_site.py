"""The gateway of the tests that are named for the rows R1 to R15 and R37, and what its administrator asks of it.

Everything is done by commands, and looked at by openssl on the wire.
"""

from __future__ import annotations

import hashlib
import json
import ssl
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.live.certificates.openssl_ca import BLOCK, OpensslCa, fingerprint
from tests.live.peers.clients import Sent, s_client
from tests.live.peers.gateway import COMMAND, Document, document
from tests.live.peers.processes import run
from tests.live.peers.scene import Scene

HOST = "mx.example.net"
WITHIN = 5.0  # seconds from the end of a command to the certificate on the wire, on a busy machine


class RowsSite:
    """A running gateway with two workers, an authority made by openssl, and a folder for files."""

    def __init__(
        self, scene: Scene, *, hop: str = "[127.0.0.1]:9", sections: Mapping[str, Any] | None = None
    ) -> None:
        self.folder = scene.folder / "rows"
        self.folder.mkdir()
        self.ca = OpensslCa(self.folder / "ca")
        self.gateway = scene.gateway()
        self.public, self.private = scene.ports.free(), scene.ports.free()
        self.shown = self.folder / "shown.pem"  # the first certificate that `served` saw last
        self._hop, self._sections = hop, dict(sections or {})
        self.gateway.configure(self.document("Demo"))
        self.gateway.start(workers=2)

    # What the administrator does

    def document(self, certificate: str) -> Document:
        """A configuration in which both listeners show the certificate."""
        return {
            **document(self.public, self.private, hop=self._hop, certificate=certificate),
            **self._sections,
        }

    def use(self, certificate: str, **sections: Any) -> None:
        """Assigns it to both listeners."""
        self.gateway.configure({**self.document(certificate), **sections})

    def said(self, *words: str | Path, status: int = 0, text: bytes = b"") -> str:
        """Both outputs of a command, on one line."""
        environment = {"GATEPOST_HOME": str(self.gateway.home), "COLUMNS": "80"}
        done = run([*COMMAND, *words], environment=environment, text=text)
        told = " ".join((done.stdout + done.stderr).decode().split())
        assert done.returncode == status, f"ended with {done.returncode}: {told}"
        assert "Traceback" not in told
        return told

    def asked(self, *words: str | Path, status: int | None = 0) -> Any:
        """What a command tells with `--json`."""
        return json.loads(self.gateway.command(*words, "--json", status=status))

    def new(self, name: str, *options: str) -> Path:
        """A self-signed certificate for the host name, and the file with its request."""
        self.gateway.command("cert", "new", name, "--common-name", HOST, "--key", "p256", *options)
        return self.request(name)

    def signed(self, name: str, host: str = HOST) -> Path:
        """A profile with a certificate of the authority and its intermediate; the certificate's file."""
        self.gateway.command("cert", "new", name, "--common-name", host, "--key", "p256")
        made = self.ca.sign(self.request(name), host)
        self.gateway.command("cert", "install", name, made, "--intermediates", self.ca.sub)
        return made

    def request(self, name: str) -> Path:
        return self.write(f"{name}-{time.monotonic_ns()}.csr", self.gateway.command("cert", "csr", name))

    def write(self, name: str, *parts: str | Path) -> Path:
        """A file of these texts and of these files' texts, one behind the other."""
        file = self.folder / name
        file.write_text("".join(part.read_text() if isinstance(part, Path) else part for part in parts))
        return file

    # What others see

    def look(self, *options: str | Path, port: int = 0) -> Sent:
        """`openssl s_client` at the public listener, or at the port."""
        return s_client(port or self.public, "QUIT\r\n", "-showcerts", *map(str, options))

    def verified(self, *options: str | Path, port: int = 0) -> Sent:
        """The same as a sender that trusts only the authority and requires the host name."""
        return self.look(
            "-CAfile", self.ca.root, "-verify_return_error", "-verify_hostname", HOST, *options, port=port
        )

    def served(self, *options: str | Path, port: int = 0) -> list[str]:
        """SHA-256 of each certificate that a new connection is shown, in order, repeated ones too."""
        transcript = self.look(*options, port=port).transcript.partition("\nServer certificate\n")[0]
        blocks = BLOCK.findall(transcript)
        if blocks:
            self.shown.write_text(blocks[0])
        return [hashlib.sha256(ssl.PEM_cert_to_DER_cert(block)).hexdigest() for block in blocks]

    def seen(self, wanted: Sequence[str | Path], *options: str | Path, port: int = 0) -> None:
        """Several connections in a row are shown this, so that both workers were asked."""
        chain = chain_of(wanted)
        limit = time.monotonic() + WITHIN
        while self.served(*options, port=port) != chain and time.monotonic() < limit:
            pass  # each turn is a whole handshake
        assert [self.served(*options, port=port) for _ in range(2)] == [chain] * 2

    def still_seen(self, wanted: Sequence[str | Path]) -> None:
        """What was served before is still served: one look."""
        assert self.served() == chain_of(wanted)


def chain_of(wanted: Sequence[str | Path]) -> list[str]:
    """SHA-256 of certificates; of files their certificate's."""
    return [fingerprint(one) if isinstance(one, Path) else one for one in wanted]
