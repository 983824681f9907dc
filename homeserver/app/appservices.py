"""Application services: telling them what happens, and letting them ask whether they can be reached."""

from dataclasses import dataclass

from client_api.appservices import AppserviceHandlers
from federation.outbound.transport import ssl_context
from homeserver.app.foundation import Foundation
from homeserver.app.rooms import RoomReading
from homeserver.runtime.http_client import HttpClient
from homeserver.services.appservice_ping import AppservicePing
from homeserver.services.appservice_sender import AppserviceSender
from homeserver.services.appservices import Appservices


@dataclass(frozen=True, slots=True)
class AppserviceServices:
    """What goes out to application services, and the handlers that only they use."""

    http: HttpClient
    sender: AppserviceSender
    handlers: AppserviceHandlers

    async def start(self) -> None:
        """Take up the work where it was left."""
        await self.sender.start()

    async def stop(self) -> None:
        """Note how far each of them is."""
        await self.sender.stop()
        await self.http.close()


def build_appservices(base: Foundation, reading: RoomReading, appservices: Appservices) -> AppserviceServices:
    """The rooms are only read."""
    config = base.config.federation
    tls = ssl_context(config.ca_files, config.verify_certificates) if any(a.url for a in appservices.all) else None
    http = HttpClient(tls=tls)
    sender = AppserviceSender(
        base.database,
        reading.events,
        reading.heads,
        appservices,
        http,
        base.clock,
        base.randomness,
        base.tasks,
        process_name=base.process_name,
    )
    return AppserviceServices(http, sender, AppserviceHandlers(AppservicePing(http, base.clock)))
