"""What differs between the Dify versions that can be imitated: one table."""

from __future__ import annotations

from dataclasses import dataclass

KNOWN_VERSIONS = ("0.15.3", "1.12.1", "1.13.0", "1.13.3", "1.14.2", "1.15.0", "1.16.1")
DEFAULT_VERSION = "1.12.1"

Version = tuple[int, ...]


def read_version(text: str) -> Version:
    """Raises `ValueError` for a version that cannot be imitated."""
    if text not in KNOWN_VERSIONS:
        raise ValueError(f"Unknown Dify version {text!r}; known are {', '.join(KNOWN_VERSIONS)}")
    return tuple(int(part) for part in text.split("."))


class _since:  # noqa: N801 - It reads as a word of the table.
    """Whether the version is this one or a later one."""

    def __init__(self, *version: int) -> None:
        self._version = version

    def __get__(self, quirks: Quirks, owner: type[Quirks]) -> bool:
        return self._holds(quirks.version)

    def _holds(self, version: Version) -> bool:
        return version >= self._version


class _until(_since):  # noqa: N801
    """Whether the version is older than this one."""

    def _holds(self, version: Version) -> bool:
        return version < self._version


class _only(_since):  # noqa: N801
    """Whether it is exactly this version."""

    def _holds(self, version: Version) -> bool:
        return version == self._version


@dataclass(frozen=True)
class Quirks:
    """The behaviour of one version; each row is named after what such a version does.

    `worker_streams`: chatflow and workflow streams run in a background worker,
    so their validation errors never become an HTTP status.
    """

    version: Version

    compact_events = _since(1, 8, 1)
    charset_in_json = _since(1, 11, 1)
    answers_index = _until(1, 8, 0)
    pydantic_errors = _since(1, 11, 0)
    suggests_routes_on_404 = _since(1, 8, 0)
    authenticate_header = _since(1, 8, 0)
    info_names_mode = _since(1, 4, 0)
    info_names_author = _since(1, 4, 3)
    serves_site = _since(1, 4, 0)
    lists_variables = _since(1, 3, 1)
    serves_preview = _since(1, 7, 2)
    delete_answers_204 = _since(1, 3, 1)
    names_after_query = _since(1, 11, 0)
    delays_naming = _since(1, 11, 0)
    inputs_every_turn = _since(1, 0, 0)
    whole_metadata = _since(1, 4, 3)
    sequence_numbers = _until(1, 4, 1)
    timed_usage = _since(1, 10, 0)
    zero_price_is_exponent = _until(1, 0, 0)
    agent_usage_without_total = _until(1, 0, 0)
    thinking_as_details = _until(1, 0, 0)
    empty_answer_breaks_blocking = _since(1, 11, 0)
    file_turn_relabels_text = _since(1, 11, 2)
    checks_file_types = _since(1, 0, 0)
    rich_uploads = _since(1, 7, 2)
    upload_belongs_to_user = _since(1, 14, 0)
    replace_has_reason = _since(1, 3, 1)
    replaces_twice = _until(1, 0, 0)
    new_graph_engine = _since(1, 9, 0)
    stop_of_others_aborts_graph = _since(1, 9, 0)
    worker_streams = _since(1, 13, 0)
    blocking_chatflow_broken = _only(1, 13, 0)
    end_before_finished = _since(1, 13, 1)
    chatflow_without_end = _only(1, 13, 0)
    files_listed_at_end = _since(1, 13, 3)
    pauses = _since(1, 13, 0)
    pauses_when_blocking = _since(1, 14, 0)
    agent_answers_twice = _since(1, 16, 0)
    reasoning_chunks = _since(1, 15, 0)
    synthetic_ends = _since(1, 15, 0)
    unknown_conversation_is_new = _only(1, 15, 0)
    rate_limit_events = _since(1, 16, 0)
    message_costs = _since(1, 16, 0)
    extra_contents = _since(1, 13, 0)


def quirks_of(text: str) -> Quirks:
    """Raises `ValueError` for a version that cannot be imitated."""
    return Quirks(read_version(text))
