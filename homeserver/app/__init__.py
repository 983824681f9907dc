"""The composition root: builds everything once, in the order in which things need each other, and takes it down."""

import asyncio
import gc
import logging
import signal
from typing import Any

from homeserver.app.foundation import lay_foundation
from homeserver.app.server import Server
from homeserver.config import Config

log = logging.getLogger(__name__)
# Hardly anything here is garbage in circles (a batch of writes takes its own apart), and the caches are many long-lived
# objects: looking through them less often saves a tenth of the CPU of a request.
_GC_THRESHOLDS = (25_000, 25, 50)


async def serve(config: Config, worker: int | None) -> None:
    """Serve until SIGTERM or SIGINT. `worker`: which of the processes on the same ports this is, None for the only one.

    OSError where a port cannot be had.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    base = await lay_foundation(config, worker)
    server = Server(base, share_ports=worker is not None)
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    gc.enable()  # `hearth run` has it off until here
    try:
        await server.start()
        log.info("serving %s at %s", config.server.name, ", ".join(server.http.addresses))
        await stop.wait()
        log.info("stopping")
    finally:
        await server.stop()


async def perform_order(config: Config, order: str, arguments: dict[str, Any]) -> Any:
    """Do what the operator orders, where no server runs that could. Raises MatrixError."""
    base = await lay_foundation(config, None)
    try:
        server = Server(base)
        await server.reading.load()
        return await server.operator.perform(order, arguments)
    finally:
        await base.close()


async def migrate(config: Config) -> None:
    """Bring the database to this version's form."""
    base = await lay_foundation(config, None)
    await base.close()
