"""API keys in a Redis that several machines share.

A key is a hash at `{opendify}:key:ID` of its `body` and its `last_used_at`; the sorted set
`{opendify}:keys` holds the ids in the order of their making. Nothing expires.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from opendify.stores.keys import StoredKey, read_key, write_body
from opendify.stores.redis_client import RedisScripts, read_redis_url
from opendify.stores.redis_scripts import PREFIX, Script

_KEY: Final = f"{PREFIX}key:"
_ALL: Final = f"{PREFIX}keys"
_PIECE: Final = 1_000

_FIND: Final = Script("return redis.call('HMGET', KEYS[1], 'body', 'last_used_at')")
_ADD: Final = Script(f"""
local id, body, last_used_at = ARGV[1], ARGV[2], ARGV[3]
if redis.call('HSETNX', KEYS[1], 'body', body) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'last_used_at', last_used_at)
local last = redis.call('ZREVRANGE', '{_ALL}', 0, 0, 'WITHSCORES')
redis.call('ZADD', '{_ALL}', (tonumber(last[2] or 0)) + 1, id)
return 1
""")
_REPLACE: Final = Script("""
if redis.call('HGET', KEYS[1], 'body') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'body', ARGV[2])
return 1
""")
_PIECE_OF_ALL: Final = Script(f"""
local rows = {{}}
for _, id in ipairs(redis.call('ZRANGE', '{_ALL}', ARGV[1], ARGV[2])) do
  local row = redis.call('HMGET', '{_KEY}' .. id, 'body', 'last_used_at')
  rows[#rows + 1] = {{id, row[1], row[2]}}
end
return rows
""")
_NOTE_USE: Final = Script("""
local before = redis.call('HGET', KEYS[1], 'last_used_at')
if before and tonumber(before) < tonumber(ARGV[1]) then
  redis.call('HSET', KEYS[1], 'last_used_at', ARGV[1])
end
""")

_Row = tuple[str | None, str | None]


class RedisKeys:
    """Each call is one script, but `all`, which reads in pieces.

    Raises:
        ValueError: `url` is none that is known here.
    """

    def __init__(self, url: str) -> None:
        self._scripts = RedisScripts(read_redis_url(url))

    def find(self, id: str) -> StoredKey | None:
        body, last_used_at = msgspec.convert(self._scripts.run(_FIND, f"{_KEY}{id}"), _Row)
        return None if body is None else read_key(id, body, last_used_at)

    def add(self, key: StoredKey) -> bool:
        values = (key.id, write_body(key), key.last_used_at)
        return self._scripts.run(_ADD, f"{_KEY}{key.id}", *values) == 1

    def replace(self, before: StoredKey, after: StoredKey) -> bool:
        values = (write_body(before), write_body(after))
        return self._scripts.run(_REPLACE, f"{_KEY}{before.id}", *values) == 1

    def all(self) -> Sequence[StoredKey]:
        keys: list[StoredKey] = []
        while True:
            answer = self._scripts.run(_PIECE_OF_ALL, _ALL, len(keys), len(keys) + _PIECE - 1)
            rows = msgspec.convert(answer, list[tuple[str, str, str]])
            keys += [read_key(*row) for row in rows]
            if len(rows) < _PIECE:
                return keys

    def note_use(self, id: str, at: float) -> None:
        self._scripts.run(_NOTE_USE, f"{_KEY}{id}", at)

    def close(self) -> None:
        self._scripts.close()
