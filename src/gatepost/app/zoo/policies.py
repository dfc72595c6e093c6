"""The web server of the MTA-STS policies: HTTPS on one address, every domain by its name, broken where the table says so.

Threads and the standard library's `http.server` and `ssl`; which certificate is shown depends on the name that is asked for.
"""

from __future__ import annotations

import gzip
import http.server
import os
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from gatepost.app.zoo.certificates import Shown
from gatepost.app.zoo.table.shape import Policy, WebFault
from gatepost.core.errors import OperatorError

PORT = 443
PATH = "/.well-known/mta-sts.txt"
_LARGE = 70 * 1024
_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Site:
    """The policy of one domain, the names in it filled in, and what its host shows."""

    body: bytes
    web: WebFault | None
    shown: Shown


def site(policy: Policy, domain: str, shown: Shown) -> Site:
    """The site of a policy; `{domain}` and `{mx}` in its lines are filled in."""
    lines = [line.format(domain=domain, mx=f"mx.{domain}") for line in policy.lines]
    return Site("".join(line + policy.end for line in lines).encode("utf-8"), policy.web, shown)


class PolicyServer:
    """From construction until `close`; `sites` by domain."""

    def __init__(self, address: str, sites: Mapping[str, Site], port: int = PORT) -> None:
        contexts = {f"mta-sts.{domain}": _context(one.shown) for domain, one in sites.items()}

        class Handler(_Handler):
            known = sites

        self._server = http.server.ThreadingHTTPServer((address, port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        front = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        front.sni_callback = _chooser(contexts)  # type: ignore[assignment]
        self._server.socket = front.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="zoo web", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _chooser(contexts: Mapping[str, ssl.SSLContext]) -> object:
    def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        found = contexts.get(name or "")
        if found is not None:
            connection.context = found

    return choose


def _context(shown: Shown) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pem = "".join(ssl.DER_cert_to_PEM_cert(der) for der in shown.chain).encode("ascii")
    descriptor = os.memfd_create("zoo-web", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, shown.key_pem + pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    except (ssl.SSLError, OSError) as error:
        raise OperatorError(f"the zoo's web server cannot show its certificate: {error}") from None
    finally:
        os.close(descriptor)
    return context


class _Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    known: Mapping[str, Site] = {}
    timeout = _SECONDS

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            self.close_connection = True  # the peer does not like us: it says so on its own side

    def do_GET(self) -> None:
        found = self.known.get((self.headers["Host"] or "").removeprefix("mta-sts."))
        if found is None or self.path != PATH or found.web is WebFault.MISSING:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        body = found.body
        if found.web is WebFault.REDIRECT:
            self.send_response(HTTPStatus.MOVED_PERMANENTLY)
            self.send_header("Location", f"https://{self.headers['Host']}{PATH}?again")
        else:
            self.send_response(HTTPStatus.OK)
        if found.web is WebFault.LARGE:
            body += b"filler: " + b"x" * _LARGE + b"\r\n"
        if found.web is WebFault.COMPRESSED:
            body = gzip.compress(body)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Type", "text/html" if found.web is WebFault.TYPE else "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if found.web is WebFault.BREAKS_OFF else body)

    def log_message(self, format: str, *args: object) -> None:
        return
