"""A process that orders one certificate, to be killed: `python -m tests.live.certificates.acme_process DIRECTORY FOLDER`.

Account and journal are files in the folder, so that the next process goes on. With `DIE_BEHIND=authZ` in the environment it
kills itself when the first answer to a request with that word in its path has come, before anything is made of the answer.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from gatepost.certs.acme.account import AccountKey, register
from gatepost.certs.acme.challenges import Http01, Proof
from gatepost.certs.acme.issuing import OrderRequest, obtain
from gatepost.certs.acme.ports import SavedOrder
from gatepost.net.challenge_servers import Http01Responder
from gatepost.net.http import HttpAnswer, OperatorHttp
from gatepost.pki.keys import KeyKind, SecretBytes, generate
from gatepost.wire.acme_objects import ChallengeKind


class RealClock:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


class FileJournal:
    """The order in a JSON file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def load(self) -> SavedOrder | None:
        if not self.path.exists():
            return None
        found = json.loads(self.path.read_text())
        found["names"] = tuple(found["names"])
        found["key_pem"] = SecretBytes(found["key_pem"].encode())
        return SavedOrder(**found)

    async def save(self, order: SavedOrder, /) -> None:
        fields = {name: getattr(order, name) for name in order.__slots__}
        fields["key_pem"] = order.key_pem.reveal().decode()
        fields["names"] = list(order.names)
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(fields))
        new.rename(self.path)

    async def forget(self) -> None:
        self.path.unlink(missing_ok=True)


class Mortal:
    """HTTP that ends the process behind a certain answer."""

    def __init__(self, http: OperatorHttp, word: str) -> None:
        self.http = http
        self.word = word

    async def request(
        self, method: str, url: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> HttpAnswer:
        answer = await self.http.request(method, url, body=body, headers=headers)
        if self.word and self.word in url and method == "POST":
            os.kill(os.getpid(), signal.SIGKILL)
        return answer


class OwnPort:
    """Challenges by our own small server."""

    prefers = (ChallengeKind.HTTP01,)

    def __init__(self, responder: Http01Responder) -> None:
        self.responder = responder

    async def present(self, proof: Proof, /) -> None:
        assert isinstance(proof, Http01)
        self.responder.present(proof.name, proof.path, proof.key_authorization)

    async def withdraw(self, proof: Proof, /) -> None:
        assert isinstance(proof, Http01)
        self.responder.withdraw(proof.name, proof.path)


async def main(directory: str, folder: Path) -> None:
    key_file = folder / "account.json"
    if not key_file.exists():
        key_file.write_bytes(AccountKey.generate().pem.reveal())
    key = AccountKey.from_pem(SecretBytes(key_file.read_bytes()))
    clock = RealClock()
    sock = socket.create_server(("127.0.0.1", int(os.environ["HTTP_PORT"])))
    sock.setblocking(False)
    responder = Http01Responder(sock)
    await responder.start()
    plain = OperatorHttp((folder / "trust.pem").read_bytes())
    try:
        account = await register(plain, directory, key, clock, terms_agreed=True)
        issued = await obtain(
            OrderRequest(("killed.example.net", "again.example.net"), generate(KeyKind.P256)),
            account,
            Mortal(plain, os.environ.get("DIE_BEHIND", "")),
            OwnPort(responder),
            FileJournal(folder / "journal.json"),
            clock,
        )
        sys.stdout.write(f"chain of {len(issued.chain)} for order {issued.url}\n")
    finally:
        await plain.close()
        await responder.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
