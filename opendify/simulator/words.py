"""Steering words: capitals in a question that make the simulator misbehave, or answer otherwise.

A word stands alone, and may carry a value after a colon.

The model obeys (`model.py`, `agent_run.py`):

- `MEMORY`: answers the JSON list of [role, text] that it was given; `SYS`: repeats its system prompt.
- `LONG:n`: n words; `BIG:n`: one event of n characters; `EMPTY`; `UNICODE`: what careless readers break on.
- `SLOW:s`: silent before the first token; `GAP:s`: in the middle; `RATE:n`: n words a second.
- `THINK`: a `<think>` block; `REASON`: separate reasoning.
- `TOOL:name`, `TOOL2:name:{json}`: an agent calls a tool, in one or two rounds; `REACT`: in ReAct's way.
- `FILE`: makes a picture.
- `FAILnnn`: its provider answers that status; `FAILMID`: breaks off; `ERRMID`: sends an error in mid-answer.

The app obeys: `REPLACE` (output moderation), `ANNOTATION`, `CITE` (`CITE:host`: a page there), `PAUSE`
(human input, from 1.13.0; from 1.14.0 on its form can be answered).

The connection obeys (`faults.py`):

- `STATUS:nnn`: an HTTP error; `HTML`: a web page with 200.
- `DROP:n`: the connection breaks after n events; `EOF:n`: the stream ends there, without an end event.
- `QUEUED:s`: from 1.13.0, a chatflow or workflow waits that long for its worker, after one ping.
- `HANG`: nothing at all; `PINGONLY`; `BADJSON`: a broken event; `UNKNOWNEVENT`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

_WORD = re.compile(r"(?<![\w:])([A-Z]{3,}\d{0,3})(?::([\w.-]+))?(?![\w])")
_FAILURE = re.compile(r"FAIL(\d{3})")
_TOOL = re.compile(r"(?<!\w)TOOL(\d?):(\w+)(?::(\{.*\}))?", re.DOTALL)


@dataclass(frozen=True)
class ToolCall:
    """A tool the model shall call, in each of `rounds` rounds; `arguments` is JSON."""

    name: str
    rounds: int
    arguments: str

    @property
    def draws(self) -> bool:
        """The tool makes an image instead of a text."""
        return self.name == "qrcode_generator"


@dataclass(frozen=True)
class SteeringWords:
    """The words found in one question."""

    values: Mapping[str, str]
    tool: ToolCall | None

    def __contains__(self, word: str) -> bool:
        return word in self.values

    def number(self, word: str, default: float = 0.0) -> float:
        """The word's value; `default` when the word is absent or its value is no number."""
        try:
            return float(self.values.get(word, ""))
        except ValueError:
            return default

    def count(self, word: str, default: int = 0) -> int:
        return int(self.number(word, default))

    @property
    def failing_status(self) -> int | None:
        """The HTTP status that the model's provider shall answer."""
        found = (_FAILURE.fullmatch(word) for word in self.values)
        return next((int(match[1]) for match in found if match), None)


def read_words(text: str) -> SteeringWords:
    values = {match[1]: match[2] or "" for match in _WORD.finditer(text)}
    return SteeringWords(values, _read_tool(text))


def _read_tool(text: str) -> ToolCall | None:
    match = _TOOL.search(text)
    if match is None:
        return None
    return ToolCall(match[2], int(match[1] or 1), _json_or_nothing(match[3] or "{}"))


def _json_or_nothing(text: str) -> str:
    try:
        json.loads(text)
    except ValueError:
        return "{}"
    return text
