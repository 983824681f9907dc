"""What not every server has: previews of URLs, bridged networks."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from client_api.third_party_networks import ThirdPartyNetworkHandlers
from client_api.url_previews import UrlPreviewHandlers
from federation.outbound.addresses import socket_factory
from homeserver.app.appservices import AppserviceServices
from homeserver.app.foundation import Foundation
from homeserver.app.media import media_store
from homeserver.runtime.page_fetcher import PageFetcher
from homeserver.services.appservices import Appservices
from homeserver.services.third_party_networks import ThirdPartyNetworks
from homeserver.services.url_previews import UrlPreviews


@dataclass(frozen=True, slots=True)
class Features:
    """The handlers, and what has to be ended."""

    handlers: tuple[object, ...]
    closing: tuple[Callable[[], Awaitable[None]], ...]

    async def stop(self) -> None:
        """End the connections."""
        for close in self.closing:
            await close()


def build_features(base: Foundation, appservices: Appservices, talking: AppserviceServices) -> Features:
    """Nothing else needs any of these."""
    previews = _previews(base)
    networks = ThirdPartyNetworks(appservices, talking.http)
    return Features((UrlPreviewHandlers(previews), ThirdPartyNetworkHandlers(networks)), (previews.close,))


def _previews(base: Foundation) -> UrlPreviews:
    config = base.config.url_previews
    fetcher = PageFetcher(
        user_agent=f"Hearth (URL previews; {base.config.public_base_url})",
        socket_factory=socket_factory(config.allow_private_addresses),
        timeout_s=config.timeout,
    )
    return UrlPreviews(
        base.database, media_store(base), fetcher, config, base.server_name, base.clock, base.tasks
    )
