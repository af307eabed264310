"""What finding a turn's conversation costs, in a SQLite store with a million of them.

`python -m benchmarks.matching`
"""

import argparse
import json
import os
import platform
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import quantiles
from typing import Final

import psutil
from msgspec import structs

from opendify.conversations.fingerprint import MESSAGE_DIGEST_BYTES, context_digest, fingerprint
from opendify.conversations.matching import Scope
from opendify.stores.base import StoredConversation
from opendify.stores.rows import COLUMNS, write_row
from opendify.stores.sqlite import SQLiteStore
from opendify.translate.turn import HistoryMessage

_CLAIM: Final = "a-claim-of-24-characters"
_CLAIM_SECONDS: Final = 60.0
_BULK: Final = 10_000
_FILL: Final = (
    f"INSERT INTO conversations ({', '.join(COLUMNS)}) "  # noqa: S608 - Put together of constants only.
    f"VALUES ({', '.join('?' for _ in COLUMNS)})"
)


@dataclass(frozen=True)
class Cost:
    """Milliseconds of wall-clock time, of so many calls."""

    what: str
    calls: int
    p50_ms: float
    p99_ms: float


def measure(folder: Path, *, conversations: int, turns: int, messages: int, seed: int = 1) -> list[Cost]:
    """Fill a store in `folder`, and take so many turns in it.

    Args:
        messages: Length of the transcript whose fingerprint is timed.
    """
    rng = random.Random(seed)  # noqa: S311 - Repeatable, and nothing secret.
    path = folder / "conversations.db"
    with closing(SQLiteStore(path)) as store:
        store.ping()
        with closing(sqlite3.connect(path)) as connection:
            fill(connection, conversations, rng)
        known = [rng.randrange(conversations) for _ in range(turns)]
        return [
            *_cost_of_turns("turn in a known conversation", store, [_key(number) for number in known], rng),
            *_cost_of_turns(
                "turn in a new conversation", store, [rng.randbytes(16).hex() for _ in known], rng
            ),
            _cost_of_fingerprint(messages, turns, rng),
        ]


def fill(connection: sqlite3.Connection, conversations: int, rng: random.Random) -> None:
    """As many turns of as many chats would have."""
    for start in range(0, conversations, _BULK):
        numbers = range(start, min(start + _BULK, conversations))
        with connection:
            connection.executemany(_FILL, [write_row(_conversation(number, rng)) for number in numbers])


def _conversation(number: int, rng: random.Random) -> StoredConversation:
    turns, user = rng.randint(1, 20), f"team-{number % 20}:person-{number % 5_000}"
    at = 1_700_000_000.0 + number
    return StoredConversation(
        id=rng.randbytes(12).hex(),
        scope=rng.randbytes(16).hex(),
        model=f"model-{number % 10}",
        caller=f"team-{number % 20}",
        user=user,
        chat_id=_uuid(rng),
        app_fingerprint=f"{number % 10:016x}",
        conversation_id=_uuid(rng),
        message_id=_uuid(rng),
        match_key=_key(number),
        recent=rng.randbytes(2 * turns * MESSAGE_DIGEST_BYTES),
        shows_history=True,
        turns=turns,
        created_at=at,
        updated_at=at,
    )


def _key(number: int) -> str:
    """Random-looking, as digests are, and found again by its number."""
    return random.Random(number).randbytes(16).hex()  # noqa: S311 - As above.


def _uuid(rng: random.Random) -> str:
    digits = rng.randbytes(16).hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _cost_of_turns(what: str, store: SQLiteStore, keys: Sequence[str], rng: random.Random) -> Iterator[Cost]:
    """What each turn asks of the store: its conversation, and to keep what it left."""
    claiming, saving = [], []
    for number, key in enumerate(keys):
        now = time.time()
        began = time.perf_counter()
        found = store.claim_match(key, claim=_CLAIM, until=now + _CLAIM_SECONDS)
        claimed = time.perf_counter()
        moved = structs.replace(
            found or _conversation(number, rng), match_key=rng.randbytes(16).hex(), updated_at=now
        )
        ready = time.perf_counter()
        store.save(moved, claim=_CLAIM)
        claiming.append(claimed - began)
        saving.append(time.perf_counter() - ready)
    yield _cost(f"{what}: find and claim", claiming)
    yield _cost(f"{what}: save", saving)
    yield _cost(f"{what}: both", [sum(pair) for pair in zip(claiming, saving, strict=True)])


def _cost_of_fingerprint(messages: int, times: int, rng: random.Random) -> Cost:
    """All that is hashed to find a conversation by its transcript."""
    transcript = [
        HistoryMessage(
            "user" if number % 2 == 0 else "assistant", _prose(rng, 30 if number % 2 == 0 else 120)
        )
        for number in range(messages)
    ]
    scope = Scope("model", "fingerprint", "caller", "user", "")

    def look_up_key() -> None:
        scope.match_key(fingerprint(transcript), context_digest("You are helpful.", {}, transcript))

    return _cost(f"fingerprint of {messages:,} messages", [_timed(look_up_key) for _ in range(times)])


def _prose(rng: random.Random, words: int) -> str:
    return " ".join(rng.choices(("conversation", "never", "lost", "mixed", "answer", "of", "a"), k=words))


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _cost(what: str, seconds: Sequence[float]) -> Cost:
    hundredths = quantiles(seconds, n=100)
    return Cost(what, len(seconds), hundredths[49] * 1_000, hundredths[98] * 1_000)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--conversations", type=int, default=1_000_000)
    parser.add_argument("--turns", type=int, default=5_000)
    parser.add_argument("--messages", type=int, default=500)
    parser.add_argument("--folder", type=Path, help="where the file is made; a temporary folder unless given")
    parser.add_argument("--json", action="store_true", help="one JSON object a line in place of a table")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        costs = measure(
            Path(folder), conversations=chosen.conversations, turns=chosen.turns, messages=chosen.messages
        )
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
    if chosen.json:
        sys.stdout.writelines(f"{json.dumps(asdict(cost))}\n" for cost in costs)
        return 0
    sys.stdout.write(
        f"{chosen.conversations:,} conversations ({size / 1e6:,.0f} MB), {chosen.turns:,} turns, "
        f"{psutil.cpu_count()} cores, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        f"load average {os.getloadavg()[0]:.1f}.\n\n{build_table(costs)}"
    )
    return 0


def build_table(costs: Sequence[Cost]) -> str:
    """Markdown, a row a cost."""
    rows = [f"| {cost.what} | {cost.p50_ms:.3f} | {cost.p99_ms:.3f} |\n" for cost in costs]
    return "".join(["| what | p50 ms | p99 ms |\n| --- | ---: | ---: |\n", *rows])


if __name__ == "__main__":
    sys.exit(main())
