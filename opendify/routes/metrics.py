"""`/metrics`, for Prometheus and those who speak its language."""

import secrets
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import flask
from flask.typing import ResponseReturnValue

from opendify import __version__
from opendify.access.keys import KeyRing, presented_key
from opendify.conversation_admin.administration import ConversationAdmin
from opendify.records import Clock
from opendify.settings import Settings
from opendify.stores.base import StoreStatistics, StoreUnavailable
from opendify.telemetry.metrics import Metrics
from opendify.telemetry.processes import ProcessCollector

if TYPE_CHECKING:
    from prometheus_client.core import Metric

# Counting all rows of a large store takes a while, and they do not change much in a minute.
_COUNT_EVERY_SECONDS: Final = 60.0


def metrics_blueprint(
    metrics: Metrics, settings: Settings, keys: KeyRing, admin: ConversationAdmin, clock: Clock
) -> flask.Blueprint:
    """`/metrics`, which opens with the admin's key or one of its own; in open mode also to this machine."""
    blueprint = flask.Blueprint("metrics", __name__)
    about_service = _ServiceCollector(settings, admin, clock)

    def authenticate() -> None:
        request = flask.request
        own_key = settings.metrics.api_key
        presented = presented_key(request.headers)
        if own_key and secrets.compare_digest(presented.encode(), own_key.encode()):
            return
        keys.authenticate_observer(request.headers, request.remote_addr)

    @blueprint.get("/metrics")
    def show_metrics() -> ResponseReturnValue:
        authenticate()
        more = (ProcessCollector(metrics.folder), about_service)
        body, content_type = metrics.exposition(flask.request.headers.get("Accept", ""), more)
        return flask.Response(body, content_type=content_type)

    return blueprint


class _ServiceCollector:
    """What is found out when somebody looks: the release, what is remembered, whether traffic is wanted."""

    def __init__(self, settings: Settings, admin: ConversationAdmin, clock: Clock) -> None:
        self._settings = settings
        self._admin = admin
        self._clock = clock
        self._lock = threading.Lock()
        self._counted_at: float | None = None
        self._statistics: StoreStatistics | None = None

    def collect(self) -> Iterator["Metric"]:
        """See `prometheus_client.registry.Collector`."""
        from prometheus_client.core import GaugeMetricFamily as Family

        build = Family("opendify_build_info", "1, with the release as a label.", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
        is_draining = self._settings.drain_path.exists()
        yield Family("opendify_draining", "1 while `/health/ready` asks for no traffic.", value=is_draining)
        with suppress(OSError):
            backup_at = self._settings.last_backup_path.stat().st_mtime
            about = "When `opendify backup` last wrote one."
            yield Family("opendify_backup_last_success_timestamp_seconds", about, value=backup_at)
        statistics = self._count()
        yield Family(
            "opendify_store_up",
            "1 where the conversation store could be counted.",
            value=statistics is not None,
        )
        if statistics:
            mappings = "Conversations that are remembered."
            yield Family("opendify_conversation_mappings", mappings, value=statistics.conversations)
            users = "Persons whose conversations are remembered."
            yield Family("opendify_conversation_users", users, value=statistics.users)

    def _count(self) -> StoreStatistics | None:
        with self._lock:
            now = self._clock()
            if self._counted_at is None or now >= self._counted_at + _COUNT_EVERY_SECONDS:
                self._counted_at = now
                try:
                    self._statistics = self._admin.statistics()
                except StoreUnavailable:
                    self._statistics = None
            return self._statistics
