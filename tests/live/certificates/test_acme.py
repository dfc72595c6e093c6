"""Certificates from pebble: every kind of proof, interruptions, wishes of the CA, and a CA that is in trouble."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import secrets
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tests.fakes.acme_ca import MemoryJournal
from tests.live.certificates.acme_ca import HERE, Bind, ChallengeDns, FaultyCa, Pebble, RenewalProxy
from tests.live.peers.ports import Ports
from tests.live.peers.processes import PROJECT, Program, need
from tests.live.peers.processes import run as run_program

from gatepost.certs.acme.account import Account, AccountKey, ExternalAccount, change_key, find, register
from gatepost.certs.acme.challenges import Dns01, Http01, Proof, TlsAlpn01
from gatepost.certs.acme.dns_hook import DnsHook
from gatepost.certs.acme.dns_update import DnsUpdate, TsigKey
from gatepost.certs.acme.errors import AcmeFailed
from gatepost.certs.acme.issuing import Issued, OrderRequest, obtain, revoke_certificate
from gatepost.certs.acme.propagation import Propagation
from gatepost.certs.acme.renewal_info import certificate_id_of, renewal_window
from gatepost.net.challenge_servers import Http01Responder, TlsAlpn01Responder
from gatepost.net.dns_client import DnsClient, NameServer
from gatepost.net.http import OperatorHttp
from gatepost.pki.certificate import read_certificate
from gatepost.pki.keys import KeyKind, generate
from gatepost.policy.renew import next_try, when_to_renew
from gatepost.wire.acme_objects import ChallengeKind

T = TypeVar("T")
DAY = 86_400.0


class RealClock:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


CLOCK = RealClock()


def run(main: Callable[[], Awaitable[T]]) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(60):
            return await main()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(bounded())


class Challenges:
    """Shows proofs with the product's own parts: servers on the CA's ports, a solver for DNS."""

    def __init__(
        self, pebble: Pebble, *prefers: ChallengeKind, solver: DnsHook | DnsUpdate | None = None
    ) -> None:
        self.prefers = prefers
        self.solver = solver
        self.presented: list[Proof] = []
        self._pebble = pebble
        self._http: Http01Responder | None = None
        self._tls: TlsAlpn01Responder | None = None

    async def __aenter__(self) -> Challenges:
        self._http = Http01Responder(_listening(self._pebble.http_port))
        self._tls = TlsAlpn01Responder(_listening(self._pebble.tls_port))
        await self._http.start()
        await self._tls.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._http is not None
        assert self._tls is not None
        await self._http.close()
        await self._tls.close()

    async def present(self, proof: Proof, /) -> None:
        assert self._http is not None
        assert self._tls is not None
        self.presented.append(proof)
        match proof:
            case Http01():
                self._http.present(proof.name, proof.path, proof.key_authorization)
            case TlsAlpn01():
                self._tls.present(proof.server_name, proof.certificate, proof.key)
            case Dns01():
                assert self.solver is not None
                await self.solver.present(proof)

    async def withdraw(self, proof: Proof, /) -> None:
        assert self._http is not None
        assert self._tls is not None
        match proof:
            case Http01():
                self._http.withdraw(proof.name, proof.path)
            case TlsAlpn01():
                self._tls.withdraw(proof.server_name)
            case Dns01():
                assert self.solver is not None
                await self.solver.withdraw(proof)


def _listening(port: int) -> socket.socket:
    sock = socket.create_server((HERE, port))
    sock.setblocking(False)
    return sock


@contextlib.asynccontextmanager
async def client(pebble: Pebble, *, timeout: float = 20.0) -> AsyncIterator[OperatorHttp]:
    """The product's HTTP client; at the end its connections are gone, so that the loop can be closed."""
    http = OperatorHttp(pebble.trust_pem, timeout=timeout)
    before = set(own_connections())
    try:
        yield http
    finally:
        await http.close()
        for _ in range(500):
            if not set(own_connections()) - before:
                break
            await asyncio.sleep(0.01)


def own_connections() -> Iterator[str]:
    """The kernel's numbers of this process's open TCP connections: TLS ends with a word of the peer's, after `close`."""
    mine = set()
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            mine.add(str(entry.readlink()))
    for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[3] != LISTENING and f"socket:[{words[9]}]" in mine:
            yield words[9]


LISTENING = "0A"


async def issue(
    pebble: Pebble,
    names: tuple[str, ...],
    *prefers: ChallengeKind,
    solver: DnsHook | DnsUpdate | None = None,
    url: str = "",
    external: ExternalAccount | None = None,
    **wanted: Any,
) -> Issued:
    """One certificate for a new account."""
    async with client(pebble) as http, Challenges(pebble, *prefers, solver=solver) as challenges:
        account = await register(
            http, url or pebble.url, AccountKey.generate(), CLOCK, terms_agreed=True, external=external
        )
        request = OrderRequest(names, generate(KeyKind.P256), **wanted)
        return await obtain(request, account, http, challenges, MemoryJournal(), CLOCK)


def verified(pebble: Pebble, issued: Issued, folder: Path, name: str, *, root: int = 0) -> None:
    """openssl finds the chain good for that name or address."""
    pem = [x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in issued.chain]
    (folder / "leaf.pem").write_bytes(pem[0])
    (folder / "rest.pem").write_bytes(b"".join(pem[1:]))
    (folder / "root.pem").write_bytes(pebble.root(root))
    option = "-verify_ip" if name.replace(".", "").isdigit() else "-verify_hostname"
    done = run_program(
        [
            *(need("openssl", "openssl"), "verify", "-purpose", "sslserver", option, name),
            *("-CAfile", folder / "root.pem", "-untrusted", folder / "rest.pem", folder / "leaf.pem"),
        ]
    )
    assert done.returncode == 0, done.stderr.decode()


@pytest.fixture(scope="module")
def shared(ports: Ports, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Pebble, ChallengeDns]]:
    """One CA for the tests that do not need another one."""
    with ExitStack() as stack:
        dns = stack.enter_context(ChallengeDns(ports))
        folder = tmp_path_factory.mktemp("pebble")
        yield stack.enter_context(Pebble(folder, ports, dns=dns.address, alternates=1)), dns


@pytest.mark.parametrize("kind", [ChallengeKind.HTTP01, ChallengeKind.TLS_ALPN01])
def test_names_and_an_address_are_proved_by_our_own_servers(
    shared: tuple[Pebble, ChallengeDns], tmp_path: Path, kind: ChallengeKind
) -> None:
    pebble, _ = shared

    async def main() -> Issued:
        return await issue(pebble, ("mx.example.net", "mx2.example.net", HERE), kind)

    issued = run(main)
    for name in ("mx.example.net", "mx2.example.net", HERE):
        verified(pebble, issued, tmp_path, name)
    assert issued.remarks == ()


def test_a_wildcard_is_proved_by_a_program(shared: tuple[Pebble, ChallengeDns], tmp_path: Path) -> None:
    pebble, dns = shared
    log = tmp_path / "log"

    async def main() -> Issued:
        hook = DnsHook(str(dns.hook(tmp_path, log)))
        return await issue(pebble, ("*.example.net", "mx.example.org"), ChallengeKind.DNS01, solver=hook)

    issued = run(main)
    verified(pebble, issued, tmp_path, "any.example.net")
    verified(pebble, issued, tmp_path, "mx.example.org")
    calls = [line.split() for line in log.read_text().splitlines()]
    assert sorted((action, record) for action, record, _ in calls) == [
        ("present", "_acme-challenge.example.net"),
        ("present", "_acme-challenge.mx.example.org"),
        ("withdraw", "_acme-challenge.example.net"),
        ("withdraw", "_acme-challenge.mx.example.org"),
    ]


def test_a_program_that_does_nothing_is_seen_before_the_ca_looks(
    shared: tuple[Pebble, ChallengeDns], tmp_path: Path
) -> None:
    """C41, DNS propagation: the record is not there, and no try at the CA is spent on it."""
    pebble, dns = shared
    hook_path = tmp_path / "hook"
    hook_path.write_text("#!/bin/sh\nexit 0\n")
    hook_path.chmod(0o755)
    server = NameServer(HERE, dns.port)
    looked = Propagation(DnsClient((server,)), CLOCK, servers=(server,), seconds=2.0)

    async def main() -> None:
        await issue(
            pebble,
            ("never.example.net",),
            ChallengeKind.DNS01,
            solver=DnsHook(str(hook_path), propagation=looked),
        )

    with pytest.raises(
        AcmeFailed, match=r"never\.example\.net: _acme-challenge\.never\.example\.net is not visible"
    ):
        run(main)


# --- RFC 2136 --------------------------------------------------------------------------------------------------

ZONES = {
    "example.net": ["mx A 127.0.0.1", "sub.deep A 127.0.0.1", "_acme-challenge.alias CNAME alias.acme.test."],
    "acme.test": [],
    "locked.test": ["mx A 127.0.0.1"],
}


@pytest.fixture(scope="module")
def bind(ports: Ports, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bind]:
    folder = tmp_path_factory.mktemp("bind") / "named"
    with Bind(folder, ports, ZONES, updated=("example.net", "acme.test")) as server:
        yield server


@pytest.fixture(scope="module")
def with_bind(ports: Ports, bind: Bind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    """A CA that asks this very server."""
    with Pebble(tmp_path_factory.mktemp("pebble-bind"), ports, dns=bind.address) as pebble:
        yield pebble


def solver_of(
    bind: Bind, *, secret: str = "", key_name: str = "", algorithm: str = "", zone: str = ""
) -> DnsUpdate:
    server = NameServer(HERE, bind.port)
    own = DnsClient((server,))
    return DnsUpdate(
        server,
        TsigKey.from_text(key_name or bind.key_name, secret or bind.secret, algorithm or bind.algorithm),
        zone=zone,
        client=own,
        propagation=Propagation(own, CLOCK, port=bind.port, seconds=10.0),
    )


def records_of(bind: Bind, name: str) -> str:
    done = run_program(
        [need("dig", "bind9-dnsutils"), "+short", "-p", str(bind.port), f"@{HERE}", name, "TXT"]
    )
    return done.stdout.decode().strip()


@pytest.mark.parametrize("zone", ["", "example.net"])
def test_records_come_by_dynamic_update(bind: Bind, with_bind: Pebble, tmp_path: Path, zone: str) -> None:
    names = ("*.example.net", "example.net", "sub.deep.example.net")

    async def main() -> Issued:
        return await issue(with_bind, names, ChallengeKind.DNS01, solver=solver_of(bind, zone=zone))

    issued = run(main)
    for name in ("any.example.net", "example.net", "sub.deep.example.net"):
        verified(with_bind, issued, tmp_path, name)
    assert records_of(bind, "_acme-challenge.example.net") == ""


def test_an_alias_leads_the_update_into_its_zone(bind: Bind, tmp_path: Path) -> None:
    """pebble follows no alias across zones that it cannot resolve itself; dig shows where the record went."""
    proof = Dns01(
        "alias.example.net",
        "_acme-challenge.alias.example.net",
        "LHDhK3oGRvkiefQnx7OOczTY5Tic_xZ6HcMOc_gmtoM",
    )

    async def add() -> None:
        await solver_of(bind).present(proof)

    async def remove() -> None:
        await solver_of(bind).withdraw(proof)

    run(add)
    assert records_of(bind, "alias.acme.test") == f'"{proof.value}"'
    run(remove)
    assert records_of(bind, "alias.acme.test") == ""


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("name", "it does not know the key"),
        ("secret", "the key's secret is another there"),
        ("algorithm", "it does not know the key"),
        ("zone", "the key may not change this record there"),
        ("unknown", "the zone of _acme-challenge.mx.elsewhere.test is not found: REFUSED"),
    ],
)
def test_what_the_dns_server_refuses_is_said(bind: Bind, fault: str, sentence: str) -> None:
    name = {"zone": "mx.locked.test", "unknown": "mx.elsewhere.test"}.get(fault, "mx.example.net")
    proof = Dns01(name, f"_acme-challenge.{name}", "LHDhK3oGRvkiefQnx7OOczTY5Tic_xZ6HcMOc_gmtoM")
    solver = {
        "name": lambda: solver_of(bind, key_name="another-key"),
        "secret": lambda: solver_of(bind, secret="c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I="),
        "algorithm": lambda: solver_of(bind, algorithm="hmac-sha512"),
    }.get(fault, lambda: solver_of(bind))

    async def main() -> None:
        await solver().present(proof)

    with pytest.raises(AcmeFailed) as caught:
        run(main)
    assert sentence in caught.value.text
    assert bind.secret not in caught.value.text
    assert records_of(bind, proof.record) == ""


# --- accounts and the CA's wishes ------------------------------------------------------------------------------------


def test_a_ca_that_knows_its_customers(
    ports: Ports, shared: tuple[Pebble, ChallengeDns], tmp_path: Path
) -> None:
    keys = {"kid-1": secrets.token_bytes(48), "kid-2": secrets.token_bytes(48)}
    with Pebble(tmp_path, ports, dns=shared[1].address, external=keys) as pebble:

        async def with_key(external: ExternalAccount | None) -> Issued:
            return await issue(pebble, ("mx.example.net",), ChallengeKind.HTTP01, external=external)

        def bound(key_id: str, key: bytes) -> ExternalAccount:
            return ExternalAccount.from_text(key_id, base64.urlsafe_b64encode(key).decode())

        assert run(lambda: with_key(bound("kid-1", keys["kid-1"]))).chain
        with pytest.raises(AcmeFailed) as caught:
            run(lambda: with_key(None))
        assert caught.value.permanent
        assert caught.value.kind == "externalAccountRequired"
        with pytest.raises(AcmeFailed, match="the CA refused a new account"):
            run(lambda: with_key(bound("kid-1", keys["kid-2"])))


def test_an_account_is_found_and_its_key_changed(shared: tuple[Pebble, ChallengeDns]) -> None:
    pebble, _ = shared

    async def main() -> None:
        async with client(pebble) as http:
            old, new = AccountKey.generate(), AccountKey.generate()
            assert await find(http, pebble.url, old, CLOCK) is None
            made = await register(
                http, pebble.url, old, CLOCK, terms_agreed=True, contact=["postmaster@example.net"]
            )
            assert await register(http, pebble.url, old, CLOCK) == made
            changed = await change_key(http, made, new, CLOCK)
            assert changed.url == made.url
            assert await find(http, pebble.url, new, CLOCK) == changed
            assert await find(http, pebble.url, old, CLOCK) is None
            with pytest.raises(AcmeFailed) as caught:
                await register(http, pebble.url, AccountKey.generate(), CLOCK)
            assert caught.value.kind == "userActionRequired"

    run(main)


def test_half_of_all_nonces_refused(
    ports: Ports, shared: tuple[Pebble, ChallengeDns], tmp_path: Path
) -> None:
    with Pebble(tmp_path, ports, dns=shared[1].address, reject=50) as pebble:
        issued = run(lambda: issue(pebble, ("a.example.net", "b.example.net"), ChallengeKind.HTTP01))
        verified(pebble, issued, tmp_path, "a.example.net")
        assert any("badNonce" in line or "nonce" in line.lower() for line in pebble.output)


def test_the_chain_that_the_configuration_prefers(
    shared: tuple[Pebble, ChallengeDns], tmp_path: Path
) -> None:
    pebble, _ = shared
    other = x509.load_pem_x509_certificate(pebble.root(1))
    name = str(other.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)

    async def main(preferred: str) -> Issued:
        return await issue(pebble, ("mx.example.net",), ChallengeKind.HTTP01, preferred_issuer=preferred)

    verified(pebble, run(lambda: main(name)), tmp_path, "mx.example.net", root=1)
    taken = run(lambda: main("No Such Root"))
    verified(pebble, taken, tmp_path, "mx.example.net", root=0)
    assert taken.remarks == ("no chain leads to `No Such Root`: the CA's own choice is taken",)


def test_a_certificate_of_six_days_is_renewed_in_time_and_without_a_loop(
    ports: Ports, shared: tuple[Pebble, ChallengeDns], tmp_path: Path
) -> None:
    with Pebble(tmp_path, ports, dns=shared[1].address, validity=6 * 86_400) as pebble:
        leaf = read_certificate(
            run(lambda: issue(pebble, ("mx.example.net",), ChallengeKind.HTTP01)).chain[0]
        )
    obtained = time.time()
    assert 5.9 * DAY < leaf.not_after - leaf.not_before < 6.1 * DAY
    when = when_to_renew(leaf.not_before, leaf.not_after, obtained, obtained=obtained)
    assert 3.9 * DAY < when.at - obtained < 4.1 * DAY
    assert next_try(1, leaf.not_after, when.at) < leaf.not_after - 1.9 * DAY


def test_what_was_issued_can_be_revoked(shared: tuple[Pebble, ChallengeDns]) -> None:
    pebble, _ = shared

    async def main() -> None:
        async with client(pebble) as http, Challenges(pebble, ChallengeKind.HTTP01) as challenges:
            account = await register(http, pebble.url, AccountKey.generate(), CLOCK, terms_agreed=True)
            request = OrderRequest(("mx.example.net",), generate(KeyKind.P256))
            issued = await obtain(request, account, http, challenges, MemoryJournal(), CLOCK)
            serial = x509.load_der_x509_certificate(issued.chain[0]).serial_number
            assert await asyncio.to_thread(pebble.status_of, serial) == "Valid"
            for _ in range(2):  # the second time it is revoked already
                await revoke_certificate(issued.chain[0], account, http, CLOCK, reason=4)
            assert await asyncio.to_thread(pebble.status_of, serial) == "Revoked"

    run(main)


def test_renewal_information_and_what_is_replaced(
    ports: Ports, shared: tuple[Pebble, ChallengeDns], tmp_path: Path
) -> None:
    pebble, _ = shared
    with RenewalProxy(pebble, ports) as proxy:
        issued = run(lambda: issue(pebble, ("mx.example.net",), ChallengeKind.HTTP01, url=proxy.url))
        leaf = issued.chain[0]
        name = certificate_id_of(leaf)
        window = {"suggestedWindow": {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"}}

        async def ask() -> Any:
            async with client(pebble) as http:
                return await renewal_window(http, proxy.url, leaf, CLOCK)

        assert run(ask) is None
        proxy.windows[name] = (200, {"Retry-After": "3600"}, window)
        found = run(ask)
        assert (found.end - found.start, found.retry_after) == (DAY, 3600.0)
        assert when_to_renew(0, time.time() + DAY, time.time(), found).due(time.time() + 1)
        run(lambda: issue(pebble, ("mx.example.net",), ChallengeKind.HTTP01, url=proxy.url, replaces=name))
        assert proxy.replaced == ["", name]


# --- interruptions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["order-plz", "authZ", "chalZ", "finalize-order", "my-order", "certZ"])
def test_an_order_survives_the_death_of_the_client(
    shared: tuple[Pebble, ChallengeDns], tmp_path: Path, step: str
) -> None:
    """A process that orders is killed right behind a request of each kind; another one ends the same order."""
    pebble, _ = shared
    key, journal = tmp_path / "account.json", tmp_path / "journal.json"
    command = [sys.executable, "-m", "tests.live.certificates.acme_process", pebble.url, tmp_path]
    (tmp_path / "trust.pem").write_bytes(pebble.trust_pem)
    ports = {"HTTP_PORT": str(pebble.http_port)}
    with Program(command, environment={**ports, "DIE_BEHIND": step}, folder=PROJECT) as first:
        assert first.wait() == -signal.SIGKILL
    orders = [line for line in pebble.output if "Added order" in line]
    left = json.loads(journal.read_text()) if journal.exists() else None
    assert (left is None) == (step == "order-plz")  # killed before the answer could be kept
    with Program(command, environment=ports, folder=PROJECT) as second:
        said = second.output.wait_for(r"^chain of (\d+) for order (\S+)")
        assert second.wait() == 0
    assert key.exists()
    made = [line for line in pebble.output if "Added order" in line]
    # Killed while pebble looked for its proof, the client finds an order that failed, and makes another.
    fresh = len(made) - len(orders)
    assert fresh == (1 if left is None else 0) or (step == "chalZ" and fresh == 1)
    assert left is None or fresh or said[2] == left["url"]


# --- a CA in trouble --------------------------------------------------------------------------------------------------


def test_a_ca_that_is_down_and_one_that_forgot_everything(
    ports: Ports, shared: tuple[Pebble, ChallengeDns], tmp_path: Path
) -> None:
    pebble = Pebble(tmp_path, ports, dns=shared[1].address)
    journal = MemoryJournal()
    request = OrderRequest(("mx.example.net",), generate(KeyKind.P256))

    async def order(account: Account) -> Issued:
        async with client(pebble) as http, Challenges(pebble, ChallengeKind.HTTP01) as challenges:
            return await obtain(request, account, http, challenges, journal, CLOCK)

    async def account_there(key: AccountKey) -> Account:
        async with client(pebble) as http:
            return await register(http, pebble.url, key, CLOCK, terms_agreed=True)

    key = AccountKey.generate()
    with pebble:
        account = run(lambda: account_there(key))
    with pytest.raises(AcmeFailed) as caught:
        run(lambda: order(account))
    assert caught.value.text == f"{HERE}:{pebble.port} did not answer the directory: connection refused"
    assert not caught.value.permanent
    with pebble:
        with pytest.raises(AcmeFailed) as caught:
            run(lambda: order(account))
        assert caught.value.kind == "accountDoesNotExist"  # what tells the caller to register anew
        account = run(lambda: account_there(key))
        assert run(lambda: order(account)).chain


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("hang", "no answer within 1 s"),
        ("drip", "no answer within 1 s"),
        ("garbage", "the answer is not HTTP"),
        ("close", "the connection was closed without an answer"),
    ],
)
def test_a_server_that_is_no_ca(
    ports: Ports, shared: tuple[Pebble, ChallengeDns], fault: str, sentence: str
) -> None:
    pebble, _ = shared
    with FaultyCa(pebble, ports, fault) as faulty:

        async def main() -> None:
            async with client(pebble, timeout=1.0) as http:
                try:
                    await register(http, faulty.url, AccountKey.generate(), CLOCK, terms_agreed=True)
                finally:
                    await asyncio.to_thread(faulty.stop)

        begun = time.monotonic()
        with pytest.raises(AcmeFailed) as caught:
            run(main)
        assert sentence in caught.value.text
        assert time.monotonic() - begun < 20
        assert faulty.connections <= 6  # three questions; aiohttp makes two of one that was cut off


def test_a_ca_that_has_enough_of_us(ports: Ports, shared: tuple[Pebble, ChallengeDns]) -> None:
    pebble, _ = shared
    words = {"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many new orders", "status": 429}
    with RenewalProxy(pebble, ports) as proxy:

        async def main() -> Issued:
            return await issue(pebble, ("mx.example.net",), ChallengeKind.HTTP01, url=proxy.url)

        proxy.refusals["/order-plz"] = [(429, {"Retry-After": "7200"}, words)]
        with pytest.raises(AcmeFailed) as caught:
            run(main)
        assert caught.value.text == "the CA refused the new order: too many new orders (rateLimited)"
        assert (caught.value.retry_after, caught.value.permanent) == (7200.0, False)
        proxy.refusals["/order-plz"] = [(503, {"Retry-After": "1"}, {}), (429, {"Retry-After": "1"}, words)]
        assert run(main).chain
        assert proxy.asked.count("/order-plz") == 4


def test_a_ca_that_nobody_vouches_for(
    shared: tuple[Pebble, ChallengeDns], ports: Ports, tmp_path: Path
) -> None:
    pebble, _ = shared
    stranger = Pebble(tmp_path, ports, dns=pebble.dns)

    async def main() -> None:
        async with client(stranger) as http:
            await register(http, pebble.url, AccountKey.generate(), CLOCK, terms_agreed=True)

    with pytest.raises(AcmeFailed, match=r"certificate|issuer"):
        run(main)


def test_the_cas_words_for_every_name_that_is_not_proved(shared: tuple[Pebble, ChallengeDns]) -> None:
    """Nothing listens where the CA looks: it says so for each name."""
    pebble, _ = shared

    class Deaf(Challenges):
        async def present(self, proof: Proof, /) -> None:
            if not proof.name.startswith("bad"):
                await super().present(proof)

    async def main() -> None:
        async with client(pebble) as http, Deaf(pebble, ChallengeKind.HTTP01) as challenges:
            account = await register(http, pebble.url, AccountKey.generate(), CLOCK, terms_agreed=True)
            names = ("good.example.net", "bad1.example.net", "bad2.example.net")
            request = OrderRequest(names, generate(KeyKind.P256))
            await obtain(request, account, http, challenges, MemoryJournal(), CLOCK)

    with pytest.raises(AcmeFailed) as caught:
        run(main)
    assert caught.value.text == "2 names could not be proved"
    assert sorted(detail.split(":")[0] for detail in caught.value.details) == [
        "bad1.example.net",
        "bad2.example.net",
    ]
    assert all("404" in detail for detail in caught.value.details)
