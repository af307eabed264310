"""Settings as an operator would give them."""

import json
import tempfile
from collections.abc import Mapping

from opendify.settings import Settings, load_settings

API_BASE = "http://dify.test/v1"
# Removed when the tests end.
_HOMES = tempfile.TemporaryDirectory(prefix="opendify-tests-")


def memory_of_its_own() -> dict[str, str]:
    """A fresh place for conversations, whose turns need not be a second apart."""
    return {"DATA_DIR": tempfile.mkdtemp(dir=_HOMES.name), "DIFY_MESSAGE_TIME_RESOLUTION": "0"}


def make_settings(models: Mapping[str, object] | None = None, /, **environ: str) -> Settings:
    """Open to everybody, with one app, `bot`, unless told otherwise."""
    table = models or {"bot": "app-bot"}
    return load_settings(
        {
            "DIFY_API_BASE": API_BASE,
            "MODEL_CONFIG": json.dumps(table),
            "AUTH_MODE": "open",
            # Whoever tests something else need not wait for it.
            "DIFY_CONNECT_RETRIES": "0",
            **memory_of_its_own(),
            **environ,
        }
    )
