"""Whether the service counts what it does, and who may read it."""

from dataclasses import dataclass

from opendify.configuration import readers as read
from opendify.configuration.fields import setting, setting_without_default


@dataclass(frozen=True, kw_only=True)
class MetricsSettings:
    """See the module."""

    enabled: bool = setting(
        "ENABLE_METRICS", read.flag, "true", "Whether `/metrics` is served, in Prometheus' form."
    )
    api_key: str | None = setting_without_default(
        "METRICS_API_KEY",
        read.token,
        None,
        "A key that opens `/metrics` and nothing else; the admin key opens it too.",
        is_secret=True,
    )
