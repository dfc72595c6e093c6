"""A worker's answer to `explain`: the delivery's own steps are walked, and the tester makes a tree of what they found.

The worker has what a delivery has: the resolver with what it believes, trusted roots, contexts, the client certificate's key. For a candidate
configuration the same is built beside what is in force, used once and dropped: a resolver of its own where the name servers or the wish for
DNSSEC differ, and a memory of MTA-STS policies that reads the disk and never writes to it. The key of a certificate that only the
candidate names is not with a worker before the commit; then none is shown, and the answer says so.

A few at a time: each may wait for strangers for a minute and more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from typing import Any

from gatepost.core.errors import Exit, OperatorError
from gatepost.core.tls import ClientHello, TlsWishes
from gatepost.net.resolver import Resolver
from gatepost.pki.doctor import diagnose
from gatepost.pki.judge import Purpose
from gatepost.pki.revocation import Crls
from gatepost.policy.dnssec import wants_dnssec
from gatepost.policy.hop import Hop
from gatepost.policy.recorded import plain_names, plain_sts, plain_tlsa
from gatepost.probe.explain import Delivery, Walked, delivery_view, explain
from gatepost.probe.explain_calls import Look, Looked
from gatepost.probe.explain_rules import Tables
from gatepost.relay.services import Runtime, Services
from gatepost.relay.sts import StsPolicies
from gatepost.relay.sts_fetch import PolicyFetcher
from gatepost.relay.walk import Calls, Walk
from gatepost.store.sts_cache import StsCache

MAX_AT_ONCE = 4
LOOK_UPS_AT_ONCE = 8
LOOK_UP_SECONDS = 60.0  # for all destinations together
NO_CERTIFICATE = "no client certificate is offered here: the worker has the key of the candidate's certificate only after the commit"

Build = Callable[[Mapping[str, Any], Crls], Runtime]
MakeResolver = Callable[[Runtime], Resolver]


class Explaining:
    """Answers the desk. `build` blocks and runs in a thread; `make_resolver` gives one that is closed here.

    `policies` is the cache of MTA-STS policies, to be read only.
    """

    def __init__(
        self,
        services: Callable[[], Services],
        build: Build,
        make_resolver: MakeResolver,
        policies: Callable[[], StsCache],
    ) -> None:
        self._services = services
        self._build = build
        self._make_resolver = make_resolver
        self._policies = policies
        self._running = 0

    async def answer(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """`{"domain", "live", "requiretls"}`, for a candidate also `"payload"` (store.payload, without keys) and `"same_certificate"`.

        The domain is normalised. Raises OperatorError.
        """
        with self._place():
            async with self._configuration(args) as (services, notes):
                return await _explained(services, args, notes)

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._running >= MAX_AT_ONCE:
            raise OperatorError(
                "too many destinations are being explained at this moment",
                "try again in a minute",
                code=Exit.TRY_AGAIN,
            )
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    async def look_up(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """What leads to the hosts of `"domains"` today, under `"payload"`: names, TLSA records, MTA-STS policies; nobody is called.

        A destination that cannot be resolved, or not in time, is left out. Raises OperatorError.
        """
        found: dict[str, Any] = {}
        places = asyncio.Semaphore(LOOK_UPS_AT_ONCE)

        async def one(services: Services, domain: str) -> None:
            async with places:
                runtime = services.runtime
                rule = runtime.destinations.find(domain, services.today())
                hops = (await Walk(services, runtime, domain, rule).look()).hops
                found[domain] = [_plain_hop(hop) for hop in hops]

        with self._place():
            async with self._configuration(args) as (services, _):
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_UP_SECONDS), asyncio.TaskGroup() as group:
                        for domain in args["domains"]:
                            group.create_task(one(services, str(domain)))
        return found

    @asynccontextmanager
    async def _configuration(
        self, args: Mapping[str, Any]
    ) -> AsyncIterator[tuple[Services, tuple[str, ...]]]:
        """The worker's services; for a candidate, others that use it."""
        services = self._services()
        if "payload" not in args:
            yield services, ()
            return
        before = services.runtime
        loop = asyncio.get_running_loop()
        runtime = await loop.run_in_executor(None, self._build, args["payload"], before.crls)
        runtime, notes = _with_certificate(runtime, before, same=bool(args["same_certificate"]))
        other = asks_otherwise(runtime, before)
        resolver = self._make_resolver(runtime) if other else services.resolver
        fetcher = PolicyFetcher(
            lambda: resolver, lambda: runtime.anchors, lambda: runtime.document.dns.allow_private_mx
        )
        sts = StsPolicies(lambda: resolver, fetcher, self._policies(), services.clock, _unheard)
        try:
            yield replace(services, runtime=runtime, resolver=resolver, sts=sts), notes
        finally:
            if other:
                await resolver.close()


def asks_otherwise(one: Runtime, other: Runtime) -> bool:
    """Two configurations differ in the name servers, or in what is wanted of them."""
    return (one.document.dns, wants_dnssec(one.document, one.destinations)) != (
        other.document.dns,
        wants_dnssec(other.document, other.destinations),
    )


def _with_certificate(runtime: Runtime, before: Runtime, *, same: bool) -> tuple[Runtime, tuple[str, ...]]:
    """A candidate with the client certificate in force, where it means the same one under the same settings."""
    name = runtime.document.destination_controls.global_.certificate
    settings = runtime.document.tls_settings.outbound == before.document.tls_settings.outbound
    if same and settings and before.client_certificate == name:
        kept = {(name, form): before.client_contexts[name, form] for form in ClientHello}
        contexts = {**runtime.client_contexts, **kept}
        return replace(runtime, client_certificate=name, client_contexts=contexts), ()
    return runtime, (NO_CERTIFICATE,)


def _unheard(text: str) -> None:
    """What goes wrong with a policy stands in the explanation."""


async def _explained(services: Services, args: Mapping[str, Any], notes: tuple[str, ...]) -> dict[str, Any]:
    runtime, domain, live = services.runtime, str(args["domain"]), bool(args["live"])
    tables = Tables(runtime.document, runtime.destinations, runtime.routes, services.today())
    wishes = TlsWishes(requiretls=bool(args.get("requiretls")))
    delivery = await _walk(services, tables, domain, wishes, live=live)
    return explain(
        tables,
        domain,
        version=runtime.version,
        pending="payload" in args,
        live=live,
        delivery=delivery,
        notes=notes,
        requiretls=wishes.requiretls,
    ).document()


async def _walk(
    services: Services, tables: Tables, domain: str, wishes: TlsWishes, *, live: bool
) -> Delivery:
    runtime = services.runtime
    walk = Walk(services, runtime, domain, runtime.destinations.find(domain, tables.today), wishes)
    found = await walk.look()
    planned = [(hop, walk.plan(hop)) for hop in found.hops]
    came = await walk.call(found.hops) if live and found.hops else Calls()
    walked = Walked(
        planned,
        found.look_ups,
        found.policies,
        found.left_out,
        services.resolver.verdicts,
        found.failure,
        found.status,
        found.permanent,
        came.calls if live else None,
        came.failure,
        came.status,
    )
    return delivery_view(tables, walked, _look(services, runtime))


def _plain_hop(hop: Hop) -> dict[str, Any]:
    return {
        "host": hop.host,
        "address": str(hop.address),
        "port": hop.port,
        "names": plain_names(hop.names),
        "tlsa": plain_tlsa(hop.tlsa),
        "sts": plain_sts(*hop.sts, "", None) if hop.sts is not None else None,
    }


def _look(services: Services, runtime: Runtime) -> Look:
    """Judge and doctor with what the delivery judges by."""

    def look(chain: Sequence[bytes]) -> Looked:
        now = services.clock.now()
        verdict = services.judge.judge_chain(chain, runtime.anchors, now, Purpose.SERVER, runtime.crls)
        return Looked(verdict, diagnose(chain, runtime.anchors, now, crls=runtime.crls))

    return look
