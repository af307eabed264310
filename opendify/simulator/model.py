"""The model behind every app: it echoes what it was given, and obeys steering words.

Pure: a prompt goes in, a list of steps comes out; who plays them brings the clock.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Literal

from opendify.simulator.words import SteeringWords, read_words

Role = Literal["system", "user", "assistant"]

_TOKEN = re.compile(r"\s*\S+|\s+$")
_FILLER = [
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "forbiddenword",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]
_BADWORD_LENGTH = 78
_REASONING = "I reason about the request step by step."
_THOUGHT = "<think>\nThe user said something.\nI will echo it.\n</think>\n\n"
_TOKENS_BEFORE_FAILURE = 3
_TOKENS_BEFORE_GAP = 4
_HARD_TO_READ = " \u2028 \u2029 \u0085 \x00 \ud800 \U0001f30d \u4f60\u597d e\u0301"


@dataclass(frozen=True)
class PromptMessage:
    """One message as the model gets it; images are only counted."""

    role: Role
    text: str
    images: int = 0


@dataclass(frozen=True)
class Say:
    """One token of the answer."""

    text: str


@dataclass(frozen=True)
class Reason:
    """One token of separate reasoning (`reasoning_content`)."""

    text: str


@dataclass(frozen=True)
class Wait:
    """Silence before the next step."""

    seconds: float


@dataclass(frozen=True)
class Break:
    """The model fails: before its first token with `status`, or in the middle."""

    kind: Literal["status", "dropped", "error_chunk"]
    status: int = 0


Step = Say | Reason | Wait | Break


def plan_answer(
    prompt: Sequence[PromptMessage], token_delay_seconds: float = 0.0, *, streamed: bool = True
) -> list[Step]:
    """The steps of the answer to `prompt`, whose last message is the user's.

    A model that is not asked to stream cannot send an error in mid-answer.
    """
    words = read_words(prompt[-1].text)
    failing = words.failing_status
    if failing is not None:
        return [Break("status", failing)]
    lead: list[Step] = [Wait(words.number("SLOW"))] if "SLOW" in words else []
    reasoning = [Reason(token) for token in split_tokens(_REASONING)] if "REASON" in words else []
    said = [Say(token) for token in split_tokens(_answer_text(prompt, words))]
    return lead + _paced(_interrupted([*reasoning, *said], words, streamed), words, token_delay_seconds)


def split_tokens(text: str) -> list[str]:
    """Words, each with the space before it, as the recordings' model streams them."""
    return _TOKEN.findall(text)


def text_of(steps: Iterable[Step]) -> str:
    return "".join(step.text for step in steps if isinstance(step, Say))


def count_tokens(messages: Iterable[PromptMessage]) -> int:
    return sum(len(message.text.split()) for message in messages)


def _answer_text(prompt: Sequence[PromptMessage], words: SteeringWords) -> str:
    if "EMPTY" in words:
        return ""
    if "MEMORY" in words:
        return json.dumps([[message.role, message.text] for message in prompt], ensure_ascii=False)
    if "BADWORD" in words:
        return " ".join(islice(cycle(_FILLER), _BADWORD_LENGTH))
    if "BIG" in words:
        return "x" * words.count("BIG", 1)
    prior = sum(message.role != "system" for message in prompt[:-1])
    if "LONG" in words:
        return " ".join([f"ECHO prior={prior}", *(f"w{index}" for index in range(words.count("LONG", 1)))])
    return (_THOUGHT if "THINK" in words else "") + _echo(prompt, prior, words)


def _echo(prompt: Sequence[PromptMessage], prior: int, words: SteeringWords) -> str:
    last = prompt[-1]
    seen = sum(message.images for message in prompt)
    parts = [f"ECHO prior={prior} images={last.images}"]
    if seen != last.images:
        parts.append(f"all_images={seen}")
    if "SYS" in words:
        system = "".join(message.text for message in prompt if message.role == "system")
        parts.append(f"system=<<{system}>>")
    hard = _HARD_TO_READ if "UNICODE" in words else ""
    return f"{' '.join(parts)} :: {last.text}{hard}"


def _interrupted(steps: Sequence[Step], words: SteeringWords, streamed: bool) -> list[Step]:
    if "FAILMID" in words:
        return [*steps[:_TOKENS_BEFORE_FAILURE], Break("dropped")]
    if "ERRMID" in words and streamed:
        return [*steps[:_TOKENS_BEFORE_FAILURE], Break("error_chunk")]
    if "GAP" in words:
        return [*steps[:_TOKENS_BEFORE_GAP], Wait(words.number("GAP")), *steps[_TOKENS_BEFORE_GAP:]]
    return list(steps)


def _paced(steps: Sequence[Step], words: SteeringWords, delay_seconds: float) -> list[Step]:
    rate = words.number("RATE")
    pause = 1.0 / rate if rate > 0 else delay_seconds
    if pause <= 0:
        return list(steps)
    return [paced for step in steps for paced in (Wait(pause), step)]
