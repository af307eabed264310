"""What every back end of files does."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from opendify.files.base import FilePage, FileQuery, FileStore, StoredFile, new_file_id
from opendify.files.drafts import DraftTooLarge, NoRoom, OwnerHasNoRoom
from tests.files.keeping import NOW, content_of, keep, new_file


def ids(page: FilePage) -> list[str]:
    return [file.id for file in page.files]


def keep_some(store: FileStore, count: int, *, owner: str = "alice") -> Sequence[str]:
    return [keep(store, new_file(owner=owner, created_at=NOW + n)).id for n in range(count)]


class TestSaving:
    def test_a_file_comes_back_as_it_was_written(self, store: FileStore) -> None:
        new = new_file(expires_at=NOW + 60)
        kept = keep(store, new, b"one ", b"", b"two\x00\xff")

        assert kept == StoredFile(
            id=new.id,
            owner="alice",
            filename="notes.txt",
            purpose="user_data",
            mime_type="text/plain",
            created_at=NOW,
            expires_at=NOW + 60,
            bytes=9,
            sha256=hashlib.sha256(b"one two\x00\xff").hexdigest(),
        )
        assert store.find(new.id, owner="alice", now=NOW) == kept
        assert content_of(store, kept) == b"one two\x00\xff"

    def test_an_empty_file_is_a_file(self, store: FileStore) -> None:
        kept = keep(store, new_file(), b"")

        assert kept.bytes == 0
        assert content_of(store, kept) == b""

    def test_it_is_read_in_pieces(self, store: FileStore) -> None:
        kept = keep(store, new_file(), b"0123456789")
        content = store.open(kept)

        assert content is not None
        assert content.read(4) == b"0123"
        assert content.read(4) == b"4567"
        content.close()

    @pytest.mark.parametrize("name", ["näme 名前.pdf", 'a"b\\c.txt', "x" * 255, "'; DROP TABLE files"])
    def test_any_name_is_kept(self, store: FileStore, name: str) -> None:
        new = new_file()
        named = replace(new, filename=name)

        assert keep(store, named).filename == name
        found = store.find(new.id, owner="alice", now=NOW)
        assert found
        assert found.filename == name

    def test_what_is_not_saved_was_never_there(self, store: FileStore) -> None:
        with store.draft(100) as draft:
            draft.write(b"half a fi")

        assert store.page(FileQuery(owner="alice"), now=NOW) == FilePage((), has_more=False)

    def test_a_draft_holds_no_more_than_it_may(self, store: FileStore) -> None:
        with store.draft(10) as draft:
            draft.write(b"0123456789")
            with pytest.raises(DraftTooLarge):
                draft.write(b"!")

    def test_beyond_the_total_nothing_is_kept(self, store: FileStore) -> None:
        first = keep(store, new_file(), b"0123456789", most_total_bytes=15)

        with pytest.raises(NoRoom):
            keep(store, new_file(owner="bob"), b"012345", most_total_bytes=15)
        assert keep(store, new_file(owner="bob"), b"01234", most_total_bytes=15).bytes == 5
        assert content_of(store, first) == b"0123456789"

    def test_one_owner_cannot_take_all_the_room(self, store: FileStore) -> None:
        keep(store, new_file(), b"x" * 8_000, most_owner_bytes=10_000)

        with pytest.raises(OwnerHasNoRoom, match="8000 of 10000 bytes are taken"):
            keep(store, new_file(), b"x" * 3_000, most_owner_bytes=10_000)
        assert keep(store, new_file(owner="bob"), b"x" * 3_000, most_owner_bytes=10_000).bytes == 3_000

    def test_small_files_count_as_what_is_known_of_them(self, store: FileStore) -> None:
        for _ in range(2):
            keep(store, new_file(), b"", most_owner_bytes=10_000)

        with pytest.raises(OwnerHasNoRoom, match="8192 of 10000 bytes are taken"):
            keep(store, new_file(), b"", most_owner_bytes=10_000)

    def test_what_expired_or_was_deleted_leaves_its_owner_room(self, store: FileStore) -> None:
        keep(store, new_file(expires_at=NOW + 10), b"x" * 5_000, most_owner_bytes=6_000)
        later = new_file(created_at=NOW + 10)

        kept = keep(store, later, b"x" * 5_000, most_owner_bytes=6_000)
        assert store.delete(kept.id, owner="alice")

        again = keep(store, new_file(created_at=NOW + 10), b"x" * 5_000, most_owner_bytes=6_000)
        assert again.bytes == 5_000

    def test_what_expired_takes_no_room(self, store: FileStore) -> None:
        keep(store, new_file(expires_at=NOW + 10), b"0123456789", most_total_bytes=15)

        kept = keep(store, new_file(created_at=NOW + 10), b"0123456789", most_total_bytes=15)

        assert store.find(kept.id, owner="alice", now=NOW + 10) == kept


class TestFinding:
    def test_nobody_else_finds_it(self, store: FileStore) -> None:
        kept = keep(store, new_file(owner="alice"))

        assert store.find(kept.id, owner="bob", now=NOW) is None
        assert not store.delete(kept.id, owner="bob")
        assert store.page(FileQuery(owner="bob"), now=NOW).files == ()
        assert store.find(kept.id, owner="alice", now=NOW) == kept

    @pytest.mark.parametrize(
        "guess",
        ["", "file-", "file-1", "../index.db", "%", "file-%", "a/b", "a\x00b", "\ud800", "*", "..", "."],
    )
    def test_no_guess_finds_anything(self, store: FileStore, guess: str) -> None:
        kept = keep(store, new_file())

        assert store.find(guess, owner="alice", now=NOW) is None
        assert not store.delete(guess, owner="alice")
        assert content_of(store, kept) == b"content"

    def test_what_expired_is_not_found(self, store: FileStore) -> None:
        kept = keep(store, new_file(expires_at=NOW + 10))

        assert store.find(kept.id, owner="alice", now=NOW + 9) == kept
        assert store.find(kept.id, owner="alice", now=NOW + 10) is None
        assert store.page(FileQuery(owner="alice"), now=NOW + 10).files == ()

    def test_another_process_finds_it(self, store: FileStore, other_worker: FileStore) -> None:
        kept = keep(store, new_file())

        assert other_worker.find(kept.id, owner="alice", now=NOW) == kept
        assert content_of(other_worker, kept) == b"content"
        assert other_worker.delete(kept.id, owner="alice")
        assert store.find(kept.id, owner="alice", now=NOW) is None
        assert store.open(kept) is None


class TestPages:
    def test_the_newest_comes_first_unless_asked_otherwise(self, store: FileStore) -> None:
        old, middle, new = keep_some(store, 3)

        assert ids(store.page(FileQuery(owner="alice"), now=NOW)) == [new, middle, old]
        assert ids(store.page(FileQuery(owner="alice", order="asc"), now=NOW)) == [old, middle, new]

    @pytest.mark.parametrize("order", ["asc", "desc"])
    def test_pages_give_each_file_once(self, store: FileStore, order: str) -> None:
        kept = keep_some(store, 5)
        keep_some(store, 3, owner="bob")
        seen: list[str] = []
        has_more = True
        while has_more:
            query = FileQuery(owner="alice", after=seen[-1] if seen else None, limit=2, order=order)  # type: ignore[arg-type] # One of two.
            page = store.page(query, now=NOW)
            seen += ids(page)
            has_more = page.has_more

        assert seen == (list(kept) if order == "asc" else list(reversed(kept)))

    def test_a_page_may_begin_behind_a_file_that_is_gone(self, store: FileStore) -> None:
        old, middle, new = keep_some(store, 3)
        store.delete(middle, owner="alice")

        assert ids(store.page(FileQuery(owner="alice", after=middle), now=NOW)) == [old]
        assert ids(store.page(FileQuery(owner="alice", after=middle, order="asc"), now=NOW)) == [new]

    def test_a_page_can_be_of_one_purpose(self, store: FileStore) -> None:
        keep(store, new_file(purpose="vision"))
        batch = keep(store, new_file(purpose="batch"))

        assert ids(store.page(FileQuery(owner="alice", purpose="batch"), now=NOW)) == [batch.id]
        assert not store.page(FileQuery(owner="alice", purpose="batch", limit=1), now=NOW).has_more

    def test_ids_sort_by_age(self) -> None:
        made = [new_file_id(NOW + n / 1000) for n in range(50)]

        assert made == sorted(made)
        assert len(set(made)) == 50


class TestDeleting:
    def test_what_was_deleted_is_gone(self, store: FileStore) -> None:
        kept = keep(store, new_file())

        assert store.delete(kept.id, owner="alice")
        assert not store.delete(kept.id, owner="alice")
        assert store.find(kept.id, owner="alice", now=NOW) is None
        assert store.open(kept) is None

    def test_whoever_reads_it_reads_on(self, store: FileStore) -> None:
        kept = keep(store, new_file(), b"0123456789")
        content = store.open(kept)
        assert content is not None
        assert content.read(5) == b"01234"

        store.delete(kept.id, owner="alice")

        assert content.read(100) == b"56789"
        content.close()

    def test_cleaning_up_deletes_what_expired_and_nothing_else(self, store: FileStore) -> None:
        expired = keep(store, new_file(expires_at=NOW + 10))
        lasting = [keep(store, new_file(expires_at=NOW + 11)), keep(store, new_file())]

        assert store.clean_up(now=NOW + 10) == 1
        assert store.open(expired) is None
        assert [content_of(store, each) for each in lasting] == [b"content", b"content"]
        assert store.clean_up(now=NOW + 10) == 0

    def test_an_unused_store_can_be_cleaned_up(self, store: FileStore) -> None:
        assert store.clean_up(now=NOW) == 0


def test_many_at_once_lose_nothing(store: FileStore, other_worker: FileStore) -> None:
    def keep_and_delete(n: int) -> str | None:
        mine = (store, other_worker)[n % 2]
        kept = keep(mine, new_file(), str(n).encode() * 1000)
        assert content_of(mine, kept) == str(n).encode() * 1000
        if n % 3:
            return kept.id
        assert mine.delete(kept.id, owner="alice")
        return None

    with ThreadPoolExecutor(8) as pool:
        kept = set(pool.map(keep_and_delete, range(60))) - {None}

    assert len(kept) == 40
    assert set(ids(store.page(FileQuery(owner="alice"), now=NOW))) == kept
