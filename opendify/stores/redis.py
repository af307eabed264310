"""Conversations in a Redis that several machines share."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final, TypeVar

import msgspec

from opendify.stores import redis_scripts as scripts
from opendify.stores.base import StoredConversation, StoreStatistics, StoreUnavailable
from opendify.stores.redis_client import RedisScripts, read_redis_url
from opendify.stores.rows import storable_text, write_columns

_PIECE: Final = 500
# Bodies are JSON: a field that a release does not know is left alone, a missing one has its default.
_SCHEMA_VERSION: Final = 1
_Shape = TypeVar("_Shape")
_BODY: Final = msgspec.json.Decoder(StoredConversation)


class RedisStore:
    """Each call is one script, or several that each read or delete one piece.

    With `ttl_seconds` Redis forgets what was not saved for so long.

    Raises:
        ValueError: `url` is none that is known here.
    """

    def __init__(self, url: str, *, ttl_seconds: float | None = None) -> None:
        self._address = read_redis_url(url)
        self._ttl_milliseconds = round((ttl_seconds or 0) * 1000)
        self._scripts = RedisScripts(self._address)

    def claim_match(self, match_key: str, *, claim: str, until: float) -> StoredConversation | None:
        if not match_key:
            return None
        return _read_body(self._run(scripts.CLAIM_MATCH, _index("match", match_key), claim, until))

    def claim(self, id: str, *, claim: str, now: float, until: float) -> StoredConversation | None:
        return _read_body(self._run(scripts.CLAIM, _row_key(id), claim, now, until))

    def renew(self, id: str, *, claim: str, until: float) -> bool:
        return self._run(scripts.RENEW, _row_key(id), claim, until) == 1

    def save(self, conversation: StoredConversation, *, claim: str) -> bool:
        stored = msgspec.convert(write_columns(conversation), StoredConversation, builtin_types=(bytes,))
        saved = self._run(
            scripts.SAVE,
            _row_key(stored.id),
            stored.id,
            claim,
            msgspec.json.encode(stored),
            stored.updated_at,
            self._ttl_milliseconds,
            stored.model,
            stored.user,
            stored.turns,
            msgspec.json.encode(_indexes_of(stored)),
        )
        return saved == 1

    def release(self, id: str, *, claim: str) -> None:
        self._run(scripts.RELEASE, _row_key(id), claim)

    def find_by_scope(self, scope: str, limit: int) -> list[StoredConversation]:
        return self._newest(_index("scope", scope), limit)

    def find_by_conversation_id(self, caller: str, conversation_id: str) -> StoredConversation | None:
        found = self._newest(_index("dify", caller, conversation_id), 1)
        return found[0] if found else None

    def find(self, id: str) -> StoredConversation | None:
        return _read_body(self._run(scripts.FIND, _row_key(id)))

    def recent(self, limit: int) -> list[StoredConversation]:
        return self._newest(scripts.RECENT, limit)

    def of_user(self, user: str, caller: str | None) -> list[StoredConversation]:
        wanted = None if caller is None else storable_text(caller)
        of_all = self._newest(_index("user", user), None)
        return [conversation for conversation in of_all if wanted in (None, conversation.caller)]

    def all(self) -> Iterator[StoredConversation]:
        last, score = "", "0"
        while True:
            answer = self._run(scripts.OLDEST, scripts.RECENT, last, score, _PIECE)
            last, score, bodies = _read(answer, tuple[str, str, list[str]])
            yield from map(_read_known_body, bodies)
            if not last:
                return

    def delete(self, id: str) -> bool:
        return self._run(scripts.DELETE, _row_key(id), storable_text(id)) == 1

    def delete_older_than(self, updated_before: float) -> int:
        return self._delete_oldest(f"({updated_before!r}", None)

    def delete_beyond(self, most: int) -> int:
        excess = _read(self._run(scripts.SIZE, scripts.RECENT), int) - max(most, 0)
        return self._delete_oldest("+inf", excess)

    def statistics(self) -> StoreStatistics:
        users: set[str] = set()
        models: Counter[str] = Counter()
        times: list[float] = []
        turns, seen = 0, 0
        while True:
            answer = self._run(scripts.COUNT, scripts.RECENT, seen, _PIECE)
            piece, live = _read(answer, tuple[int, list[tuple[str, str, int, float]]])
            users.update(user for _, user, _, _ in live)
            models.update(model for model, _, _, _ in live)
            turns += sum(row[2] for row in live)
            # The pieces come oldest first.
            times = [*times[:1], *(row[3] for row in live)]
            seen += piece
            if piece < _PIECE:
                break
        oldest_at, newest_at = (times[0], times[-1]) if times else (None, None)
        return StoreStatistics(
            models.total(), len(users), turns, dict(sorted(models.items())), oldest_at, newest_at
        )

    def about(self) -> Mapping[str, object]:
        facts = _read(self._run(scripts.INFO, scripts.RECENT), str)
        server = dict(line.split(":", 1) for line in facts.splitlines() if ":" in line)
        return {
            "backend": "redis",
            "schema_version": _SCHEMA_VERSION,
            "size_bytes": int(server.get("used_memory", 0)),
            "server_version": server.get("redis_version", ""),
            "topology": self._address.kind,
            "ttl_seconds": self._ttl_milliseconds / 1000 or None,
        }

    def optimize(self) -> None:
        """Take out of the list of all what Redis has forgotten by itself."""
        self._newest(scripts.RECENT, None)

    def ping(self) -> None:
        self._run(scripts.SIZE, scripts.RECENT)

    def close(self) -> None:
        self._scripts.close()

    def _newest(self, index: str, limit: int | None) -> list[StoredConversation]:
        found: list[StoredConversation] = []
        while limit is None or len(found) < limit:
            most = _PIECE if limit is None else min(_PIECE, limit - len(found))
            answer = self._run(scripts.NEWEST, index, len(found), most)
            piece, bodies = _read(answer, tuple[int, list[str]])
            found += map(_read_known_body, bodies)
            if piece < most:
                break
        return found

    def _delete_oldest(self, highest_score: str, most: int | None) -> int:
        seen, deleted = 0, 0
        while most is None or seen < most:
            wanted = _PIECE if most is None else min(_PIECE, most - seen)
            answer = self._run(scripts.DELETE_OLDEST, scripts.RECENT, highest_score, wanted)
            piece, forgotten = _read(answer, tuple[int, int])
            seen, deleted = seen + piece, deleted + forgotten
            if piece < wanted:
                break
        return deleted

    def _run(self, script: scripts.Script, key: str, *arguments: scripts.Argument) -> object:
        return self._scripts.run(script, key, *arguments)


def _row_key(id: str) -> str:
    return f"{scripts.CONVERSATION}{storable_text(id)}"


def _index(kind: str, *names: str) -> str:
    # No storable text holds a NUL, so that no two lists of names are the same key.
    return f"{scripts.PREFIX}{kind}:" + "\0".join(map(storable_text, names))


def _indexes_of(stored: StoredConversation) -> list[str]:
    match = [_index("match", stored.match_key)] if stored.match_key else []
    return [
        *match,
        _index("scope", stored.scope),
        _index("dify", stored.caller, stored.conversation_id),
        _index("user", stored.user),
    ]


def _read_body(answer: object) -> StoredConversation | None:
    return _read_known_body(answer) if isinstance(answer, str) else None


def _read_known_body(body: str) -> StoredConversation:
    try:
        return _BODY.decode(body)
    except msgspec.MsgspecError as error:
        raise StoreUnavailable(f"a stored conversation cannot be read: {error}") from error


def _read(answer: object, shape: type[_Shape]) -> _Shape:
    return msgspec.convert(answer, shape, strict=False)
