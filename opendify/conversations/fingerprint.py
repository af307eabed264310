"""What of a transcript decides whether Dify has seen it: digests of normalised messages.

The system prompt is not in it, since clients put the time there.
"""

import hashlib
import re
import struct
from collections.abc import Mapping, Sequence
from itertools import chain
from operator import methodcaller

import msgspec

from opendify.bounded import remember
from opendify.translate.turn import HistoryMessage, HistoryRole

MESSAGE_DIGEST_BYTES = 8
_DIGEST_BYTES = 16
_MOST_PROMPTS = 500
MOST_RECENT_MESSAGES = 64
"""So many digests are kept, which is more than any sliding window seen."""

# How clients wrap a model's thinking when they send an answer back, and how they mark a person's files.
_OPENING_TAG = re.compile(r"<(think|thinking|details|attached_files|files)\b([^<>]*)>", re.IGNORECASE)
_ADDED_BY_CLIENTS: Mapping[HistoryRole, frozenset[str]] = {
    "assistant": frozenset({"think", "thinking", "details"}),
    "user": frozenset({"attached_files", "files"}),
    "tool": frozenset(),
}
# An answer may hold a fold of its own; only these are thinking: Open WebUI's, and Dify 0.15's.
_THINKING_FOLD = re.compile(r"\btype=[\"']?reasoning")
_THINKING_SUMMARY = re.compile(r"\s*<summary>\s*Thinking\.\.\.", re.IGNORECASE)
_WORD = re.compile(r"\w+")
_DATES = (
    "monday tuesday wednesday thursday friday saturday sunday mon tue wed thu fri sat sun "
    "january february march april may june july august september october november december "
    "jan feb mar apr jun jul aug sep sept oct nov dec am pm"
)
_DATE_WORDS = frozenset(_DATES.split())
# What may begin one is a set of its own, so that the rest of a long text is passed over.
_NUMBERS = re.compile(
    r"[\d星周上下](?:(?<=\d)\d*(?:st|nd|rd|th)?|(?<=星)期[一二三四五六日天]|(?<=周)[一二三四五六日]|(?<=[上下])午)",
    re.IGNORECASE,
)


class Transcript(msgspec.Struct, frozen=True):
    """What Dify has seen, or would have to have seen: as digests only."""

    fingerprint: bytes
    """Of all messages; 16 bytes."""
    recent: bytes
    """Of the last messages one by one, `MESSAGE_DIGEST_BYTES` each, oldest first."""
    ends_with_answer: bool
    length: int
    """How many messages there are, of which `recent` may hold only the last."""


def normalise(role: HistoryRole, text: str) -> str:
    """`text` without what clients do to it: trimming, line ends, and what they add to messages of `role`."""
    if "<" in text:
        text = _without_additions(text, _ADDED_BY_CLIENTS[role])
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.strip()


def _without_additions(text: str, names: frozenset[str]) -> str:
    """`text` without the blocks called so; one pass, whatever the text holds."""
    kept: list[str] = []
    unclosed: set[str] = set()
    position = 0
    while opening := _OPENING_TAG.search(text, position):
        name = opening[1].lower()
        end = -1
        if name in names and name not in unclosed and _is_addition(name, opening, text):
            end = _end_of_block(name, text, opening.end())
            if end < 0:
                unclosed.add(name)
        if end < 0:
            kept.append(text[position : opening.end()])
            position = opening.end()
        else:
            kept.append(text[position : opening.start()])
            position = end
    return "".join([*kept, text[position:]])


def _is_addition(name: str, opening: re.Match[str], text: str) -> bool:
    if name != "details":
        return True
    return bool(_THINKING_FOLD.search(opening[2]) or _THINKING_SUMMARY.match(text, opening.end()))


def _end_of_block(name: str, text: str, start: int) -> int:
    """Where the block ends; an unclosed `<think>` goes to the end of the text, others are no block (-1)."""
    closing = re.compile(rf"</{name}>", re.IGNORECASE).search(text, start)
    if closing:
        return closing.end()
    return len(text) if name == "think" else -1


def fingerprint(messages: Sequence[HistoryMessage]) -> Transcript:
    """The digests of a transcript, oldest message first."""
    if not messages:
        return _NOTHING_SEEN
    contents = [_content(message) for message in messages]
    # Lengths keep the borders between messages apart. SHA-256 is the fastest digest that processors know.
    lengths = struct.pack(f">{len(contents)}I", *map(len, contents))
    whole = hashlib.sha256(lengths + b"".join(contents)).digest()[:16]
    recent = b"".join(map(_message_digest, contents[-MOST_RECENT_MESSAGES:]))
    ends_with_answer = messages[-1].role == "assistant"
    return Transcript(whole, recent, ends_with_answer, len(messages))


_NOTHING_SEEN = Transcript(hashlib.sha256(b"").digest()[:16], b"", ends_with_answer=False, length=0)


def append_recent(recent: bytes, more: bytes) -> bytes:
    """The digests of the last messages when `more` are said after `recent`."""
    return (recent + more)[-MOST_RECENT_MESSAGES * MESSAGE_DIGEST_BYTES :]


def context_digest(system: str, inputs: Mapping[str, object], messages: Sequence[HistoryMessage]) -> bytes:
    """What else must be equal where no chat id tells two transcripts apart.

    The inputs, the files of earlier turns, and the system prompt without digits
    and date words.
    """
    digest = _begun_with(system).copy()
    files = ";".join([",".join(message.attachment_digests) for message in messages])
    digest.update(_framed(repr(sorted(inputs.items(), key=str)), files))
    return digest.digest()


def _begun_with(system: str) -> hashlib.blake2b:
    """A digest of the prompt without what changes from day to day.

    It is kept, by another digest: to go through a prompt of 4,000 characters takes half a millisecond,
    and each turn comes with the same one again.
    """
    known_by = hashlib.sha256(system.encode("utf-8", "replace")).digest()
    begun = _begun.get(known_by)
    if begun is None:
        undated = " ".join(_undated(system).split())
        begun = hashlib.blake2b(_framed(undated), digest_size=_DIGEST_BYTES)
        remember(_begun, known_by, begun, most=_MOST_PROMPTS)
    return begun


_begun: dict[bytes, hashlib.blake2b] = {}


def _undated(text: str) -> str:
    """`text` without digits and date words; few texts hold any of the words, which are found at once."""
    if words := _DATE_WORDS.intersection(map(str.casefold, _WORD.findall(text))):
        text = re.sub(rf"\b(?:{'|'.join(sorted(words))})\b", "", text, flags=re.IGNORECASE)
    return _NUMBERS.sub("", text)


def digest_of(*parts: str) -> str:
    """16 bytes of several texts, as hexadecimal digits."""
    return hashlib.blake2b(_framed(*parts), digest_size=_DIGEST_BYTES).hexdigest()


def _framed(*parts: str) -> bytes:
    """Texts one after another; their lengths keep the borders between them apart."""
    texts = [*map(_encoded, parts)]
    lengths = map(_LENGTH.pack, map(len, texts))
    return b"".join(chain.from_iterable(zip(lengths, texts, strict=True)))


_encoded = methodcaller("encode", "utf-8", "replace")
_LENGTH = struct.Struct(">Q")


def _content(message: HistoryMessage) -> bytes:
    return f"{message.role}\n{normalise(message.role, message.text)}".encode("utf-8", "replace")


def _message_digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=MESSAGE_DIGEST_BYTES).digest()
