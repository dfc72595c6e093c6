"""The public port in the desk: taken up with each configuration, without a restart and without cutting a connection (architecture 8).

How it works. `prepare` opens the keys of the certificates that are shown, through the supervisor, and builds the TLS context; what goes
wrong there refuses the commit. After the switch `take_up` shows it, and takes the sockets that the supervisor has bound. It keeps what
is served already: only a socket that is new is asked for, and one that is gone is closed.

Without the section `public_web` nothing is built and nothing of the server is loaded.
"""

from __future__ import annotations

import asyncio
import socket
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gatepost.app.channel import Channel, ChannelClosed, DescriptorInbox, OnBug, PeerBug
from gatepost.app.sockets import PUBLIC_WEB
from gatepost.config.load import load_plain
from gatepost.config.model import Document
from gatepost.core.errors import Exit, OperatorError
from gatepost.core.events import Warned
from gatepost.core.ports import Clock, Emit
from gatepost.store.config_store import ConfigStore
from gatepost.store.payload import version_payload
from gatepost.store.secrets import Keeper
from gatepost.store.tls_reports_incoming import IncomingReports

if TYPE_CHECKING:
    from gatepost.app.public_site import PublicSite, ReportPost
    from gatepost.net.public_server import PublicServer
    from gatepost.net.tls import Identity, ServerContext

ASK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Shown:
    """What one configuration shows to the world. Without a host there is no context, and every connection is closed."""

    context: ServerContext | None
    site: PublicSite


class PublicWeb:
    """The public port of the running gateway."""

    def __init__(
        self,
        channel: Channel,
        inbox: DescriptorInbox,
        keeper: Keeper,
        emit: Emit,
        clock: Clock,
        on_bug: OnBug,
        incoming: IncomingReports,
        report_came: Callable[[], None],
    ) -> None:
        self._channel = channel
        self._inbox = inbox
        self._keeper = keeper
        self._emit = emit
        self._clock = clock
        self._on_bug = on_bug
        self._incoming = incoming
        self._report_came = report_came
        self._reports: ReportPost | None = None
        self._server: PublicServer | None = None

    async def start(self, store: ConfigStore) -> None:
        """Take up the configuration in force; what is wrong with it is logged, and the desk goes on."""
        version = store.latest()
        if version is None or version.content.document.get("public_web") is None:
            return
        try:
            await self.take_up(await self.prepare(version_payload(store, version)))
        except OperatorError as error:
            self._warn(error.message)

    async def prepare(self, payload: Mapping[str, Any]) -> Shown | None:
        """Build what a configuration shows; None for one without the port. Raises OperatorError."""
        if payload["document"].get("public_web") is None:
            return None
        document = await asyncio.to_thread(load_plain, payload["document"])
        wanted = sorted(set(document.public_hosts.values()))
        identities = {name: await self._identities(name, payload["profiles"].get(name)) for name in wanted}
        version, reports = int(payload["version"]), self._post()
        return await asyncio.to_thread(_build, document, identities, version, reports)

    def _post(self) -> ReportPost:
        """Where reports are posted to; its limits go on with the next configuration."""
        if self._reports is None:
            from gatepost.app.public_site import ReportPost

            self._reports = ReportPost(self._incoming, self._clock, self._report_came)
        return self._reports

    async def _identities(self, name: str, profile: Mapping[str, Any] | None) -> tuple[Identity, ...]:
        """A certificate with its keys, which the supervisor opens. Raises OperatorError."""
        from gatepost.net.tls import Identity
        from gatepost.pki.keys import SecretBytes
        from gatepost.pki.profile import split_keys

        sealed = b64decode(profile["sealed"]) if profile is not None else b""
        if profile is None or not sealed:
            raise OperatorError(
                f"{PUBLIC_WEB}: the certificate {name} is not there, or has no private key",
                "import it with its key",
                code=Exit.FAULTY_CONFIGURATION,
            )
        secret = await self._keeper.open(name, profile["revision"], sealed)
        keys = split_keys(SecretBytes(secret))
        return tuple(
            Identity(chain.encode(), key.reveal())
            for chain, key in zip(profile["chains"], keys, strict=False)
        )

    async def take_up(self, shown: Shown | None) -> None:
        """Show it from now on; it does not fail any more, what cannot be had is logged."""
        if shown is None:
            await self.close()
            return
        self._opened().show(shown.context, shown.site)
        try:
            await self._follow_sockets()
        except (OperatorError, ChannelClosed, PeerBug, TimeoutError) as error:
            self._warn(f"the supervisor did not hand over its socket: {error or 'no answer in time'}")

    async def _follow_sockets(self) -> None:
        server = self._opened()
        self._inbox.clear(PUBLIC_WEB)
        labels = await self._channel.request("public-ports", {}, ASK_SECONDS)
        for label in server.places - set(labels):
            server.leave(label)
        for label in labels:
            handed = socket.socket(fileno=self._inbox.take(label))
            if label in server.places:
                handed.close()
            else:
                server.listen(label, handed)

    def _opened(self) -> PublicServer:
        if self._server is None:
            from gatepost.net.public_server import PublicServer
            from gatepost.net.reactor import Reactor

            reactor = Reactor(asyncio.get_running_loop())
            self._server = PublicServer(reactor, self._clock.now, self._warn, self._on_bug)
        return self._server

    async def close(self) -> None:
        """Close the port at once, if it is open."""
        server, self._server = self._server, None
        if server is not None:
            await server.close()

    def _warn(self, text: str) -> None:
        self._emit(Warned(self._clock.now(), f"{PUBLIC_WEB}: {text}"))


def _build(
    document: Document,
    identities: Mapping[str, tuple[Identity, ...]],
    version: int,
    reports: ReportPost,
) -> Shown:
    """The context and the site. Blocks; raises OperatorError."""
    from gatepost.app.public_site import PublicSite
    from gatepost.app.runtime import tls_parameters
    from gatepost.net.errors import ContextError
    from gatepost.net.public_server import HTTP_PROTOCOLS
    from gatepost.net.tls import ServerContext

    hosts = document.public_hosts
    try:
        context = (
            ServerContext.build(
                (),
                tls_parameters(document.tls_settings.web),
                scope=f"{PUBLIC_WEB}/{version}",
                by_name={host: identities[name] for host, name in hosts.items()},
                protocols=HTTP_PROTOCOLS,
            )
            if hosts
            else None
        )
    except ContextError as error:
        raise OperatorError(
            f"{PUBLIC_WEB}: a TLS context cannot be built: {error}",
            "look at tls_settings.web and at the certificates that the public port shows",
            code=Exit.FAULTY_CONFIGURATION,
        ) from None
    return Shown(context, PublicSite.of(document, reports))
