"""Where this machine's own service is."""

from typing import Final

from opendify.settings import ServerSettings, Settings

_EVERYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - What may be set, not what is bound.


def service_url(settings: Settings, server: ServerSettings, *, everywhere: str) -> str:
    """The service's URL, ending in `/v1`; `everywhere` stands for a host that means all addresses."""
    host = everywhere if server.host in _EVERYWHERE else server.host
    return f"http://{f'[{host}]' if ':' in host else host}:{server.port}{settings.url_prefix}/v1"
