"""Answers in a Redis that several machines share.

An answer is a hash at `{opendify}:answer:ID`, which Redis itself forgets in time. Three
kinds of sorted sets by `begun_at` name it: those of a key, those of a user, and all; whoever
meets an id without a hash takes it out.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from opendify.stores.answers import StoredAnswer
from opendify.stores.redis_client import RedisScripts, read_redis_url
from opendify.stores.redis_scripts import PREFIX, Script
from opendify.stores.rows import storable_text

_ANSWER: Final = f"{PREFIX}answer:"
_ALL: Final = f"{PREFIX}answers"
_OF_KEY: Final = f"{PREFIX}answers-of-key:"
_OF_USER: Final = f"{PREFIX}answers-of-user:"

_COMMON: Final = f"""
local ANSWER, ALL, OF_KEY, OF_USER = '{_ANSWER}', '{_ALL}', '{_OF_KEY}', '{_OF_USER}'

-- The sets of an answer live as long as it does.
local function live(id, milliseconds)
  local names = redis.call('HMGET', ANSWER .. id, 'key', 'user')
  redis.call('PEXPIRE', ANSWER .. id, milliseconds)
  for _, set in ipairs({{OF_KEY .. names[1], OF_USER .. names[2], ALL}}) do
    if redis.call('PTTL', set) < tonumber(milliseconds) then redis.call('PEXPIRE', set, milliseconds) end
  end
end

local function forget(id)
  local names = redis.call('HMGET', ANSWER .. id, 'key', 'user')
  if names[1] then
    redis.call('ZREM', OF_KEY .. names[1], id)
    redis.call('ZREM', OF_USER .. names[2], id)
  end
  redis.call('ZREM', ALL, id)
  return redis.call('DEL', ANSWER .. id)
end

local function is_known(id, now)
  local expires_at = redis.call('HGET', ANSWER .. id, 'expires_at')
  return expires_at and tonumber(expires_at) > tonumber(now)
end

local function has_ended(id)
  return redis.call('HEXISTS', ANSWER .. id, 'outcome') == 1
end

local function read(id)
  return redis.call('HMGET', ANSWER .. id,
    'id', 'key', 'fingerprint', 'user', 'begun_at', 'claimed_until', 'expires_at', 'outcome')
end
"""

_BEGIN: Final = Script(
    _COMMON
    + """
local id, now, milliseconds, anew = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1'
local key, fingerprint, user = ARGV[5], ARGV[6], ARGV[7]
local begun_at, claimed_until, expires_at = ARGV[8], ARGV[9], ARGV[10]
if not anew then
  for _, known in ipairs(redis.call('ZREVRANGE', OF_KEY .. key, 0, -1)) do
    if is_known(known, now) then return read(known) end
    redis.call('ZREM', OF_KEY .. key, known)
  end
end
redis.call('DEL', ANSWER .. id)
redis.call('HSET', ANSWER .. id, 'id', id, 'key', key, 'fingerprint', fingerprint, 'user', user,
  'begun_at', begun_at, 'claimed_until', claimed_until, 'expires_at', expires_at)
for _, set in ipairs({OF_KEY .. key, OF_USER .. user, ALL}) do redis.call('ZADD', set, begun_at, id) end
live(id, milliseconds)
return false
"""
)

_FIND: Final = Script(_COMMON + "return is_known(ARGV[1], ARGV[2]) and read(ARGV[1])")

_RENEW: Final = Script(
    _COMMON
    + """
local now, claimed_until, expires_at, milliseconds = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
for n = 5, #ARGV do
  local id = ARGV[n]
  if is_known(id, now) and not has_ended(id) then
    redis.call('HSET', ANSWER .. id, 'claimed_until', claimed_until, 'expires_at', expires_at)
    live(id, milliseconds)
  end
end
"""
)

_FINISH: Final = Script(
    _COMMON
    + """
local id, now, outcome, expires_at, milliseconds = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if not is_known(id, now) or has_ended(id) then return 0 end
redis.call('HSET', ANSWER .. id, 'outcome', outcome, 'expires_at', expires_at)
live(id, milliseconds)
return 1
"""
)

_FORGET: Final = Script(_COMMON + "return forget(ARGV[1])")

_FORGET_USER: Final = Script(
    _COMMON
    + """
local forgotten = 0
for _, id in ipairs(redis.call('ZRANGE', OF_USER .. ARGV[1], 0, -1)) do
  forgotten = forgotten + forget(id)
end
return forgotten
"""
)

_CLEAN_UP: Final = Script(
    _COMMON
    + """
local now, most_bytes = ARGV[1], tonumber(ARGV[2])
local total, left = 0, 0
for _, id in ipairs(redis.call('ZREVRANGE', ALL, 0, -1)) do
  if not is_known(id, now) then
    forget(id)
  else
    left = left + 1
    total = total + redis.call('HSTRLEN', ANSWER .. id, 'outcome')
    if total > most_bytes and has_ended(id) then
      if redis.call('HGET', ANSWER .. id, 'fingerprint') == '' then
        forget(id)
        left = left - 1
      else
        redis.call('HSET', ANSWER .. id, 'outcome', '')
      end
    end
  end
end
return left
"""
)


class RedisAnswers:
    """Each call is one script.

    Raises:
        ValueError: `url` is none that is known here.
    """

    def __init__(self, url: str) -> None:
        self._scripts = RedisScripts(read_redis_url(url))

    def begin(self, answer: StoredAnswer, *, now: float, anew: bool) -> StoredAnswer | None:
        known = self._scripts.run(
            _BEGIN,
            _ALL,
            answer.id,
            now,
            _milliseconds(answer.expires_at - now),
            int(anew),
            answer.key,
            answer.fingerprint,
            storable_text(answer.user),
            answer.begun_at,
            answer.claimed_until,
            answer.expires_at,
        )
        return _read(known)

    def find(self, id: str, *, now: float) -> StoredAnswer | None:
        return _read(self._scripts.run(_FIND, _ALL, id, now))

    def renew(self, ids: Sequence[str], *, now: float, claimed_until: float, expires_at: float) -> None:
        milliseconds = _milliseconds(expires_at - now)
        self._scripts.run(_RENEW, _ALL, now, claimed_until, expires_at, milliseconds, *ids)

    def finish(self, id: str, outcome: bytes, *, now: float, expires_at: float) -> None:
        self._scripts.run(_FINISH, _ALL, id, now, outcome, expires_at, _milliseconds(expires_at - now))

    def forget(self, id: str) -> None:
        self._scripts.run(_FORGET, _ALL, id)

    def delete_of_user(self, user: str) -> int:
        return msgspec.convert(self._scripts.run(_FORGET_USER, _ALL, storable_text(user)), int)

    def clean_up(self, *, now: float, most_bytes: int) -> int:
        return msgspec.convert(self._scripts.run(_CLEAN_UP, _ALL, now, most_bytes), int)

    def close(self) -> None:
        self._scripts.close()


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _read(answer: object) -> StoredAnswer | None:
    if not isinstance(answer, list):
        return None
    *texts, outcome = answer
    row = dict(zip(StoredAnswer.__struct_fields__, texts, strict=False))
    outcome = outcome if outcome is None else str(outcome).encode()
    return msgspec.convert({**row, "outcome": outcome}, StoredAnswer, strict=False, builtin_types=(bytes,))
