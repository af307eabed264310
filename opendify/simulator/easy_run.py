"""Runs of chat and completion apps: text, then `message_end`."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence

from opendify.simulator import events
from opendify.simulator.failures import failure_code, failure_text
from opendify.simulator.model import PromptMessage, Say, Step, count_tokens, plan_answer
from opendify.simulator.reasoning import drop_reasoning, inline_reasoning, think_as_details
from opendify.simulator.turns import ModelFailedError, RunStoppedError, Turn
from opendify.simulator.usage import build_usage, empty_usage

Json = dict[str, object]

ANNOTATED_ANSWER = "Canned answer."
# The moderator looks at the text only now and then; this many tokens slip through.
TOKENS_BEFORE_MODERATION = 55
_PRESET_PAUSE_SECONDS = 0.01


def run_easy(turn: Turn, prompt: Sequence[PromptMessage]) -> Iterator[Json]:
    """The events of a chat or completion run; a failure ends it with `error`."""
    preset = preset_answer(turn)
    if preset is not None:
        yield from _answer_preset(turn, preset)
        return
    said: list[str] = []
    try:
        usage = yield from _speak(turn, prompt, said)
    except ModelFailedError as failure:
        yield fail_easy(turn, failure)
        return
    if "FILE" in turn.words:
        yield events.file_event(turn, events.image_url(turn))
    turn.store_answer("".join(said))
    yield events.end_event(turn, events.build_metadata(turn, usage))


def preset_answer(turn: Turn) -> str | None:
    """The text that answers without asking a model: an input filter's, or an annotation's."""
    moderation = turn.app.moderation
    if moderation and moderation.forbidden in turn.query:
        return moderation.input_text
    return ANNOTATED_ANSWER if "ANNOTATION" in turn.words else None


def moderated_text(turn: Turn, answer: str) -> str | None:
    """What the output filter puts in place of `answer`, if it steps in."""
    moderation = turn.app.moderation
    if moderation and moderation.forbidden in answer:
        return moderation.output_text
    return "Output was moderated." if "REPLACE" in turn.words else None


def plan_steps(turn: Turn, prompt: Sequence[PromptMessage]) -> list[Step]:
    """The model's steps as the app hands them on; only streamed calls see reasoning in old versions."""
    delay = turn.world.options.token_delay_seconds
    streamed = turn.streaming or turn.is_graph
    steps: Iterable[Step] = plan_answer(prompt, delay, streamed=streamed)
    old = turn.quirks.thinking_as_details
    if old and not streamed:
        return list(drop_reasoning(steps))
    steps = inline_reasoning(steps, details=old)
    return list(think_as_details(steps) if old else steps)


def fail_easy(turn: Turn, failure: ModelFailedError) -> Json:
    code, status = failure_code(failure.broken, turn)
    message = failure_text(failure.broken, turn)
    turn.store_failure(message, code)
    return events.error_event(turn, code, status, message)


def _speak(turn: Turn, prompt: Sequence[PromptMessage], said: list[str]) -> Generator[Json, None, Json]:
    """Stream the model's text into `said`, moderated at its end; returns the usage."""
    try:
        yield from _stream_text(turn, plan_steps(turn, prompt), said)
    except RunStoppedError:
        return _stopped_usage(turn, prompt, said)
    usage = build_usage(count_tokens(prompt), len(said), turn.elapsed_seconds, turn.quirks)
    replacement = moderated_text(turn, "".join(said))
    if replacement is None:
        yield _text(turn, "")
    else:
        yield from _replace(turn, replacement)
        said[:] = [replacement]
    return usage


def _stream_text(turn: Turn, steps: Iterable[Step], said: list[str]) -> Iterator[Json]:
    for item in turn.play(steps):
        if isinstance(item, Say):
            said.append(item.text)
            yield _text(turn, item.text)
            if len(said) >= TOKENS_BEFORE_MODERATION and moderated_text(turn, "".join(said)):
                return
        elif isinstance(item, dict):
            yield item


def _answer_preset(turn: Turn, preset: str) -> Iterator[Json]:
    annotation = None if turn.app.moderation else events.annotation_of(turn)
    for character in preset:
        yield _text(turn, character)
        turn.world.sleep(_PRESET_PAUSE_SECONDS if turn.streaming else 0)
    if turn.app.moderation and turn.quirks.replaces_twice:
        yield events.replace_event(turn, preset)
    turn.store_answer(preset)
    yield events.end_event(turn, events.build_metadata(turn, empty_usage(turn.quirks), annotation))


def _replace(turn: Turn, replacement: str) -> Iterator[Json]:
    yield events.replace_event(turn, replacement)
    if turn.quirks.replaces_twice:
        yield events.replace_event(turn, replacement)


def _stopped_usage(turn: Turn, prompt: Sequence[PromptMessage], said: Sequence[str]) -> Json:
    if turn.quirks.zero_price_is_exponent:
        return build_usage(count_tokens(prompt), len(said), turn.elapsed_seconds, turn.quirks)
    return empty_usage(turn.quirks, turn.elapsed_seconds)


def _text(turn: Turn, answer: str) -> Json:
    # A turn with the user's own file streams its text as `message_file` in newer versions.
    relabelled = turn.quirks.file_turn_relabels_text and turn.images > 0
    return events.text_event(turn, "message_file" if relabelled else "message", answer)
