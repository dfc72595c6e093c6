"""The desk's way to the ports of ACME challenges: asked of the supervisor, held while an order runs, closed behind it.

The supervisor binds them, since the desk may not open ports below 1024, and passes the descriptors ahead of its answer.
It keeps no copy, so a port is open exactly as long as a socket here is; when the desk dies, the kernel closes it.
"""

from __future__ import annotations

import socket

from gatepost.app.channel import Channel, ChannelClosed, DescriptorInbox, PeerBug
from gatepost.app.sockets import ChallengeKind
from gatepost.core.errors import Exit, OperatorError

ASK_SECONDS = 10.0


class ChallengePorts:
    """Implements `certs.order_challenges.Ports`. One order at a time."""

    def __init__(self, channel: Channel, inbox: DescriptorInbox) -> None:
        self._channel = channel
        self._inbox = inbox

    async def open(self, kind: str, /) -> list[socket.socket]:
        """Listening sockets for `http-01` or `tls-alpn-01`; the caller closes them.

        Raises OperatorError that names the port and the address that cannot be had.
        """
        for one in ChallengeKind:
            # Of an order that was cut off between question and answer: its port would seem taken.
            self._inbox.clear(f"{one} ")
        try:
            labels = await self._channel.request(
                "challenge-ports", {"kind": ChallengeKind(kind)}, ASK_SECONDS
            )
        except (ChannelClosed, PeerBug, TimeoutError) as error:
            raise OperatorError(
                f"the supervisor did not open the ports for {kind}: {error or 'no answer in time'}",
                "try again; the log says more",
                code=Exit.TRY_AGAIN,
            ) from None
        return [socket.socket(fileno=self._inbox.take(label)) for label in labels]
