"""Files for the suites."""

from opendify.files.base import FileStore, NewFile, RoomLimits, StoredFile, new_file_id

NOW = 1_800_000_000
MANY = 10**12


def new_file(
    *, owner: str = "alice", created_at: int = NOW, purpose: str = "user_data", expires_at: int | None = None
) -> NewFile:
    """A file of `owner`, with a new id."""
    return NewFile(
        id=new_file_id(created_at),
        owner=owner,
        filename="notes.txt",
        purpose=purpose,
        mime_type="text/plain",
        created_at=created_at,
        expires_at=expires_at,
    )


def keep(
    store: FileStore,
    new: NewFile,
    *pieces: bytes,
    most_total_bytes: int = MANY,
    most_owner_bytes: int = MANY,
) -> StoredFile:
    """Save a file of these pieces."""
    with store.draft(MANY) as draft:
        for piece in pieces or (b"content",):
            draft.write(piece)
        return store.save(draft, new, RoomLimits(most_total_bytes, most_owner_bytes))


def content_of(store: FileStore, file: StoredFile, size: int = 65_536) -> bytes:
    """All of a file's content."""
    content = store.open(file)
    assert content is not None
    pieces = list(iter(lambda: content.read(size), b""))
    content.close()
    return b"".join(pieces)
