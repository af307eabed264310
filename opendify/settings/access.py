"""Settings of keys, limits and the audit log."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Final, Literal, get_args

from opendify.configuration import readers as read
from opendify.configuration.fields import setting, setting_without_default

# ruff: noqa: RUF009 - `setting` makes a field, with an immutable default.

OnStoreFailure = Literal["open", "shut"]
ON_STORE_FAILURE: Final[tuple[OnStoreFailure, ...]] = get_args(OnStoreFailure)


@dataclass(frozen=True, kw_only=True)
class AccessSettings:
    """Who may call, how often, and what is written of it."""

    key_store: str = setting(
        "KEY_STORE",
        read.answer_store,
        "auto",
        "Where the keys of `opendify keys` and what is counted of them are kept: `auto` is beside the "
        "conversations (SQLite: `keys.db` and `limits.db` in `DATA_DIR`), `off` is nowhere; or a URL like "
        "that of `CONVERSATION_STORE_URL`.",
    )
    on_store_failure: OnStoreFailure = setting(
        "LIMITS_ON_STORE_FAILURE",
        read.one_of(ON_STORE_FAILURE),
        "open",
        "What becomes of requests whose limits cannot be looked up: `open` lets them in, `shut` answers 503.",
    )
    failed_logins_per_minute: int = setting(
        "FAILED_LOGINS_PER_MINUTE",
        read.whole_number(0, 1_000_000),
        "20",
        "Wrong keys from one address (IPv6: /64) in a minute, beyond which it is answered 429; good keys "
        "never are. 0 is no limit.",
    )
    passed_requests_per_minute: int = setting(
        "PASSTHROUGH_REQUESTS_PER_MINUTE",
        read.whole_number(0, 1_000_000_000),
        "0",
        "With `AUTH_MODE=passthrough`: requests a minute of each Dify app's key. 0 is no limit.",
    )
    passed_tokens_per_minute: int = setting(
        "PASSTHROUGH_TOKENS_PER_MINUTE",
        read.whole_number(0, 1_000_000_000_000),
        "0",
        "The same for tokens, as Dify counts them.",
    )
    passed_concurrency: int = setting(
        "PASSTHROUGH_CONCURRENCY",
        read.whole_number(0, 1_000_000),
        "0",
        "The same for requests that go on at once.",
    )
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = setting_without_default(
        "TRUSTED_PROXIES",
        read.networks,
        (),
        "Proxies whose `X-Forwarded-For` is believed: a comma list of addresses and ranges.",
    )
    audit_log_file: Path | None = setting_without_default(
        "AUDIT_LOG_FILE",
        read.path,
        None,
        "Where key and admin actions, refused access and limit hits are written; a relative path starts at "
        "the project's folder. Unset: `audit.log` in `DATA_DIR`.",
    )
    audit_log_max_bytes: int = setting(
        "AUDIT_LOG_MAX_BYTES",
        read.whole_number(0, 1024**4),
        str(16 * 1024**2),
        "The size at which the audit log goes on in a new file; the old ones stay. 0 is never.",
    )
