"""Settings as an operator would give them."""

import json
from collections.abc import Mapping

from opendify.settings import Settings, load_settings

API_BASE = "http://dify.test/v1"


def make_settings(models: Mapping[str, object] | None = None, /, **environ: str) -> Settings:
    """Open to everybody, with one app, `bot`, unless told otherwise."""
    table = models or {"bot": "app-bot"}
    return load_settings(
        {"DIFY_API_BASE": API_BASE, "MODEL_CONFIG": json.dumps(table), "AUTH_MODE": "open", **environ}
    )
