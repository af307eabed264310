"""Files in an object storage that speaks S3, which all machines share.

A file is two objects that lie side by side below a digest of its owner:
`OWNER/ID.content.EXPIRY` and `OWNER/ID.json`. So one listing tells sizes and expiry of
all files, and nobody's files are found below another's.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from functools import partial
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from time import monotonic
from typing import Final

import msgspec

from opendify.bounded import remember
from opendify.files.base import (
    Content,
    FilePage,
    FileQuery,
    FileStoreUnavailable,
    NewFile,
    RoomLimits,
    StoredFile,
    room_of,
)
from opendify.files.counted_room import CountedRoom
from opendify.files.drafts import Draft, Drafts, OwnerHasNoRoom
from opendify.files.s3_bucket import Body, Bucket, failures_mapped
from opendify.files.s3_location import Credentials, S3Location
from opendify.records import Clock

_ID: Final = re.compile(r"file-[0-9a-f]{1,64}")
_KEY: Final = re.compile(
    r"(?P<place>[0-9a-f]{32}/(?P<id>file-[0-9a-f]+))\.(?:json|content\.(?P<expires_at>[0-9]+|never))"
)
_READERS: Final = 16
_MOST_OWNERS: Final = 2_000
# Longer than any upload of a content, after which its JSON follows.
_STALE_AFTER_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True)
class _Object:
    """What a listing tells of one of a file's two objects; only a content expires."""

    key: str
    place: str
    file_id: str
    is_content: bool
    expires_at: int | None
    bytes: int
    modified_at: float

    def is_expired(self, now: float) -> bool:
        return self.expires_at is not None and self.expires_at <= now


class S3Files:
    """Keeps everything in a bucket, below its prefix; drafts lie below `drafts` on this machine's disk.

    A content stands in its place before its JSON is written, and is deleted after it:
    what a crash leaves between the two is a content that nobody finds and `clean_up` deletes.
    """

    def __init__(
        self,
        location: S3Location,
        drafts: Path,
        *,
        credentials: Credentials | None = None,
        clock: Clock = monotonic,
    ) -> None:
        """Without `credentials` they are those of the environment, as AWS' own tools find them."""
        self._bucket = Bucket(location, credentials)
        self._drafts = Drafts(drafts)
        self._clock = clock
        self._room = CountedRoom(self._count, clock)
        self._owned_rooms: dict[str, CountedRoom] = {}

    def draft(self, most_bytes: int) -> Draft:
        with failures_mapped():
            return self._drafts.begin(most_bytes)

    def save(self, draft: Draft, new: NewFile, limits: RoomLimits) -> StoredFile:
        file = StoredFile(**asdict(new), bytes=draft.bytes, sha256=draft.sha256)
        now, room = file.created_at, self._room_of(file.owner)
        with (
            failures_mapped(),
            room.taken(room_of(file.bytes), most_bytes=limits.owner_bytes, now=now),
            self._room.taken(file.bytes, most_bytes=limits.total_bytes, now=now),
        ):
            draft.finish()
            try:
                self._bucket.upload(draft.path, _content_key(file), file.mime_type)
                self._bucket.put(_json_key(file.owner, file.id), msgspec.json.encode(file))
            except BaseException:
                with suppress(FileStoreUnavailable), failures_mapped():
                    self._bucket.delete(_json_key(file.owner, file.id))
                    self._bucket.delete(_content_key(file))
                raise
        return file

    def find(self, file_id: str, *, owner: str, now: float) -> StoredFile | None:
        if not _ID.fullmatch(file_id):
            return None
        with failures_mapped():
            found = self._read(_json_key(owner, file_id))
        return found if found and _is_kept(found, owner, now) else None

    def open(self, file: StoredFile) -> Content | None:
        with failures_mapped():
            body = self._bucket.get(_content_key(file))
        return _Body(body) if body else None

    def page(self, query: FileQuery, *, now: float) -> FilePage:
        found: list[StoredFile] = []
        with failures_mapped():
            for file in self._read_all(self._keys_of(query)):
                if _is_kept(file, query.owner, now) and query.purpose in (None, file.purpose):
                    found.append(file)
                if len(found) > query.limit:
                    break
        return FilePage(tuple(found[: query.limit]), len(found) > query.limit)

    def delete(self, file_id: str, *, owner: str) -> bool:
        if not _ID.fullmatch(file_id):
            return False
        with failures_mapped():
            found = self._read(_json_key(owner, file_id))
            if found is None:
                return False
            self._bucket.delete(_json_key(owner, file_id))
            self._bucket.delete(_content_key(found))
        return True

    def clean_up(self, *, now: float) -> int:
        with failures_mapped():
            deleted = sum(self._delete_if_done(each, now) for each in self._files())
            self._bucket.abort_uploads(begun_before=now - _STALE_AFTER_SECONDS)
            return deleted + self._drafts.sweep(now=now)

    def close(self) -> None:
        self._bucket.close()

    def _count(self, now: float) -> int:
        return sum(each.bytes for each in self._contents(now))

    def _count_owned(self, owner: str, now: float) -> int:
        return sum(room_of(each.bytes) for each in self._contents(now, f"{_folder(owner)}/"))

    def _room_of(self, owner: str) -> CountedRoom:
        room = self._owned_rooms.get(owner)
        if room is None:
            room = CountedRoom(partial(self._count_owned, owner), self._clock, OwnerHasNoRoom)
            room = remember(self._owned_rooms, owner, room, most=_MOST_OWNERS)
        return room

    def _contents(self, now: float, below: str = "") -> Iterator[_Object]:
        return (each for each in self._objects(below) if each.is_content and not each.is_expired(now))

    def _keys_of(self, query: FileQuery) -> Sequence[str]:
        """The keys of the JSON of an owner's files behind `query.after`, in its order."""
        ids = [each.file_id for each in self._objects(f"{_folder(query.owner)}/") if not each.is_content]
        ids.sort(reverse=query.order == "desc")
        after = query.after
        if after is not None:
            ids = [each for each in ids if (each < after if query.order == "desc" else each > after)]
        return [_json_key(query.owner, each) for each in ids]

    def _read_all(self, keys: Sequence[str]) -> Iterator[StoredFile]:
        """Several at once; those that were deleted meanwhile are left out."""
        with ThreadPoolExecutor(_READERS, thread_name_prefix="s3-reader") as pool:
            for start in range(0, len(keys), _READERS):
                yield from filter(None, pool.map(self._read, keys[start : start + _READERS]))

    def _read(self, key: str) -> StoredFile | None:
        body = self._bucket.get(key)
        if body is None:
            return None
        with closing(body):
            facts = body.read()
        try:
            return msgspec.json.decode(facts, type=StoredFile)
        except msgspec.MsgspecError as error:
            raise FileStoreUnavailable("what is known of a file cannot be read") from error

    def _delete_if_done(self, objects: Sequence[_Object], now: float) -> bool:
        """Delete a file that has expired, or a content that a crash left without its JSON."""
        is_expired = any(each.is_expired(now) for each in objects)
        is_left = all(each.is_content for each in objects) and all(
            each.modified_at < now - _STALE_AFTER_SECONDS for each in objects
        )
        if is_expired or is_left:
            # Its JSON first: whoever finds that one finds a content.
            for each in sorted(objects, key=attrgetter("is_content")):
                self._bucket.delete(each.key)
        return is_expired or is_left

    def _files(self) -> Iterator[Sequence[_Object]]:
        """The objects of each file; listings come in the keys' order."""
        return (tuple(group) for _, group in groupby(self._objects(), key=attrgetter("place")))

    def _objects(self, below: str = "") -> Iterator[_Object]:
        for entry in self._bucket.listing(below):
            match = _KEY.fullmatch(entry.key)
            if match:
                expires_at = match["expires_at"]
                yield _Object(
                    key=entry.key,
                    place=match["place"],
                    file_id=match["id"],
                    is_content=expires_at is not None,
                    expires_at=None if expires_at in (None, "never") else int(expires_at),
                    bytes=entry.bytes,
                    modified_at=entry.modified_at,
                )


class _Body:
    """A content that is on its way."""

    def __init__(self, body: Body) -> None:
        self._body = body

    def read(self, size: int, /) -> bytes:
        with failures_mapped():
            return self._body.read(size)

    def close(self) -> None:
        self._body.close()


def _folder(owner: str) -> str:
    return hashlib.sha256(owner.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _json_key(owner: str, file_id: str) -> str:
    return f"{_folder(owner)}/{file_id}.json"


def _content_key(file: StoredFile) -> str:
    expires_at = "never" if file.expires_at is None else file.expires_at
    return f"{_folder(file.owner)}/{file.id}.content.{expires_at}"


def _is_kept(file: StoredFile, owner: str, now: float) -> bool:
    return file.owner == owner and (file.expires_at is None or file.expires_at > now)
