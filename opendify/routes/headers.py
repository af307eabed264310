"""The request's headers, looked up straight in the WSGI environment: each request asks for some twenty."""

import functools
from collections.abc import Mapping


class RequestHeaders:
    """As werkzeug's, which takes ten times as long for a name; see `records.Headers`."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def get(self, name: str, /) -> str | None:
        """See `records.Headers.get`."""
        return self._environ.get(_environ_key(name))


class HeaderPicker:
    """Finds at once which of many headers a request has: most have none of them."""

    def __init__(self, *names: str) -> None:
        self._names: dict[str, list[str]] = {}
        for name in names:
            self._names.setdefault(_environ_key(name), []).append(name)

    def pick(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Their values, by their names as they were given here."""
        present = self._names.keys() & environ.keys()
        return {name: environ[key] for key in present for name in self._names[key]} if present else {}


@functools.lru_cache(maxsize=512)
def _environ_key(name: str) -> str:
    key = name.upper().replace("-", "_")
    # Those of the body have no prefix in WSGI.
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
