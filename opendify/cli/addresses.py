"""Where this machine's own service is, and what opens it."""

from dataclasses import dataclass
from typing import Final

from opendify.settings import (
    ServerSettings,
    Settings,
    load_server_settings,
    load_settings,
    models_are_configured,
)

_EVERYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - What may be set, not what is bound.


@dataclass(frozen=True, slots=True)
class Service:
    """A running one: its URL, ending in `/v1`, a key where one is known, and the models of its table."""

    url: str
    key: str | None = None
    models: tuple[str, ...] = ()


def own_service() -> Service:
    """This machine's, as its settings say.

    Where no model is configured it is the one that `./start_development.sh` starts, whose
    models only it knows.

    Raises:
        SettingsError: They are wrong.
    """
    server = load_server_settings()
    if not models_are_configured():
        return Service(f"http://127.0.0.1:{server.port}/v1")
    settings = load_settings()
    url = service_url(settings, server, everywhere="127.0.0.1")
    return Service(url, _own_key(settings), settings.model_names)


def service_url(settings: Settings, server: ServerSettings, *, everywhere: str) -> str:
    """The service's URL, ending in `/v1`; `everywhere` stands for a host that means all addresses."""
    host = everywhere if server.host in _EVERYWHERE else server.host
    return f"http://{f'[{host}]' if ':' in host else host}:{server.port}{settings.url_prefix}/v1"


def _own_key(settings: Settings) -> str | None:
    """A key that this machine may use: one of the settings, or the first start's."""
    if settings.api_keys:
        return settings.api_keys[0].key
    first = settings.data_dir / "api-key"
    return first.read_text().strip() if first.is_file() else None
