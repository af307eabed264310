"""What crashes, outages and large files do to files in an object storage, and how its address is read."""

import logging
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from opendify.errors import FileStorageUnavailable
from opendify.files.base import FileQuery, FileStore, FileStoreUnavailable, StoredFile
from opendify.files.keeper import FileKeeper
from opendify.files.opening import open_configured_files, open_file_store
from opendify.files.s3_location import Credentials, S3Location, read_s3_location
from opendify.records import Caller
from opendify.settings import SettingsError
from opendify.settings.files import FileSettings
from tests.fakes.settings import make_settings
from tests.files.keeping import NOW, content_of, keep, new_file
from tests.files.s3_server import BUCKET, CREDENTIALS, S3Server

DAY = 86_400


class Place:
    """An empty store, and the same bucket as an operator sees it."""

    def __init__(self, server: S3Server, folder: Path) -> None:
        url = server.new_url()
        self.prefix = f"{urlsplit(url).path.strip('/')}/"
        self.server = server
        self.store = open_file_store(url, folder, credentials=CREDENTIALS)

    def listed(self) -> list[str]:
        with self.server.client() as client:
            listed = client.list_objects_v2(Bucket=BUCKET, Prefix=self.prefix).get("Contents", [])
        return [entry["Key"].removeprefix(self.prefix) for entry in listed]

    def remove(self, key: str) -> None:
        with self.server.client() as client:
            client.delete_object(Bucket=BUCKET, Key=self.prefix + key)


@pytest.fixture
def place(s3: S3Server, tmp_path: Path) -> Iterator[Place]:
    made = Place(s3, tmp_path / "data")
    yield made
    made.store.close()


def unreachable(folder: Path) -> FileStore:
    url = "s3://bucket?endpoint=http://127.0.0.1:1&region=us-east-1"
    return open_file_store(url, folder, credentials=CREDENTIALS)


class TestObjects:
    def test_a_file_is_two_objects_below_a_digest_of_its_owner(self, place: Place) -> None:
        kept = keep(place.store, new_file(expires_at=NOW + 60))

        content, facts = place.listed()
        assert content.endswith(f"/{kept.id}.content.{NOW + 60}")
        assert facts.endswith(f"/{kept.id}.json")
        assert "alice" not in content + facts

    def test_what_does_not_fit_leaves_nothing(self, place: Place, tmp_path: Path) -> None:
        with pytest.raises(Exception, match="0 of 3 bytes"):
            keep(place.store, new_file(), b"four", most_total_bytes=3)

        assert place.listed() == []
        assert list((tmp_path / "data" / "file-drafts").iterdir()) == []

    def test_deleting_leaves_nothing(self, place: Place) -> None:
        kept = keep(place.store, new_file())

        assert place.store.delete(kept.id, owner="alice")
        assert place.listed() == []

    def test_other_objects_below_the_prefix_are_left_alone(self, place: Place) -> None:
        with place.server.client() as client:
            client.put_object(Bucket=BUCKET, Key=f"{place.prefix}notes.txt", Body=b"mine")

        assert place.store.clean_up(now=time.time() + 400 * DAY) == 0
        assert place.listed() == ["notes.txt"]

    def test_a_large_file_goes_and_comes_in_parts(self, place: Place) -> None:
        part = bytes(range(256)) * 4096
        kept = keep(place.store, new_file(), *[part] * 33)

        assert kept.bytes == 33 * 1024**2
        assert content_of(place.store, kept) == part * 33


class TestLeftovers:
    def test_a_content_without_its_json_is_deleted_when_it_is_a_day_old(self, place: Place) -> None:
        lasting = keep(place.store, new_file())
        keep(place.store, new_file(owner="bob"))
        (facts,) = [key for key in place.listed() if key.endswith(".json") and lasting.id not in key]
        place.remove(facts)

        assert place.store.clean_up(now=time.time() + 3_600) == 0
        assert place.store.clean_up(now=time.time() + DAY + 60) == 1
        assert len(place.listed()) == 2
        assert content_of(place.store, lasting) == b"content"

    def test_parts_of_an_upload_that_was_never_finished_are_deleted_too(self, place: Place) -> None:
        with place.server.client() as client:
            client.create_multipart_upload(Bucket=BUCKET, Key=f"{place.prefix}half")

            def unfinished() -> list[float]:
                listed = client.list_multipart_uploads(Bucket=BUCKET, Prefix=place.prefix)
                return [upload["Initiated"].timestamp() for upload in listed.get("Uploads", [])]

            (begun_at,) = unfinished()
            place.store.clean_up(now=begun_at + DAY - 60)
            assert unfinished() == [begun_at]
            place.store.clean_up(now=begun_at + DAY + 60)
            assert unfinished() == []


class TestOutages:
    def test_a_storage_that_is_away_is_an_outage(self, tmp_path: Path) -> None:
        with closing(unreachable(tmp_path)) as store:
            with pytest.raises(FileStoreUnavailable):
                keep(store, new_file())
            with pytest.raises(FileStoreUnavailable):
                store.page(FileQuery(owner="alice"), now=NOW)
        assert list((tmp_path / "file-drafts").iterdir()) == []

    def test_clients_read_that_files_are_not_available(self, tmp_path: Path) -> None:
        with closing(FileKeeper(unreachable(tmp_path), FileSettings())) as keeper:
            with pytest.raises(FileStorageUnavailable) as caught:
                keeper.get(new_file().id, Caller("alice"))
            keeper.clean_up()
        assert "127.0.0.1" not in caught.value.message

    def test_a_bucket_that_is_not_there_is_no_missing_file(self, s3: S3Server, tmp_path: Path) -> None:
        url = f"s3://no-such-bucket?endpoint={s3.endpoint}"
        store = open_file_store(url, tmp_path, credentials=CREDENTIALS)
        with closing(store), pytest.raises(FileStoreUnavailable, match="NoSuchBucket"):
            store.find(new_file().id, owner="alice", now=NOW)

    def test_facts_that_cannot_be_read_are_an_outage(self, place: Place) -> None:
        kept = keep(place.store, new_file())
        key = next(key for key in place.listed() if key.endswith(".json"))
        with place.server.client() as client:
            client.put_object(Bucket=BUCKET, Key=place.prefix + key, Body=b"{}")

        with pytest.raises(FileStoreUnavailable):
            place.store.find(kept.id, owner="alice", now=NOW)

    def test_no_key_comes_into_a_log(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        keeper = FileKeeper(unreachable(tmp_path), FileSettings())
        with closing(keeper), pytest.raises(FileStorageUnavailable):
            keeper.get(new_file().id, Caller("alice"))

        assert CREDENTIALS.secret_key not in caplog.text
        assert "secret" not in repr(Credentials(access_key="a", secret_key="the secret"))


class TestAddress:
    @pytest.mark.parametrize(
        ("url", "location"),
        [
            ("s3://files", S3Location(bucket="files")),
            ("s3://files/", S3Location(bucket="files")),
            ("S3://files/a/b/", S3Location(bucket="files", prefix="a/b/")),
            (
                "s3://files/a?endpoint=https://minio.test:9000&region=eu-1",
                S3Location(bucket="files", prefix="a/", endpoint="https://minio.test:9000", region="eu-1"),
            ),
            (
                "s3://files?endpoint=http%3A%2F%2F[::1]:9000/",
                S3Location(bucket="files", endpoint="http://[::1]:9000/"),
            ),
        ],
    )
    def test_a_url_names_a_place(self, url: str, location: S3Location) -> None:
        assert read_s3_location(url) == location

    @pytest.mark.parametrize(
        "url",
        [
            "s3://",
            "s3:///secret",
            "s3://a:secret@files",
            "s3://files?secret=1",
            "s3://files?region",
            "s3://files?region=a&region=secret",
            "s3://files?endpoint=ftp://secret",
            "s3://files?endpoint=http://a:secret@host",
            "s3://files?endpoint=http://host/secret",
            "s3://files?endpoint=http://host:secret",
            "s3://files?region=sec ret",
            "s3://files/sec%0Aret",
            "s3://files#secret",
            "s3://[secret",
        ],
    )
    def test_any_other_is_refused_without_repeating_it(self, url: str) -> None:
        with pytest.raises(ValueError, match=r"s3://|prefix|endpoint|region") as caught:
            read_s3_location(url)

        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize("name", ["FILE_STORE_ACCESS_KEY", "FILE_STORE_SECRET_KEY"])
    def test_half_a_key_is_refused(self, name: str) -> None:
        settings = make_settings(FILE_STORE_URL="s3://files", **{name: "half"})

        with pytest.raises(SettingsError, match="set together"):
            open_configured_files(settings)

    def test_the_settings_open_it(self, place: Place, tmp_path: Path) -> None:
        (tmp_path / "key").write_text("secret\n")
        url = f"s3://{BUCKET}/{place.prefix}?endpoint={place.server.endpoint}"
        settings = make_settings(
            FILE_STORE_URL=url,
            FILE_STORE_ACCESS_KEY="access",
            FILE_STORE_SECRET_KEY_FILE=str(tmp_path / "key"),
            DATA_DIR=str(tmp_path / "other machine"),
        )
        kept = keep(place.store, new_file())

        with closing(open_configured_files(settings)) as store:
            found: StoredFile | None = store.find(kept.id, owner="alice", now=NOW)
        assert found == kept
        assert "secret" not in repr(settings.files)
