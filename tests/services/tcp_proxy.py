"""A network between two programs that can be cut, stalled and slowed down."""

from __future__ import annotations

import asyncio
import contextlib
import threading

from .relay import PIECE, Peer, Relay


class TcpProxy(Relay):
    """Forwards to ``upstream_port`` of loopback, until it is told otherwise::

    with TcpProxy(server.port) as network:
        network.cut()      # connections are reset, new ones too
        network.stall()    # as if a cable was pulled: nothing is refused, and nothing arrives
        network.stall_at(b"x")  # the same, as soon as somebody sends that
        network.forget()   # as a firewall forgets: nothing arrives by the connections there are
        network.heal()
    """

    def __init__(self, upstream_port: int) -> None:
        super().__init__(upstream_port)
        self.delay_seconds = 0.0  # of each piece in each direction
        self._is_cut = False
        self._flows = asyncio.Event()
        self._flows.set()
        self._last_words = b""
        self.stalled = threading.Event()  # by ``stall_at``

    def cut(self) -> None:
        """Break all connections; new ones are broken as soon as they are made."""
        self._is_cut = True
        self.break_connections()

    def break_connections(self) -> None:
        """Those there are; new ones are served."""
        self.call(self.reset_all())

    def stall(self) -> None:
        """Hold back whatever is sent, also on new connections."""
        self.call(self._set_flow(flows=False))

    def stall_at(self, words: bytes) -> None:
        """Hold back whatever is sent, beginning with what has ``words`` in it."""
        self._last_words = words

    def forget(self) -> None:
        """Hold back for ever what is sent on the connections there are; new ones are served."""
        self.call(self._forget())

    def heal(self) -> None:
        """Forward again; what was held back while stalled arrives late."""
        self._is_cut = False
        self._last_words = b""
        self.call(self._set_flow(flows=True))

    async def serve(self, client: Peer) -> None:
        if self._is_cut:
            client.reset()
            return
        flows = self._flows
        await flows.wait()
        server = await self.connect()
        try:
            await asyncio.gather(self._forward(client, server, flows), self._forward(server, client, flows))
        finally:
            server.close()

    async def _set_flow(self, *, flows: bool) -> None:
        if flows:
            self._flows.set()
        else:
            self._flows.clear()

    async def _forget(self) -> None:
        self._flows.clear()
        self._flows = asyncio.Event()
        self._flows.set()

    async def _forward(self, source: Peer, target: Peer, flows: asyncio.Event) -> None:
        try:
            while piece := await source.reader.read(PIECE):
                if self._last_words and self._last_words in piece:
                    flows.clear()
                    self.stalled.set()
                await flows.wait()
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                await target.send(piece)
            await flows.wait()
            target.end()
        except OSError:
            with contextlib.suppress(OSError):
                target.reset()
            raise
