"""What the rooms hand each other."""

import fnmatch
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec

from opendify.settings import AppMode, DifyApp

_VERSION: Final = re.compile(r"(\d+)\.(\d+)")

Clock = Callable[[], float]
"""Seconds; which clock, the receiver says."""


class Headers(Protocol):
    """A request's headers; names in any case."""

    def get(self, name: str, /) -> str | None:
        """The header's value, or None."""
        ...


def _never() -> bool:
    return False


class Client(msgspec.Struct, frozen=True):
    """The connection on which an answer is waited for.

    `is_gone` tells whether it was closed; `socket` is the number of a file that `poll`
    can watch for that, or -1 where the server shows none.
    """

    is_gone: Callable[[], bool] = _never
    socket: int = -1


NOBODY: Final = Client()
"""A client that never leaves."""


@dataclass(frozen=True, slots=True)
class CallerLimits:
    """How much a caller may at once and in a minute; 0 is no limit."""

    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    concurrency: int = 0

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.requests_per_minute or self.tokens_per_minute or self.concurrency)


NO_LIMITS: Final = CallerLimits()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who holds one of our keys; `id` survives a rotation of the key, and alone tells callers apart.

    `models` are patterns with `*` and `?`, none where every model may be used.
    `default_user` is who speaks where a request names nobody. `app` answers every model,
    where the key that was presented is that of a Dify app.
    """

    id: str
    models: tuple[str, ...] = field(default=(), compare=False)
    default_user: str = field(default="", compare=False)
    limits: CallerLimits = field(default=NO_LIMITS, compare=False)
    is_admin: bool = field(default=False, compare=False)
    app: DifyApp | None = field(default=None, compare=False, repr=False)

    def may_use(self, *names: str) -> bool:
        """Whether a model with these names is one of the caller's."""
        return not self.models or any(
            fnmatch.fnmatchcase(name, pattern) for name in names for pattern in self.models
        )


FILE_INPUTS: Final = frozenset({"file", "file-list"})
"""The types of inputs that take files."""


@dataclass(frozen=True, slots=True)
class FileRules:
    """Which files an app takes, or one of its inputs; what is empty or None limits nothing.

    `types` are Dify's (`image`, `document`, `audio`, `video`, `custom`), `extensions` those
    that count as `custom`, in lower case without a dot; `methods` are `local_file` and
    `remote_url`; `most` is how many.
    """

    types: frozenset[str] = frozenset()
    extensions: frozenset[str] = frozenset()
    methods: frozenset[str] = frozenset()
    most: int | None = None


@dataclass(frozen=True, slots=True)
class InputField:
    """One entry of an app's input form.

    `type` is Dify's: `text-input`, `paragraph`, `select`, `number`, `checkbox`,
    `json_object`, `file`, `file-list`, `external_data_tool`.
    """

    name: str
    type: str
    required: bool = False
    max_length: int | None = None
    options: tuple[str, ...] = ()
    default: object = None
    files: FileRules = FileRules()


@dataclass(frozen=True, slots=True)
class AppProfile:
    """What Dify says of an app.

    `form` is None where `/parameters` could not be read; then no input is
    checked here. `takes_files` and `is_moderated` are None where that is not known; so
    are `hears` and `speaks`, whether it turns speech into text and text into speech.
    `voice` is the one that it speaks with, empty where it has none of its own.
    `most_file_bytes` are the server's limits by Dify's types, as far as it tells them.
    """

    mode: AppMode
    form: tuple[InputField, ...] | None = None
    takes_files: bool | None = None
    is_moderated: bool | None = None
    hears: bool | None = None
    speaks: bool | None = None
    voice: str = ""
    file_rules: FileRules = FileRules()
    most_file_bytes: Mapping[str, int] = field(default_factory=dict)
    name: str = ""
    description: str = ""
    version: str = ""
    opening_statement: str = ""
    suggested_questions: tuple[str, ...] = field(default=())

    @property
    def refuses_in_silence(self) -> bool:
        """Whether Dify falls silent for five minutes in place of a refusal: behind the queue of 1.13, 1.14.

        Source: https://github.com/langgenius/dify/issues/37197
        """
        found = _VERSION.match(self.version)
        is_queued = self.mode in ("advanced-chat", "workflow")
        return is_queued and found is not None and (1, 13) <= (int(found[1]), int(found[2])) < (1, 15)

    @property
    def can_be_rejoined(self) -> bool:
        """Whether a run goes on without its listener and tells the rest to another; unknown versions may."""
        found = _VERSION.match(self.version)
        is_new = found is None or (int(found[1]), int(found[2])) >= (1, 14)
        return self.mode in ("advanced-chat", "workflow") and is_new

    def find_input(self, *names: str) -> InputField | None:
        """The first declared input that bears one of `names`, in their order."""
        declared = {declared_input.name: declared_input for declared_input in self.form or ()}
        return next((declared[name] for name in names if name in declared), None)
