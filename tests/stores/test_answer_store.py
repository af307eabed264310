"""What a store of answers does, whichever back end it has."""

import multiprocessing
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
import redis
from msgspec.structs import replace

from opendify.conversation_admin.administration import open_configured_answers
from opendify.settings import SettingsError
from opendify.stores import StoreUnavailable
from opendify.stores.answers import NOT_KEPT, AnswerStore, StoredAnswer
from opendify.stores.answers_postgres import PostgresAnswers
from opendify.stores.answers_redis import RedisAnswers
from opendify.stores.answers_sqlite import SQLiteAnswers
from opendify.stores.opening import open_answer_store
from tests.fakes.memory_answers import MemoryAnswers
from tests.fakes.settings import make_settings
from tests.fakes.waiting import wait_until
from tests.stores.conftest import SHARED, emptied_url
from tests.stores.servers import Server, free_port

NOW = 1_000_000.0
SECRET = b'{"answer":"the-secret-of-the-answer"}'


def answer(
    id: str = "id",  # noqa: A002 - The field's name.
    **fields: object,
) -> StoredAnswer:
    row = StoredAnswer(
        id=id,
        key="key",
        fingerprint="fingerprint",
        user="team:anna",
        begun_at=NOW,
        claimed_until=NOW + 20,
        expires_at=NOW + 80,
    )
    return replace(row, **fields)


@pytest.fixture(params=SHARED)
def url(request: pytest.FixtureRequest, servers: dict[str, Server]) -> str:
    """Where processes can share one, empty."""
    found = emptied_url(request.param, servers)
    return found.replace("conversations.db", "answers.db")


@pytest.fixture
def shared(url: str, tmp_path: Path) -> Iterator[AnswerStore]:
    with closing(open_answer_store(url, tmp_path / "data")) as store:
        yield store


@pytest.fixture(params=(*SHARED, "memory"))
def store(
    request: pytest.FixtureRequest, servers: dict[str, Server], tmp_path: Path
) -> Iterator[AnswerStore]:
    if request.param == "memory":
        yield MemoryAnswers()
        return
    url = emptied_url(request.param, servers).replace("conversations.db", "answers.db")
    with closing(open_answer_store(url, tmp_path / "data")) as opened:
        yield opened


class TestBegin:
    def test_what_nobody_began_begins(self, store: AnswerStore) -> None:
        assert store.begin(answer(), now=NOW, anew=False) is None
        assert store.find("id", now=NOW) == answer()

    def test_what_was_begun_is_told(self, store: AnswerStore) -> None:
        store.begin(answer("first"), now=NOW, anew=False)

        assert store.begin(answer("second"), now=NOW, anew=False) == answer("first")
        assert store.find("second", now=NOW) is None

    def test_another_key_is_another_request(self, store: AnswerStore) -> None:
        store.begin(answer("first"), now=NOW, anew=False)

        assert store.begin(answer("second", key="other"), now=NOW, anew=False) is None

    def test_anew_it_begins_beside_what_is_known(self, store: AnswerStore) -> None:
        store.begin(answer("first"), now=NOW, anew=False)

        assert store.begin(answer("second", begun_at=NOW + 1), now=NOW + 1, anew=True) is None
        assert store.find("first", now=NOW + 1) == answer("first")

    def test_the_newest_is_told(self, store: AnswerStore) -> None:
        for n in (3, 9, 6):
            store.begin(answer(f"id-{n}", begun_at=NOW + n), now=NOW, anew=True)

        known = store.begin(answer("repeat"), now=NOW, anew=False)

        assert known
        assert known.id == "id-9"

    def test_where_the_newest_never_began_the_one_before_is_told(self, store: AnswerStore) -> None:
        store.begin(answer("first"), now=NOW, anew=True)
        store.begin(answer("second", begun_at=NOW + 1), now=NOW, anew=True)
        store.forget("second")

        assert store.begin(answer("repeat"), now=NOW, anew=False) == answer("first")

    def test_what_has_expired_is_not_told(self, store: AnswerStore) -> None:
        store.begin(answer("first"), now=NOW, anew=False)

        assert store.begin(answer("second", expires_at=NOW + 200), now=NOW + 80, anew=False) is None
        assert store.find("second", now=NOW + 80)

    def test_an_id_may_be_used_again_once_it_was_forgotten_or_has_expired(self, store: AnswerStore) -> None:
        store.begin(answer(), now=NOW, anew=False)
        store.finish("id", b"{}", now=NOW, expires_at=NOW + 60)

        assert store.begin(answer(expires_at=NOW + 200), now=NOW + 61, anew=False) is None
        assert store.find("id", now=NOW + 61) == answer(expires_at=NOW + 200)
        store.forget("id")
        assert store.begin(answer(), now=NOW, anew=False) is None

    def test_a_user_may_have_any_name(self, store: AnswerStore) -> None:
        store.begin(answer(user="客服\0\ud800"), now=NOW, anew=False)

        found = store.find("id", now=NOW)

        assert found
        assert found.user == "客服\ufffd\ufffd"
        assert store.delete_of_user("客服\0\ud800") == 1


class TestOutcomes:
    def test_an_outcome_is_told_until_it_expires(self, store: AnswerStore) -> None:
        store.begin(answer(), now=NOW, anew=False)
        store.finish("id", "{'ü\u2028'}".encode(), now=NOW, expires_at=NOW + 900)

        found = store.find("id", now=NOW + 899)

        assert found == answer(outcome="{'ü\u2028'}".encode(), expires_at=NOW + 900)
        assert store.begin(answer("repeat"), now=NOW + 899, anew=False) == found
        assert store.find("id", now=NOW + 900) is None

    def test_the_first_outcome_stays(self, store: AnswerStore) -> None:
        store.begin(answer(), now=NOW, anew=False)
        store.finish("id", b"1", now=NOW, expires_at=NOW + 60)
        store.finish("id", b"2", now=NOW, expires_at=NOW + 600)
        store.renew(["id"], now=NOW, claimed_until=NOW + 500, expires_at=NOW + 560)

        assert store.find("id", now=NOW) == answer(outcome=b"1", expires_at=NOW + 60)

    def test_an_outcome_may_be_large(self, store: AnswerStore) -> None:
        large = b'"' + b"x" * 4_000_000 + b'"'
        store.begin(answer(), now=NOW, anew=False)
        store.finish("id", large, now=NOW, expires_at=NOW + 60)

        found = store.find("id", now=NOW)

        assert found
        assert found.outcome == large

    def test_what_is_not_there_has_no_outcome(self, store: AnswerStore) -> None:
        store.finish("nobody", b"1", now=NOW, expires_at=NOW + 60)
        store.renew(["nobody"], now=NOW, claimed_until=NOW + 60, expires_at=NOW + 60)
        store.forget("nobody")

        assert store.find("nobody", now=NOW) is None

    def test_what_has_expired_is_not_brought_back(self, store: AnswerStore) -> None:
        store.begin(answer(), now=NOW, anew=False)
        store.renew(["id"], now=NOW + 80, claimed_until=NOW + 100, expires_at=NOW + 160)
        store.finish("id", b"1", now=NOW + 80, expires_at=NOW + 160)

        assert store.find("id", now=NOW + 80) is None

    def test_requests_that_go_on_are_held_longer_and_no_others(self, store: AnswerStore) -> None:
        for name in ("a", "b", "c"):
            store.begin(answer(name, key=name), now=NOW, anew=False)
        store.finish("b", b"1", now=NOW, expires_at=NOW + 86)
        store.renew(["a", "b", "nobody"], now=NOW + 10, claimed_until=NOW + 30, expires_at=NOW + 90)

        held = answer("a", key="a", claimed_until=NOW + 30, expires_at=NOW + 90)
        assert store.find("a", now=NOW + 85) == held
        assert store.find("b", now=NOW + 85) == answer("b", key="b", outcome=b"1", expires_at=NOW + 86)
        assert store.find("c", now=NOW) == answer("c", key="c")


class TestForgetting:
    def test_all_of_one_user_and_nothing_else(self, store: AnswerStore) -> None:
        for n, user in enumerate(["team:anna", "team:ben", "team:anna"]):
            store.begin(answer(f"id-{n}", key=f"key-{n}", user=user), now=NOW, anew=True)

        assert store.delete_of_user("team:anna") == 2
        assert [bool(store.find(f"id-{n}", now=NOW)) for n in range(3)] == [False, True, False]
        assert store.begin(answer("repeat", key="key-0"), now=NOW, anew=False) is None
        assert store.delete_of_user("nobody") == 0

    def test_a_run_that_ends_after_its_user_was_forgotten_leaves_nothing(self, store: AnswerStore) -> None:
        store.begin(answer(), now=NOW, anew=False)
        store.delete_of_user("team:anna")
        store.finish("id", SECRET, now=NOW, expires_at=NOW + 60)

        assert store.find("id", now=NOW) is None

    def test_what_has_expired_is_cleaned_up(self, store: AnswerStore) -> None:
        store.begin(answer("old"), now=NOW, anew=True)
        store.begin(answer("new", expires_at=NOW + 200), now=NOW, anew=True)

        assert store.clean_up(now=NOW + 80, most_bytes=1_000) == 1
        assert store.find("new", now=NOW)
        assert store.clean_up(now=NOW + 200, most_bytes=1_000) == 0

    def test_of_too_much_the_oldest_outcomes_go_but_not_that_they_ended(self, store: AnswerStore) -> None:
        for n in range(4):
            store.begin(answer(f"id-{n}", key=f"key-{n}", begun_at=NOW + n), now=NOW, anew=True)
        for n in range(3):
            store.finish(f"id-{n}", b"x" * 100, now=NOW, expires_at=NOW + 60)

        assert store.clean_up(now=NOW, most_bytes=250) == 4
        outcomes = [row.outcome for n in range(4) if (row := store.find(f"id-{n}", now=NOW))]
        assert outcomes == [NOT_KEPT, b"x" * 100, b"x" * 100, None]

    def test_of_what_nobody_repeats_nothing_is_left(self, store: AnswerStore) -> None:
        for n in range(3):
            row = answer(f"id-{n}", key=f"key-{n}", fingerprint="", begun_at=NOW + n)
            store.begin(row, now=NOW, anew=True)
            store.finish(f"id-{n}", b"x" * 100, now=NOW, expires_at=NOW + 60)

        assert store.clean_up(now=NOW, most_bytes=250) == 2
        assert [bool(store.find(f"id-{n}", now=NOW)) for n in range(3)] == [False, True, True]


class TestSharing:
    def test_of_many_that_begin_at_once_one_does(self, shared: AnswerStore) -> None:
        def begin(number: int) -> StoredAnswer | None:
            return shared.begin(answer(f"id-{number}"), now=NOW, anew=False)

        with ThreadPoolExecutor(16) as threads:
            known = list(threads.map(begin, range(64)))

        assert known.count(None) == 1
        assert len({row.id for row in known if row}) == 1

    def test_of_many_processes_that_begin_at_once_one_does(self, url: str, tmp_path: Path) -> None:
        spawning = multiprocessing.get_context("spawn")
        with spawning.Pool(4) as pool:
            begun = pool.starmap(_begin, [(url, tmp_path / "data", number) for number in range(16)])

        assert sum(begun) == 1

    def test_another_process_finds_the_outcome(self, url: str, shared: AnswerStore, tmp_path: Path) -> None:
        shared.begin(answer(), now=NOW, anew=False)
        shared.finish("id", SECRET, now=NOW, expires_at=NOW + 60)

        with closing(open_answer_store(url, tmp_path / "data")) as other:
            assert other.find("id", now=NOW) == answer(outcome=SECRET, expires_at=NOW + 60)

    def test_a_closed_store_opens_again(self, shared: AnswerStore) -> None:
        shared.begin(answer(), now=NOW, anew=False)
        shared.close()

        assert shared.find("id", now=NOW) == answer()


def _begin(url: str, data_dir: Path, number: int) -> bool:
    with closing(open_answer_store(url, data_dir)) as store:
        return store.begin(answer(f"id-{number}"), now=NOW, anew=False) is None


CALLS: dict[str, Callable[[AnswerStore], object]] = {
    "begin": lambda store: store.begin(answer(), now=NOW, anew=False),
    "begin anew": lambda store: store.begin(answer(), now=NOW, anew=True),
    "find": lambda store: store.find("id", now=NOW),
    "renew": lambda store: store.renew(["id"], now=NOW, claimed_until=NOW, expires_at=NOW),
    "finish": lambda store: store.finish("id", b"1", now=NOW, expires_at=NOW),
    "forget": lambda store: store.forget("id"),
    "delete_of_user": lambda store: store.delete_of_user("user"),
    "clean_up": lambda store: store.clean_up(now=NOW, most_bytes=1),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("scheme", ["redis", "postgresql", "sqlite"])
def test_a_store_that_is_not_there_says_so_soon(
    call: Callable[[AnswerStore], object], scheme: str, tmp_path: Path
) -> None:
    (tmp_path / "no.db").write_text("This is no database. " * 100)
    url = "sqlite:///no.db" if scheme == "sqlite" else f"{scheme}://127.0.0.1:{free_port()}/0"
    began_at = time.monotonic()

    with closing(open_answer_store(url, tmp_path / "data")) as store, pytest.raises(StoreUnavailable):
        call(store)
    assert time.monotonic() - began_at < 5


def test_a_url_that_names_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sqlite"):
        open_answer_store("sqlite://", tmp_path)


@pytest.mark.parametrize(
    ("conversations", "answers", "kind"),
    [
        ("sqlite:///data/other.db", "auto", SQLiteAnswers),
        ("sqlite:///data/other.db", "sqlite:////srv/answers.db", SQLiteAnswers),
        ("redis://host", "auto", RedisAnswers),
        ("redis://host", "sqlite:///data/answers.db", SQLiteAnswers),
        ("postgresql://host/name", "Auto", PostgresAnswers),
        ("sqlite:///data/other.db", "redis://host", RedisAnswers),
    ],
)
def test_answers_are_kept_beside_the_conversations_or_where_the_setting_says(
    conversations: str, answers: str, kind: type[AnswerStore]
) -> None:
    settings = make_settings(CONVERSATION_STORE_URL=conversations, ANSWER_STORE=answers)

    assert isinstance(open_configured_answers(settings), kind)


def test_answers_are_not_kept_where_that_is_switched_off() -> None:
    assert open_configured_answers(make_settings(ANSWER_STORE="OFF")) is None


@pytest.mark.parametrize("wrong", ["on", "mysql://host", "sqlite:///data/", "redis://host:port"])
def test_a_wrong_place_for_answers_stops_the_start_by_name(wrong: str) -> None:
    with pytest.raises(SettingsError, match="ANSWER_STORE"):
        open_configured_answers(make_settings(ANSWER_STORE=wrong))


class TestFiles:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "data" / "answers.db"

    @pytest.fixture
    def file(self, path: Path) -> Iterator[SQLiteAnswers]:
        with closing(SQLiteAnswers(path)) as store:
            yield store

    def test_opening_creates_nothing_before_the_first_use(self, path: Path) -> None:
        with closing(SQLiteAnswers(path)):
            assert not path.parent.exists()

    def test_nobody_else_may_read_them(self, path: Path, file: SQLiteAnswers) -> None:
        file.begin(answer(), now=NOW, anew=True)

        assert {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()} == {0o600}

    @pytest.mark.parametrize("forget", ["expiry", "user", "size"])
    def test_an_answer_that_is_deleted_is_in_no_file_any_more(
        self, path: Path, file: SQLiteAnswers, forget: str
    ) -> None:
        for n in range(20):
            file.begin(answer(f"id-{n}"), now=NOW, anew=True)
            file.finish(f"id-{n}", SECRET * 500, now=NOW, expires_at=NOW + 60)
        assert any(SECRET in each.read_bytes() for each in path.parent.iterdir())

        match forget:
            case "expiry":
                file.clean_up(now=NOW + 60, most_bytes=1 << 30)
            case "user":
                file.delete_of_user("team:anna")
            case _:
                file.clean_up(now=NOW, most_bytes=0)

        assert not any(SECRET in each.read_bytes() for each in path.parent.iterdir())

    def test_noting_a_request_costs_next_to_nothing(self, file: SQLiteAnswers) -> None:
        file.begin(answer("first"), now=NOW, anew=True)
        took = []
        for n in range(2_000):
            began_at = time.perf_counter()
            file.begin(answer(f"id-{n}", key=f"key-{n}"), now=NOW, anew=True)
            took.append(time.perf_counter() - began_at)

        # Twenty times what it takes on an idle machine.
        assert sorted(took)[len(took) // 2] < 0.001

    def test_a_file_that_another_program_holds_locked_is_soon_given_up(self, path: Path) -> None:
        with closing(SQLiteAnswers(path, busy_timeout_seconds=0.1)) as store:
            store.begin(answer(), now=NOW, anew=True)
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                with pytest.raises(StoreUnavailable):
                    store.finish("id", b"1", now=NOW, expires_at=NOW + 60)


class TestRedis:
    def test_everything_is_forgotten_by_itself(self, servers: dict[str, Server], tmp_path: Path) -> None:
        url = emptied_url("redis", servers)
        now = time.time()
        with closing(open_answer_store(url, tmp_path)) as store, redis.Redis.from_url(url) as client:
            store.begin(answer(expires_at=now + 0.3), now=now, anew=True)
            store.finish("id", SECRET, now=now, expires_at=now + 0.3)
            assert client.keys("*")

            assert wait_until(lambda: not client.keys("*"), 10)


class TestPostgres:
    def test_answers_are_not_written_to_the_server_s_log(
        self, servers: dict[str, Server], tmp_path: Path
    ) -> None:
        url = emptied_url("postgresql", servers)
        with closing(open_answer_store(url, tmp_path)) as store:
            store.begin(answer(), now=NOW, anew=True)

            with psycopg.connect(url) as connection:
                kind = "SELECT relpersistence FROM pg_class WHERE oid = 'opendify.answers'::regclass"
                assert connection.execute(kind).fetchone() == ("u",)
