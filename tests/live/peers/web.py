"""A web server on the standard library's, with or without TLS: it answers what a function says, and runs in threads of its own.

`port` 0 is any free one. Whoever keeps what was asked does so in the function, which several threads may call at once.
"""

from __future__ import annotations

import http.server
import ssl
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.fakes.ca import Issued


@dataclass(frozen=True)
class Request:
    """What a client wants; `host` is the name that it asked for."""

    method: str
    host: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What it gets."""

    status: int = 200
    body: bytes = b""
    kind: str = "text/plain; charset=utf-8"


class WebServer:
    """Serves from its making until `close`; with `issued` by https only."""

    def __init__(
        self, address: str, port: int, answer: Callable[[Request], Answer], issued: Issued | None = None
    ) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(b"")

            def do_POST(self) -> None:
                self._answer(self.rfile.read(int(self.headers["Content-Length"])))

            def _answer(self, body: bytes) -> None:
                host = self.headers["Host"] or ""
                said = answer(Request(self.command, host, self.path, dict(self.headers), body))
                self.send_response(said.status)
                if said.status != 204:  # it never has content (RFC 9110 §15.3.5)
                    self.send_header("Content-Type", said.kind)
                    self.send_header("Content-Length", str(len(said.body)))
                self.end_headers()
                self.wfile.write(said.body)

            def log_message(self, format: str, *args: object) -> None:
                return

        self._server = http.server.ThreadingHTTPServer((address, port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        if issued is not None:
            self._server.socket = _context(issued).wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _context(issued: Issued) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(issued.key_pem + issued.chain_pem)
        file.flush()
        context.load_cert_chain(file.name)
    return context


class Policies:
    """An answer for `WebServer`: the MTA-STS policy of each domain by the name that is asked; keeps what it was asked."""

    def __init__(self, policies: Mapping[str, str]) -> None:
        self.asked: list[str] = []
        self._policies = policies

    def __call__(self, request: Request) -> Answer:
        domain = request.host.removeprefix("mta-sts.")
        self.asked.append(domain)
        body = self._policies.get(domain, "").encode()
        found = bool(body) and request.path == "/.well-known/mta-sts.txt"
        return Answer(200 if found else 404, body)
