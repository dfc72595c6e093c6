"""A real ACME server and what it needs: Debian's pebble, its challenge server's DNS, a bind9 that takes dynamic updates.

    with ExitStack() as stack:
        dns = stack.enter_context(ChallengeDns(place / "dns", ports))
        pebble = stack.enter_context(Pebble(place / "pebble", ports, dns=dns.address))
        pebble.url, pebble.trust_pem            # the directory, and who vouches for its certificate
        pebble.http_port, pebble.tls_port       # where it looks for http-01 and tls-alpn-01
        pebble.root()                           # what the certificates lead to, PEM

Names are looked up at `dns`: `ChallengeDns` answers every A question with 127.0.0.1, `Bind` has zones, takes updates with TSIG and
answers for them alone. `RenewalProxy` stands before a pebble and adds the renewal information that this one lacks.
"""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import os
import secrets
import socket
import ssl
import threading
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.ca import TestAuthority
from tests.live.peers.ports import Ports
from tests.live.peers.processes import Program, need

HERE = "127.0.0.1"


class Pebble:
    """One running CA. A context manager; each start makes new roots and forgets all accounts and orders.

    `external` are the keys of external accounts by id (octets); `validity` is in seconds; `reject` per cent of good nonces
    are refused; `alternates` further roots sign other chains.
    """

    def __init__(
        self,
        folder: Path,
        ports: Ports,
        *,
        dns: str,
        http_port: int = 0,
        tls_port: int = 0,
        external: Mapping[str, bytes] | None = None,
        validity: int = 0,
        reject: int = 0,
        alternates: int = 0,
        reuse: int = 0,
    ) -> None:
        self.program = need("pebble", "pebble")
        self.folder = folder
        self.port = ports.free()
        self.management = ports.free()
        self.http_port = http_port or ports.free()
        self.tls_port = tls_port or ports.free()
        self.dns = dns
        self._external = external
        self._validity = validity
        self._environment = {
            "PEBBLE_WFE_NONCEREJECT": str(reject),
            "PEBBLE_VA_NOSLEEP": "1",
            "PEBBLE_VA_ALWAYS_VALID": "0",
            "PEBBLE_ALTERNATE_ROOTS": str(alternates),
            "PEBBLE_AUTHZREUSE": str(reuse),
        }
        self._running: Program | None = None
        authority = TestAuthority("Pebble's own CA")
        self.trust_pem = authority.root_pem
        folder.mkdir(parents=True, exist_ok=True)
        self._identity = authority.issue([HERE, "localhost"])
        (folder / "server.pem").write_bytes(self._identity.chain_pem)
        (folder / "server.key").write_bytes(self._identity.key_pem)
        (folder / "pebble.json").write_text(json.dumps({"pebble": self._settings()}))

    def _settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "listenAddress": f"{HERE}:{self.port}",
            "managementListenAddress": f"{HERE}:{self.management}",
            "certificate": str(self.folder / "server.pem"),
            "privateKey": str(self.folder / "server.key"),
            "httpPort": self.http_port,
            "tlsPort": self.tls_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": bool(self._external),
        }
        if self._external:
            settings["externalAccountMACKeys"] = {
                name: base64.urlsafe_b64encode(key).decode().rstrip("=")
                for name, key in self._external.items()
            }
        if self._validity:
            settings["certificateValidityPeriod"] = self._validity
        return settings

    @property
    def url(self) -> str:
        return f"https://{HERE}:{self.port}/dir"

    @property
    def output(self) -> list[str]:
        assert self._running is not None
        return self._running.output.all

    def start(self) -> None:
        self._running = Program(
            [self.program, "-config", self.folder / "pebble.json", "-dnsserver", self.dns],
            environment=self._environment,
        )
        with ended_unless_ready(self._running):
            self._running.output.wait_for(r"ACME directory available at")
            wait_until_open(self.port)
            wait_until_open(self.management)

    def stop(self) -> None:
        """End it: the CA is down. `start` brings up one that has forgotten everything."""
        if self._running is not None:
            self._running.kill()
            self._running = None

    def root(self, number: int = 0) -> bytes:
        """The root of the chains (PEM); with `alternates` there are several."""
        with urllib.request.urlopen(
            f"https://{HERE}:{self.management}/roots/{number}", context=self.client_context(), timeout=10
        ) as answer:
            found: bytes = answer.read()
        return found

    def status_of(self, serial: int) -> str:
        """`Valid` or `Revoked`, of a certificate by its serial number."""
        url = f"https://{HERE}:{self.management}/cert-status-by-serial/{serial:x}"
        with urllib.request.urlopen(url, context=self.client_context(), timeout=10) as answer:
            return str(json.load(answer)["Status"])

    def client_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.trust_pem.decode())

    def server_context(self) -> ssl.SSLContext:
        """A server's context with the CA's own certificate: for who stands in its place."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "server.pem", self.folder / "server.key")
        return context

    def __enter__(self) -> Pebble:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class ChallengeDns:
    """pebble-challtestsrv as the CA's DNS: every name has the address 127.0.0.1, TXT records come by its management port."""

    def __init__(self, ports: Ports) -> None:
        self.program = need("pebble-challtestsrv", "pebble")
        self.port = ports.free()
        self.management = ports.free()
        self._running: Program | None = None

    @property
    def address(self) -> str:
        return f"{HERE}:{self.port}"

    def add(self, record: str, value: str) -> None:
        self._post("set-txt", {"host": f"{record}.", "value": value})

    def hook(self, folder: Path, log: Path) -> Path:
        """A program as an administrator would write one: it tells the server of records, and notes what it was asked."""
        path = folder / "dns-hook"
        path.write_text(
            "#!/bin/sh\nset -e\n"
            f'echo "$1 $2 $3" >> {log}\n'
            'case "$1" in present) do=set-txt ;; withdraw) do=clear-txt ;; *) exit 2 ;; esac\n'
            f'exec {need("python3", "python3")} - "$do" "$2" "$3" <<\'END\'\n'
            "import json, sys, urllib.request\n"
            "body = json.dumps({'host': sys.argv[2] + '.', 'value': sys.argv[3]}).encode()\n"
            f"urllib.request.urlopen('http://{HERE}:{self.management}/' + sys.argv[1], body, timeout=10).read()\n"
            "END\n"
        )
        path.chmod(0o755)
        return path

    def _post(self, what: str, document: Mapping[str, str]) -> None:
        body = json.dumps(document).encode()
        with urllib.request.urlopen(f"http://{HERE}:{self.management}/{what}", body, timeout=10):
            pass

    def __enter__(self) -> ChallengeDns:
        self._running = Program(
            [
                *(self.program, "-dns01", self.address, "-management", f"{HERE}:{self.management}"),
                *("-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv4", HERE, "-defaultIPv6", ""),
            ]
        )
        with ended_unless_ready(self._running):
            wait_until_open(self.management)
            wait_until_open(self.port)
        return self

    def __exit__(self, *_: object) -> None:
        if self._running is not None:
            self._running.kill()


class Bind:
    """bind9's named for some zones, on a free port. `key_name` and `secret` (base64) may change TXT records in them.

    `records` are lines of a zone file by zone; every zone has SOA, NS and its server's address. Files are the user's who
    starts it. Answers come for its own zones only, so that nothing leaves the machine.
    """

    def __init__(
        self,
        folder: Path,
        ports: Ports,
        zones: Mapping[str, Sequence[str]],
        *,
        algorithm: str = "hmac-sha256",
        updated: Sequence[str] | None = None,
    ) -> None:
        self.program = need("named", "bind9")
        self.port = ports.free()
        self.folder = folder
        self.key_name = "acme-key"
        self.algorithm = algorithm
        self.secret = base64.b64encode(secrets.token_bytes(32)).decode()
        self._running: Program | None = None
        folder.mkdir(parents=True)
        for zone, lines in zones.items():
            head = f"$TTL 60\n@ IN SOA ns.{zone}. hostmaster.{zone}. 1 60 30 600 5\n@ NS ns.{zone}.\nns A {HERE}\n"
            (folder / f"{zone}.zone").write_text(head + "".join(f"{line}\n" for line in lines))
        listed = zones if updated is None else updated
        (folder / "named.conf").write_text(self._configuration(zones, listed))

    def _configuration(
        self, zones: Mapping[str, Sequence[str]], updated: Sequence[str] | Mapping[str, Any]
    ) -> str:
        text = (
            f'key "{self.key_name}" {{ algorithm {self.algorithm}; secret "{self.secret}"; }};\n'
            f'options {{ directory "{self.folder}"; listen-on port {self.port} {{ {HERE}; }}; listen-on-v6 {{ none; }};\n'
            f'  pid-file "{self.folder}/named.pid"; session-keyfile "{self.folder}/session.key";\n'
            "  recursion no; dnssec-validation no; notify no; allow-query { any; }; };\n"
            "controls { };\n"
        )
        for zone in zones:
            grant = (
                f"update-policy {{ grant {self.key_name} zonesub TXT; }};"
                if zone in updated
                else "allow-update { none; };"
            )
            text += f'zone "{zone}" {{ type primary; file "{zone}.zone"; {grant} }};\n'
        return text

    @property
    def address(self) -> str:
        return f"{HERE}:{self.port}"

    def start(self) -> None:
        self._running = Program([self.program, "-g", "-c", self.folder / "named.conf", "-n", "1"])
        with ended_unless_ready(self._running):
            self._running.output.wait_for(r"\brunning$")
            wait_until_open(self.port)

    def stop(self) -> None:
        if self._running is not None:
            self._running.kill()
            self._running = None

    def __enter__(self) -> Bind:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class RenewalProxy:
    """Stands before a pebble, with its certificate: the directory names renewal information, which is answered here.

    `windows` maps a certificate's id to (status, headers, document); others get 404. `replaced` has what each new order says
    that it replaces; pebble itself ignores that field. `refusals` are given, in their order, to requests for a path (`/order-plz`)
    in place of pebble's answer.
    """

    def __init__(self, pebble: Pebble, ports: Ports) -> None:
        self.pebble = pebble
        self.port = ports.free()
        self.windows: dict[str, tuple[int, dict[str, str], Any]] = {}
        self.refusals: dict[str, list[tuple[int, dict[str, str], Any]]] = {}
        self.replaced: list[str] = []
        self.asked: list[str] = []
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                proxy.serve(self)

            do_HEAD = do_POST = do_GET

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer((HERE, self.port), Handler)
        self._server.socket = pebble.server_context().wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"https://{HERE}:{self.port}/dir"

    def serve(self, request: http.server.BaseHTTPRequestHandler) -> None:
        self.asked.append(request.path)
        if request.path.startswith("/renewal/"):
            status, headers, document = self.windows.get(
                request.path.removeprefix("/renewal/"), (404, {}, {})
            )
            self._answer(request, status, headers, json.dumps(document).encode())
            return
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        if self.refusals.get(request.path):
            status, headers, document = self.refusals[request.path].pop(0)
            self._answer(request, status, headers, json.dumps(document).encode())
            return
        self._note(request.path, body)
        status, headers, content = self._ask(request, body)
        if request.path == "/dir":
            document = json.loads(content)
            document["renewalInfo"] = f"https://{HERE}:{self.port}/renewal"
            content = json.dumps(document).encode()
        self._answer(request, status, headers, content)

    def _note(self, path: str, body: bytes) -> None:
        if path != "/order-plz":
            return
        text = json.loads(body)["payload"]
        payload = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        self.replaced.append(payload.get("replaces", ""))

    def _ask(
        self, request: http.server.BaseHTTPRequestHandler, body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        """The same of pebble, which makes its URLs of the Host that it is told."""
        headers = {
            name: request.headers[name] for name in ("Content-Type", "Accept") if name in request.headers
        }
        asked = urllib.request.Request(
            f"https://{HERE}:{self.pebble.port}{request.path}",
            data=body if request.command == "POST" else None,
            headers={**headers, "Host": f"{HERE}:{self.port}"},
            method=request.command,
        )
        try:
            with urllib.request.urlopen(asked, context=self.pebble.client_context(), timeout=20) as answer:
                return answer.status, dict(answer.headers.items()), answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers.items()), error.read()

    def _answer(
        self,
        request: http.server.BaseHTTPRequestHandler,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
    ) -> None:
        kept = ("content-type", "location", "replay-nonce", "retry-after", "link")
        with contextlib.suppress(OSError):
            request.send_response(status)
            for name, value in headers.items():
                if name.lower() in kept:
                    request.send_header(name, value)
            request.send_header("Content-Length", str(len(body)))
            request.send_header("Connection", "close")
            request.end_headers()
            if request.command != "HEAD":
                request.wfile.write(body)
            request.close_connection = True

    def __enter__(self) -> RenewalProxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class FaultyCa:
    """A server in a CA's place that does one thing to every connection: `hang`, `garbage`, `close` or `drip`, under TLS."""

    def __init__(self, pebble: Pebble, ports: Ports, fault: str) -> None:
        self.port = ports.free()
        self.fault = fault
        self.connections = 0
        self._context = pebble.server_context()
        self._sock = socket.create_server((HERE, self.port))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        return f"https://{HERE}:{self.port}/dir"

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                raw, _ = self._sock.accept()
            except OSError:
                return
            self.connections += 1
            with contextlib.suppress(OSError), self._context.wrap_socket(raw, server_side=True) as sock:
                self._treat(sock)

    def _treat(self, sock: ssl.SSLSocket) -> None:
        sock.settimeout(0.1)
        with contextlib.suppress(TimeoutError):
            sock.recv(65536)
        match self.fault:
            case "hang":
                self._over.wait(20)
            case "garbage":
                sock.sendall(os.urandom(4096))
            case "drip":
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                while not self._over.wait(0.1):
                    sock.sendall(b" ")

    def __enter__(self) -> FaultyCa:
        self._thread.start()
        return self

    def stop(self) -> None:
        """End all connections, and listen no more. May be called twice."""
        self._over.set()
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        self._thread.join(10)

    def __exit__(self, *_: object) -> None:
        self.stop()


@contextlib.contextmanager
def ended_unless_ready(program: Program) -> Iterator[None]:
    """A program that does not come up is not left running."""
    try:
        yield
    except BaseException:
        program.kill()
        raise


def wait_until_open(port: int) -> None:
    """Until somebody listens there; each try waits in the kernel, for a moment at most."""
    for _ in range(200):
        try:
            socket.create_connection((HERE, port), timeout=1).close()
        except OSError:
            threading.Event().wait(0.05)
        else:
            return
    pytest.fail(f"nothing listens on port {port}")
