"""What every conversation store does, over each of them."""

from collections.abc import Iterator

import pytest
from msgspec import structs

from opendify.stores import ConversationStore, StoredConversation, StoreStatistics
from tests.stores.conversations import conversation

PIECE = 500
"""How many rows the stores read or delete at once."""


def fill(store: ConversationStore, *conversations: StoredConversation) -> None:
    for row in conversations:
        assert store.save(row, claim="filling")


def ids(conversations: list[StoredConversation] | Iterator[StoredConversation]) -> list[str]:
    return [row.id for row in conversations]


def test_a_conversation_comes_back_as_it_was_saved(store: ConversationStore) -> None:
    saved = StoredConversation(
        id="id",
        scope="scope",
        model="model",
        caller="caller",
        user="user",
        chat_id="chat",
        app_fingerprint="fingerprint",
        conversation_id="conversation",
        message_id="message",
        match_key="key",
        recent=bytes(range(256)),
        shows_history=True,
        turns=7,
        created_at=1700000000.125,
        updated_at=1700000001.0000002,
        next_turn_at=1700000002.75,
    )

    fill(store, saved)

    assert store.find("id") == saved
    assert store.claim_match("key", claim="a", until=1) == saved


def test_a_conversation_with_defaults_comes_back_as_it_was_saved(store: ConversationStore) -> None:
    saved = conversation("id", match_key="")

    fill(store, saved)

    assert store.find("id") == saved


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("你好 \U0001f30d e\u0301 \u2028 \x01 \x7f \ufffd '\"\\%;--{}", id="unicode"),
        pytest.param("名" * 255, id="255 characters of three bytes"),
    ],
)
def test_ids_and_names_of_any_text_are_found_again(store: ConversationStore, text: str) -> None:
    fields = {field.name: text for field in structs.fields(StoredConversation) if field.type is str}
    # Who has no chat id is not looked for by a scope.
    fields["chat_id"] = text or "chat"
    saved = StoredConversation(**fields)  # type: ignore[arg-type] # All of them are texts.

    fill(store, saved)

    assert store.find(text) == saved
    assert store.find_by_scope(text, 1) == [saved]
    assert store.find_by_conversation_id(text, text) == saved
    assert store.of_user(text, text) == [saved]
    assert store.claim(text, claim="a", now=0, until=1) == saved
    assert store.delete(text)


def test_names_that_clients_give_may_be_very_long(store: ConversationStore) -> None:
    long = "名" * 20_000
    saved = conversation("id", user=long, chat_id=long, conversation_id=long, caller=long, model=long)

    fill(store, saved)

    assert store.find_by_conversation_id(long, long) == saved
    assert store.of_user(long, None) == [saved]


def test_what_no_store_can_hold_becomes_a_replacement_character(shared_store: ConversationStore) -> None:
    fill(shared_store, conversation("i\0d", user="a\0b\ud800c", chat_id="\udfff"))

    assert shared_store.of_user("a\0b\ud800c", None) == [
        conversation("i\ufffdd", user="a\ufffdb\ufffdc", chat_id="\ufffd", conversation_id="dify-i\ufffdd")
    ]
    assert shared_store.delete("i\0d")


class TestClaims:
    def test_a_claim_shuts_out_the_next(self, store: ConversationStore) -> None:
        fill(store, conversation("id"))

        assert store.claim("id", claim="a", now=10, until=20) == conversation("id")
        assert store.claim("id", claim="b", now=10, until=20) is None
        assert store.claim_match("key", claim="b", until=20) is None

    def test_nothing_is_claimed_where_nothing_is(self, store: ConversationStore) -> None:
        assert store.claim("id", claim="a", now=10, until=20) is None
        assert store.claim_match("key", claim="a", until=20) is None

    def test_the_newest_unclaimed_match_is_claimed(self, store: ConversationStore) -> None:
        fill(
            store,
            conversation("middle", updated_at=2),
            conversation("newest", updated_at=3),
            conversation("oldest", updated_at=1),
            conversation("other", updated_at=4, match_key="other"),
        )

        claims = [store.claim_match("key", claim=name, until=20) for name in "abcd"]

        assert [claimed and claimed.id for claimed in claims] == ["newest", "middle", "oldest", None]

    def test_a_match_behind_many_claimed_ones_is_found(self, store: ConversationStore) -> None:
        for number in range(250):
            fill(store, conversation(f"id-{number}", updated_at=number))
            assert store.claim(f"id-{number}", claim="a", now=10, until=20) or number == 0
        store.release("id-0", claim="a")

        claimed = store.claim_match("key", claim="b", until=20)

        assert claimed is not None
        assert claimed.id == "id-0"

    def test_an_empty_key_matches_nothing(self, store: ConversationStore) -> None:
        fill(store, conversation("id", match_key=""))

        assert store.claim_match("", claim="a", until=20) is None

    def test_only_the_present_key_matches(self, store: ConversationStore) -> None:
        fill(store, conversation("id", match_key="before"))
        store.claim("id", claim="a", now=10, until=20)
        store.save(conversation("id", match_key="after"), claim="a")

        assert store.claim_match("before", claim="b", until=20) is None
        assert store.claim_match("after", claim="b", until=20) is not None

    @pytest.mark.parametrize(
        ("now", "is_taken"), [pytest.param(19.999, False, id="before"), pytest.param(20.0, True, id="at")]
    )
    def test_a_claim_is_void_from_its_end_on(
        self, store: ConversationStore, now: float, is_taken: bool
    ) -> None:
        fill(store, conversation("id"))
        store.claim("id", claim="a", now=10, until=20)

        assert (store.claim("id", claim="b", now=now, until=30) is not None) is is_taken

    def test_a_holder_that_died_leaves_nothing_that_fits(self, store: ConversationStore) -> None:
        fill(store, conversation("id", recent=b"12345678"))
        store.claim("id", claim="dead", now=10, until=20)

        assert store.claim_match("key", claim="b", until=99) is None
        unknown = conversation("id", match_key="", recent=b"")
        assert store.claim("id", claim="b", now=20, until=30) == unknown
        store.release("id", claim="b")
        assert store.find("id") == unknown
        assert store.claim_match("key", claim="c", until=99) is None
        assert [found.id for found in store.find_by_scope(unknown.scope, 9)] == ["id"]

    def test_the_holder_who_was_overtaken_changes_nothing(self, store: ConversationStore) -> None:
        fill(store, conversation("id"))
        store.claim("id", claim="slow", now=10, until=20)
        store.claim("id", claim="quick", now=20, until=30)

        assert not store.save(conversation("id", turns=1, match_key="slow"), claim="slow")
        assert not store.renew("id", claim="slow", until=99)
        store.release("id", claim="slow")

        assert store.find("id") == conversation("id", match_key="", recent=b"")
        assert store.claim_match("slow", claim="c", until=30) is None
        assert store.claim("id", claim="c", now=29, until=39) is None
        assert store.save(conversation("id", turns=2), claim="quick")
        assert store.find("id") == conversation("id", turns=2)

    def test_a_claim_that_nobody_took_over_can_still_be_saved(self, store: ConversationStore) -> None:
        fill(store, conversation("id"))
        store.claim("id", claim="a", now=10, until=20)

        assert store.renew("id", claim="a", until=30)
        assert store.save(conversation("id", turns=1), claim="a")

    def test_a_renewed_claim_holds_longer(self, store: ConversationStore) -> None:
        fill(store, conversation("id"))
        store.claim("id", claim="a", now=10, until=20)

        assert store.renew("id", claim="a", until=40)

        assert store.claim("id", claim="b", now=39, until=49) is None
        assert store.claim("id", claim="b", now=40, until=50) is not None

    def test_a_save_ends_the_claim(self, store: ConversationStore) -> None:
        fill(store, conversation("id"))
        store.claim("id", claim="a", now=10, until=20)

        assert store.save(conversation("id", turns=1), claim="a")

        assert not store.save(conversation("id", turns=2), claim="a")
        assert not store.renew("id", claim="a", until=99)
        assert store.claim("id", claim="b", now=10, until=20) == conversation("id", turns=1)

    def test_a_release_ends_the_claim_and_changes_nothing(self, store: ConversationStore) -> None:
        fill(store, conversation("id"))
        store.claim("id", claim="a", now=10, until=20)

        store.release("id", claim="a")

        assert store.claim("id", claim="b", now=10, until=20) == conversation("id")

    def test_losing_a_claim_is_no_error(self, store: ConversationStore) -> None:
        store.release("unknown", claim="a")

        assert not store.renew("unknown", claim="a", until=1)

    @pytest.mark.parametrize("claim", ["", "b"])
    def test_an_unclaimed_conversation_is_not_replaced(self, store: ConversationStore, claim: str) -> None:
        fill(store, conversation("id"))

        assert not store.save(conversation("id", turns=1), claim=claim)
        assert store.find("id") == conversation("id")

    def test_a_deleted_conversation_is_claimed_by_nobody(self, store: ConversationStore) -> None:
        fill(store, conversation("id"))
        store.claim("id", claim="a", now=10, until=20)

        assert store.delete("id")

        assert not store.renew("id", claim="a", until=99)
        assert store.claim("id", claim="b", now=30, until=40) is None
        fill(store, conversation("id"))
        assert store.claim("id", claim="b", now=10, until=20) is not None


class TestFinding:
    def test_a_chat_shows_its_newest_first_and_claimed_ones_too(self, store: ConversationStore) -> None:
        fill(
            store,
            conversation("middle", updated_at=2),
            conversation("newest", updated_at=3),
            conversation("oldest", updated_at=1),
            conversation("other", updated_at=4, scope="other"),
        )
        store.claim("newest", claim="a", now=10, until=20)

        assert ids(store.find_by_scope("scope", 9)) == ["newest", "middle", "oldest"]
        assert ids(store.find_by_scope("scope", 2)) == ["newest", "middle"]
        assert ids(store.find_by_scope("scope", 0)) == []
        assert ids(store.find_by_scope("unknown", 9)) == []

    def test_order_and_lists_follow_a_save(self, store: ConversationStore) -> None:
        fill(store, conversation("one", updated_at=1), conversation("two", updated_at=2))
        store.claim("one", claim="a", now=10, until=20)
        moved = conversation(
            "one", updated_at=3, scope="moved", user="moved", caller="moved", conversation_id="moved"
        )
        store.save(moved, claim="a")

        assert ids(store.recent(9)) == ["one", "two"]
        assert ids(store.find_by_scope("scope", 9)) == ["two"]
        assert ids(store.find_by_scope("moved", 9)) == ["one"]
        assert ids(store.of_user("user", None)) == ["two"]
        assert ids(store.of_user("moved", "moved")) == ["one"]
        assert store.find_by_conversation_id("caller", "dify-one") is None
        assert store.find_by_conversation_id("moved", "moved") == moved

    def test_difys_id_finds_the_newest_of_its_caller(self, store: ConversationStore) -> None:
        fill(
            store,
            conversation("old", conversation_id="dify", updated_at=1),
            conversation("new", conversation_id="dify", updated_at=2),
            conversation("theirs", conversation_id="dify", updated_at=3, caller="somebody else"),
        )

        found = store.find_by_conversation_id("caller", "dify")

        assert found is not None
        assert found.id == "new"
        assert store.find_by_conversation_id("caller", "unknown") is None
        assert store.find_by_conversation_id("nobody", "dify") is None

    def test_an_unknown_id_is_not_found(self, store: ConversationStore) -> None:
        assert store.find("unknown") is None

    def test_the_newest_of_all_callers_are_recent(self, store: ConversationStore) -> None:
        fill(
            store,
            conversation("one", updated_at=1),
            conversation("three", updated_at=3, caller="somebody else"),
            conversation("two", updated_at=2),
        )

        assert ids(store.recent(2)) == ["three", "two"]
        assert ids(store.recent(9)) == ["three", "two", "one"]
        assert ids(store.recent(0)) == []

    def test_a_users_conversations_are_those_of_one_caller_or_of_all(self, store: ConversationStore) -> None:
        fill(
            store,
            conversation("one", updated_at=1),
            conversation("two", updated_at=2, caller="somebody else"),
            conversation("three", updated_at=3, user="another"),
        )

        assert ids(store.of_user("user", None)) == ["two", "one"]
        assert ids(store.of_user("user", "caller")) == ["one"]
        assert ids(store.of_user("user", "nobody")) == []
        assert ids(store.of_user("unknown", None)) == []


class TestAll:
    def test_all_come_oldest_first(self, store: ConversationStore) -> None:
        numbers = [number * 17 % (2 * PIECE + 1) for number in range(2 * PIECE + 1)]
        fill(store, *(conversation(f"id-{number}", updated_at=number) for number in numbers))

        assert ids(store.all()) == [f"id-{number}" for number in range(2 * PIECE + 1)]
        assert len(store.of_user("user", None)) == 2 * PIECE + 1
        assert len(store.find_by_scope("scope", 2 * PIECE)) == 2 * PIECE

    def test_all_come_once_where_many_have_one_time(self, store: ConversationStore) -> None:
        fill(store, *(conversation(f"id-{number}", updated_at=5) for number in range(2 * PIECE + 1)))

        assert sorted(ids(store.all())) == sorted(f"id-{number}" for number in range(2 * PIECE + 1))

    def test_none_is_missed_while_turns_go_on(self, store: ConversationStore) -> None:
        fill(store, *(conversation(f"id-{number}", updated_at=number) for number in range(PIECE + 100)))

        seen = set()
        for number, row in enumerate(store.all()):
            seen.add(row.id)
            if number == 10:
                for moved in ("id-499", "id-50", "id-550"):
                    store.claim(moved, claim="a", now=10, until=20)
                    store.save(conversation(moved, updated_at=9999), claim="a")

        assert seen == {f"id-{number}" for number in range(PIECE + 100)}

    def test_an_empty_store_has_none(self, store: ConversationStore) -> None:
        assert ids(store.all()) == []


class TestForgetting:
    def test_a_deleted_conversation_is_nowhere(self, store: ConversationStore) -> None:
        fill(store, conversation("id"), conversation("other", match_key="other", scope="other", user="other"))

        assert store.delete("id")

        assert not store.delete("id")
        assert store.find("id") is None
        assert store.find_by_scope("scope", 9) == []
        assert store.find_by_conversation_id("caller", "dify-id") is None
        assert store.of_user("user", None) == []
        assert store.claim_match("key", claim="a", until=20) is None
        assert ids(store.recent(9)) == ids(store.all()) == ["other"]

    def test_what_was_last_used_before_is_forgotten(self, store: ConversationStore) -> None:
        fill(store, *(conversation(f"id-{number}", updated_at=number) for number in range(PIECE + 10)))

        assert store.delete_older_than(PIECE + 5) == PIECE + 5
        assert store.delete_older_than(PIECE + 5) == 0
        assert ids(store.all()) == [f"id-{number}" for number in range(PIECE + 5, PIECE + 10)]

    @pytest.mark.parametrize(
        ("most", "deleted"), [(PIECE + 10, 0), (PIECE, 10), (3, PIECE + 7), (0, PIECE + 10)]
    )
    def test_the_oldest_beyond_a_number_are_forgotten(
        self, store: ConversationStore, most: int, deleted: int
    ) -> None:
        fill(store, *(conversation(f"id-{number}", updated_at=number) for number in range(PIECE + 10)))

        assert store.delete_beyond(most) == deleted
        assert ids(store.all()) == [f"id-{number}" for number in range(deleted, PIECE + 10)]


class TestTelling:
    def test_statistics_count(self, store: ConversationStore) -> None:
        fill(
            store,
            conversation("one", updated_at=1.5, turns=1),
            conversation("two", updated_at=2.5, turns=2, user="another", model="another"),
            conversation("three", updated_at=3.5, turns=3),
        )

        assert store.statistics() == StoreStatistics(
            conversations=3,
            users=2,
            turns=6,
            by_model={"another": 1, "model": 2},
            oldest_at=1.5,
            newest_at=3.5,
        )

    def test_statistics_of_more_than_one_piece_count_all(self, store: ConversationStore) -> None:
        fill(
            store, *(conversation(f"id-{number}", updated_at=number, turns=2) for number in range(PIECE + 1))
        )

        assert store.statistics() == StoreStatistics(
            PIECE + 1, 1, 2 * (PIECE + 1), {"model": PIECE + 1}, 0.0, float(PIECE)
        )

    def test_an_empty_store_has_no_ages(self, store: ConversationStore) -> None:
        assert store.statistics() == StoreStatistics(0, 0, 0, {}, None, None)

    def test_a_store_tells_what_it_is(self, store: ConversationStore) -> None:
        fill(store, conversation("id"))

        about = store.about()

        assert about["backend"] in ("sqlite", "redis", "postgresql", "memory")
        assert about["schema_version"] == 1
        assert isinstance(about["size_bytes"], int)

    def test_optimizing_changes_nothing(self, store: ConversationStore) -> None:
        fill(store, *(conversation(f"id-{number}", updated_at=number) for number in range(PIECE)))
        store.delete_beyond(2)

        store.optimize()

        assert len(ids(store.all())) == 2

    def test_a_store_that_answers_is_pinged(self, store: ConversationStore) -> None:
        store.ping()

    def test_a_closed_store_opens_again(self, store: ConversationStore) -> None:
        fill(store, conversation("id"))

        store.close()
        store.close()

        assert store.find("id") == conversation("id")
