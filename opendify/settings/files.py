"""Where files are kept, how much room they may take, and for how long."""

from dataclasses import dataclass

from opendify.configuration import readers as read
from opendify.configuration.fields import setting, setting_without_default

SECONDS_PER_DAY = 86_400
FORM_OVERHEAD_BYTES = 1_048_576
"""So much may a form's fields and headers take beside its file."""


@dataclass(frozen=True, kw_only=True)
class FileSettings:
    """The settings of the room `files`."""

    store_url: str = setting(
        "FILE_STORE_URL",
        read.file_store_url,
        "file:///data/files",
        "Where files are kept: `file:///data/NAME` (a folder in `DATA_DIR`), or "
        "`s3://BUCKET/PREFIX?endpoint=…&region=…` (needs the extra `opendify[s3]`).",
    )
    store_access_key: str | None = setting_without_default(
        "FILE_STORE_ACCESS_KEY",
        read.secret_text,
        None,
        "The access key of that object storage. Unset: what the environment has for AWS' own tools.",
        is_secret=True,
    )
    store_secret_key: str | None = setting_without_default(
        "FILE_STORE_SECRET_KEY",
        read.secret_text,
        None,
        "The secret that belongs to the access key.",
        is_secret=True,
    )
    max_bytes: int = setting(
        "FILES_MAX_BYTES",
        read.whole_number(1_024, 10 * 1024**3),
        str(100 * 1024**2),
        "The largest file in bytes that can be uploaded to `/v1/files`.",
    )
    max_total_bytes: int = setting(
        "FILES_MAX_TOTAL_BYTES",
        read.whole_number(1_024, 10**15),
        str(10 * 1024**3),
        "Bytes of all files together; what would be more is refused.",
    )
    max_bytes_per_key: int = setting(
        "FILES_MAX_BYTES_PER_KEY",
        read.whole_number(4_096, 10**15),
        str(5 * 1024**3),
        "Bytes of all files of one API key together, each counting at least 4,096.",
    )
    ttl_days: float = setting(
        "FILES_TTL_DAYS",
        read.days(0, 36_500),
        "30",
        "Days after which an uploaded file is deleted, if its upload named no earlier time; 0 is never.",
    )

    proxy: bool = setting(
        "FILES_PROXY",
        read.flag,
        "false",
        "Whether files that an app makes are copied here and served under links of `PUBLIC_URL`, so that "
        "clients need not reach Dify.",
    )
    public_url: str = setting_without_default(
        "PUBLIC_URL",
        read.public_url,
        "",
        "The address under which clients reach this service, without `/v1`; `FILES_PROXY` needs it.",
    )
    link_ttl_days: float = setting(
        "FILES_LINK_TTL_DAYS",
        read.days(0.01, 36_500),
        "30",
        "Days after which such a link ends, and the copy is deleted.",
    )
    secret_key: str | None = setting_without_default(
        "SECRET_KEY",
        read.token,
        None,
        "Signs links; all machines that share files need the same. Unset: the first use makes one in "
        "`DATA_DIR`.",
        is_secret=True,
    )

    @property
    def max_form_bytes(self) -> int:
        """The largest form with a file in it."""
        return self.max_bytes + FORM_OVERHEAD_BYTES

    def expires_at(self, now: float, after_seconds: float | None = None) -> int | None:
        """When a file of `now` expires that is wanted for so long; None is never."""
        limits = [after_seconds, self.ttl_days * SECONDS_PER_DAY or None]
        seconds = [each for each in limits if each is not None]
        return int(now + min(seconds)) if seconds else None
