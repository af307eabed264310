"""The app that a worker has loaded, for those who tell it what its server knows."""

from typing import Any

from gunicorn.workers.base import Worker


def extensions_of(worker: Worker) -> dict[str, Any]:
    """Those of its Flask app; none where it has not loaded any.

    `worker.wsgi` may be a wrapper, which a worker of ours puts around the app.
    """
    extensions: dict[str, Any] = getattr(getattr(worker.app, "callable", None), "extensions", {})
    return extensions
