"""A wire between client and server that can be cut, at the worst moment too (around a COMMIT), slowed down, or kept."""

import asyncio
import contextlib


class Wire:
    """Forwards a port of loopback to the server; ``cut`` makes the next COMMIT fail "before" or "after" its effect.

    ``delay`` holds back all that is sent, in seconds and each way; while it is ``down``, nobody gets through.
    """

    def __init__(self, port: int) -> None:
        self.server_port = port
        self.cut: str | None = None
        self.cuts = 0
        self.delay = 0.0
        self.down = False
        self.opened = 0
        self._tasks: set[asyncio.Task] = set()

    async def open(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        self._server.close()
        await self.hang_up()

    async def hang_up(self) -> None:
        """End every connection there is."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, client_reader, client_writer) -> None:
        self.opened += 1
        if self.down:
            client_writer.close()
            return
        self._tasks.add(asyncio.current_task())
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.server_port)
        except OSError:
            self._tasks.discard(asyncio.current_task())
            client_writer.close()
            return
        try:
            back = asyncio.create_task(self._forward(reader, client_writer))
            with contextlib.suppress(ConnectionError):
                while data := await client_reader.read(65536):
                    if self.cut and b"COMMIT" in data:
                        cut, self.cut = self.cut, None
                        self.cuts += 1
                        back.cancel()
                        await asyncio.gather(back, return_exceptions=True)
                        if cut == "after":
                            writer.write(data)
                            await reader.read(65536)
                        break
                    if self.delay:
                        await asyncio.sleep(self.delay)
                    writer.write(data)
            back.cancel()
            await asyncio.gather(back, return_exceptions=True)
        except asyncio.CancelledError:
            pass  # hung up: only we cancel it
        finally:
            writer.close()
            client_writer.close()
            self._tasks.discard(asyncio.current_task())

    async def _forward(self, reader, writer) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                if self.delay:
                    await asyncio.sleep(self.delay)
                writer.write(data)
            writer.close()
