"""Whether faults of ours are reported."""

from dataclasses import dataclass

from opendify.configuration import readers as read
from opendify.configuration.fields import setting_without_default


@dataclass(frozen=True, kw_only=True)
class SentrySettings:
    """See the module."""

    dsn: str | None = setting_without_default(
        "SENTRY_DSN",
        read.token,
        None,
        "Where faults of ours are reported, without any content; needs the extra `opendify[sentry]`.",
        alias="API_SENTRY_DSN",
        is_secret=True,
    )
