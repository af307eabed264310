"""What differs between the Dify versions that can be imitated: one table, read once a simulator."""

from __future__ import annotations

from dataclasses import dataclass

KNOWN_VERSIONS = ("0.15.3", "1.12.1", "1.13.0", "1.13.3", "1.14.2", "1.15.0", "1.16.1")
DEFAULT_VERSION = "1.12.1"


@dataclass(frozen=True)
class Quirks:
    """The behaviour of one version; a field is named after what that version does.

    `worker_streams`: chatflow and workflow streams run in a background worker,
    so their validation errors never become an HTTP status.
    """

    compact_events: bool
    charset_in_json: bool
    answers_index: bool
    pydantic_errors: bool
    suggests_routes_on_404: bool
    authenticate_header: bool
    info_names_mode: bool
    info_names_author: bool
    serves_site: bool
    lists_variables: bool
    serves_preview: bool
    delete_answers_204: bool
    names_after_query: bool
    delays_naming: bool
    inputs_every_turn: bool
    whole_metadata: bool
    sequence_numbers: bool
    timed_usage: bool
    zero_price_is_exponent: bool
    agent_usage_without_total: bool
    thinking_as_details: bool
    empty_answer_breaks_blocking: bool
    file_turn_relabels_text: bool
    checks_file_types: bool
    rich_uploads: bool
    upload_belongs_to_user: bool
    replace_has_reason: bool
    replaces_twice: bool
    new_graph_engine: bool
    stop_of_others_aborts_graph: bool
    worker_streams: bool
    blocking_chatflow_broken: bool
    end_before_finished: bool
    chatflow_without_end: bool
    files_listed_at_end: bool
    pauses: bool
    pauses_when_blocking: bool
    agent_answers_twice: bool
    reasoning_chunks: bool
    synthetic_ends: bool
    unknown_conversation_is_new: bool
    rate_limit_events: bool
    message_costs: bool
    extra_contents: bool


def read_version(text: str) -> tuple[int, ...]:
    """Raises `ValueError` for a version that cannot be imitated."""
    if text not in KNOWN_VERSIONS:
        raise ValueError(f"Unknown Dify version {text!r}; known are {', '.join(KNOWN_VERSIONS)}")
    return tuple(int(part) for part in text.split("."))


def quirks_of(text: str) -> Quirks:
    version = read_version(text)
    return Quirks(
        compact_events=version >= (1, 8, 1),
        charset_in_json=version >= (1, 11, 1),
        answers_index=version < (1, 8, 0),
        pydantic_errors=version >= (1, 11, 0),
        suggests_routes_on_404=version >= (1, 8, 0),
        authenticate_header=version >= (1, 8, 0),
        info_names_mode=version >= (1, 4, 0),
        info_names_author=version >= (1, 4, 3),
        serves_site=version >= (1, 4, 0),
        lists_variables=version >= (1, 3, 1),
        serves_preview=version >= (1, 7, 2),
        delete_answers_204=version >= (1, 3, 1),
        names_after_query=version >= (1, 11, 0),
        delays_naming=version >= (1, 11, 0),
        inputs_every_turn=version >= (1, 0, 0),
        whole_metadata=version >= (1, 4, 3),
        sequence_numbers=version < (1, 4, 1),
        timed_usage=version >= (1, 10, 0),
        zero_price_is_exponent=version < (1, 0, 0),
        agent_usage_without_total=version < (1, 0, 0),
        thinking_as_details=version < (1, 0, 0),
        empty_answer_breaks_blocking=version >= (1, 11, 0),
        file_turn_relabels_text=version >= (1, 11, 2),
        checks_file_types=version >= (1, 0, 0),
        rich_uploads=version >= (1, 7, 2),
        upload_belongs_to_user=version >= (1, 14, 0),
        replace_has_reason=version >= (1, 3, 1),
        replaces_twice=version < (1, 0, 0),
        new_graph_engine=version >= (1, 9, 0),
        stop_of_others_aborts_graph=version >= (1, 9, 0),
        worker_streams=version >= (1, 13, 0),
        blocking_chatflow_broken=version == (1, 13, 0),
        end_before_finished=version >= (1, 13, 1),
        chatflow_without_end=version == (1, 13, 0),
        files_listed_at_end=version >= (1, 13, 3),
        pauses=version >= (1, 13, 0),
        pauses_when_blocking=version >= (1, 14, 0),
        agent_answers_twice=version >= (1, 16, 0),
        reasoning_chunks=version >= (1, 15, 0),
        synthetic_ends=version >= (1, 15, 0),
        unknown_conversation_is_new=version == (1, 15, 0),
        rate_limit_events=version >= (1, 16, 0),
        message_costs=version >= (1, 16, 0),
        extra_contents=version >= (1, 13, 0),
    )
