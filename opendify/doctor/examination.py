"""The whole examination, in the order in which one thing rests on another."""

from collections.abc import Iterator

from opendify.dify.client import DifyClient
from opendify.doctor import models, server, stores
from opendify.doctor.findings import Finding
from opendify.settings import ServerSettings, Settings
from opendify.stores.base import ConversationStore


def examine(
    settings: Settings,
    server_settings: ServerSettings,
    client: DifyClient,
    store: ConversationStore,
) -> Iterator[Finding]:
    """Findings as they are made; each model asks Dify twice, nothing is changed anywhere."""
    yield from server.examine_server(settings, server_settings)
    yield from stores.examine_stores(settings, store)
    yield from models.examine_models(settings, client)
