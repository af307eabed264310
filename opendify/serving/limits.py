"""How long a client may take, and how much it may send."""

from dataclasses import dataclass
from pathlib import Path

from opendify.settings import ServerSettings


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Seconds for a request's head, for its body, and without any progress of its answer."""

    head_seconds: float
    body_seconds: float
    write_seconds: float
    drain_seconds: float
    """So long a worker that leaves still waits for the rest of a request that has begun."""
    most_body_bytes: int
    most_form_bytes: int
    spool_folder: Path
    """Where large forms lie until all of them has come."""


def client_limits(settings: ServerSettings) -> ClientLimits:
    """What an operator set."""
    return ClientLimits(
        head_seconds=settings.request_head_timeout_seconds,
        body_seconds=settings.request_body_timeout_seconds,
        write_seconds=settings.client_write_timeout_seconds,
        drain_seconds=settings.drain_seconds,
        most_body_bytes=settings.max_request_bytes,
        most_form_bytes=max(settings.max_request_bytes, settings.files.max_form_bytes),
        spool_folder=settings.data_dir / "incoming",
    )
