"""The benchmark of matching, small: it finds what it fills in."""

import random
import sqlite3
from contextlib import closing
from pathlib import Path

from benchmarks.matching import Cost, build_table, fill, measure
from opendify.stores.sqlite import SQLiteStore


def test_every_turn_in_a_known_conversation_moves_it_on_and_every_new_one_adds_one(tmp_path: Path) -> None:
    costs = measure(tmp_path, conversations=50, turns=20, messages=10)

    with closing(SQLiteStore(tmp_path / "conversations.db")) as store:
        kept = store.statistics().conversations
    # Of a conversation that was drawn twice the second turn finds no match, and begins another.
    assert 50 + 20 <= kept < 50 + 2 * 20
    assert [cost.calls for cost in costs] == [20] * 7
    assert all(0 < cost.p50_ms <= cost.p99_ms for cost in costs)


def test_a_filled_store_has_as_many_conversations_as_were_asked_for(tmp_path: Path) -> None:
    with closing(SQLiteStore(tmp_path / "conversations.db")) as store:
        store.ping()
        with closing(sqlite3.connect(tmp_path / "conversations.db")) as connection:
            fill(connection, 25, random.Random(1))

        assert store.statistics().conversations == 25


def test_the_table_has_a_row_a_cost() -> None:
    table = build_table([Cost("save", 3, 0.1234, 2.0)])

    assert table.splitlines()[-1] == "| save | 0.123 | 2.000 |"
