"""The Redis store's writes, as Lua that Redis runs whole or not at all.

All keys carry the hash tag `{opendify}`, so that in a cluster one node has them all
and a script may reach a conversation, its indexes and the list of all at once.

A conversation is a hash at `{opendify}:conversation:ID`: its `body` as JSON, its
`claim` and `claimed_until` while it is claimed, what statistics count, and the names
of the `indexes` it is in. An index is a sorted set of ids by `updated_at`;
`{opendify}:recent` is the one of all. Redis expires a hash without touching the
indexes: whoever meets an id without a hash takes it out.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Final

Argument = str | bytes | float


@dataclass(frozen=True, slots=True)
class Script:
    """Lua, and the name under which Redis knows it once it has seen it."""

    source: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        # Redis names scripts so; nothing is kept secret by it.
        digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", digest)


PREFIX: Final = "{opendify}:"
CONVERSATION: Final = f"{PREFIX}conversation:"
RECENT: Final = f"{PREFIX}recent"
MATCH: Final = f"{PREFIX}match:"

_COMMON: Final = f"""
local CONVERSATION, RECENT, MATCH = '{CONVERSATION}', '{RECENT}', '{MATCH}'

local function take(row, claim, claimed_until)
  redis.call('HSET', row, 'claim', claim, 'claimed_until', claimed_until)
  return redis.call('HGET', row, 'body')
end

-- Its holder died, so what Dify has seen is not known.
local function fit_nothing(row)
  local stored = cjson.decode(redis.call('HGET', row, 'body'))
  local kept = {{}}
  for _, index in ipairs(cjson.decode(redis.call('HGET', row, 'indexes'))) do
    if string.sub(index, 1, #MATCH) == MATCH then
      redis.call('ZREM', index, stored.id)
    else
      kept[#kept + 1] = index
    end
  end
  stored.match_key, stored.recent = '', ''
  redis.call('HSET', row, 'body', cjson.encode(stored), 'indexes', cjson.encode(kept))
end

local function leave_indexes(row, id)
  local indexes = redis.call('HGET', row, 'indexes')
  if not indexes then return 0 end
  for _, index in ipairs(cjson.decode(indexes)) do redis.call('ZREM', index, id) end
  return 1
end

local function forget(id)
  local forgotten = leave_indexes(CONVERSATION .. id, id)
  redis.call('ZREM', RECENT, id)
  redis.call('DEL', CONVERSATION .. id)
  return forgotten
end
"""

CLAIM: Final = Script(
    _COMMON
    + """
local row, claim, now, claimed_until = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
if redis.call('EXISTS', row) == 0 then return false end
local held = redis.call('HMGET', row, 'claim', 'claimed_until')
if held[1] then
  if tonumber(held[2]) > tonumber(now) then return false end
  fit_nothing(row)
end
return take(row, claim, claimed_until)
"""
)

CLAIM_MATCH: Final = Script(
    _COMMON
    + """
local index, claim, claimed_until = KEYS[1], ARGV[1], ARGV[2]
local from = 0
while true do
  local ids = redis.call('ZREVRANGE', index, from, from + 99)
  if #ids == 0 then return false end
  for _, id in ipairs(ids) do
    local row = CONVERSATION .. id
    if redis.call('EXISTS', row) == 0 then
      redis.call('ZREM', index, id)
    else
      if redis.call('HEXISTS', row, 'claim') == 0 then return take(row, claim, claimed_until) end
      from = from + 1
    end
  end
end
"""
)

RENEW: Final = Script("""
if redis.call('HGET', KEYS[1], 'claim') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'claimed_until', ARGV[2])
return 1
""")

RELEASE: Final = Script("""
if redis.call('HGET', KEYS[1], 'claim') ~= ARGV[1] then return 0 end
return redis.call('HDEL', KEYS[1], 'claim', 'claimed_until')
""")

# The first write is the one that Redis refuses when its memory is full: then nothing is lost.
SAVE: Final = Script(
    _COMMON
    + """
local row = KEYS[1]
local id, claim, body, updated_at, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local model, user, turns, indexes = ARGV[6], ARGV[7], ARGV[8], ARGV[9]
if redis.call('EXISTS', row) == 1 and redis.call('HGET', row, 'claim') ~= claim then return 0 end

local before = redis.call('HGET', row, 'indexes')
redis.call('HSET', row, 'body', body, 'model', model, 'user', user, 'turns', turns, 'indexes', indexes)
redis.call('HDEL', row, 'claim', 'claimed_until')
if before then
  for _, index in ipairs(cjson.decode(before)) do redis.call('ZREM', index, id) end
end
redis.call('ZADD', RECENT, updated_at, id)
for _, index in ipairs(cjson.decode(indexes)) do
  redis.call('ZADD', index, updated_at, id)
  if ttl > 0 then redis.call('PEXPIRE', index, ttl) else redis.call('PERSIST', index) end
end
if ttl > 0 then redis.call('PEXPIRE', row, ttl) else redis.call('PERSIST', row) end

for _, oldest in ipairs(redis.call('ZRANGE', RECENT, 0, 1)) do
  if redis.call('EXISTS', CONVERSATION .. oldest) == 0 then redis.call('ZREM', RECENT, oldest) end
end
return 1
"""
)

DELETE: Final = Script(_COMMON + "return forget(ARGV[1])")

FIND: Final = Script("return redis.call('HGET', KEYS[1], 'body')")

SIZE: Final = Script("return redis.call('ZCARD', KEYS[1])")

INFO: Final = Script("return redis.call('INFO')")

DELETE_OLDEST: Final = Script(
    _COMMON
    + """
local ids = redis.call('ZRANGE', RECENT, '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, ARGV[2])
local forgotten = 0
for _, id in ipairs(ids) do forgotten = forgotten + forget(id) end
return {#ids, forgotten}
"""
)

NEWEST: Final = Script(
    _COMMON
    + """
local index, from, most = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local ids = redis.call('ZREVRANGE', index, from, from + most - 1)
local bodies = {}
for _, id in ipairs(ids) do
  local body = redis.call('HGET', CONVERSATION .. id, 'body')
  if body then bodies[#bodies + 1] = body else redis.call('ZREM', index, id) end
end
return {#ids, bodies}
"""
)

# A conversation that moved meanwhile leaves its old place to be found by its score.
OLDEST: Final = Script(
    _COMMON
    + """
local last, score, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
local from = 0
if last ~= '' then
  if tonumber(redis.call('ZSCORE', RECENT, last) or 'nan') == tonumber(score) then
    from = redis.call('ZRANK', RECENT, last) + 1
  else
    from = redis.call('ZCOUNT', RECENT, '-inf', '(' .. score)
  end
end
local found = redis.call('ZRANGE', RECENT, from, from + most - 1, 'WITHSCORES')
local bodies = {}
for i = 1, #found, 2 do
  local body = redis.call('HGET', CONVERSATION .. found[i], 'body')
  if body then bodies[#bodies + 1] = body end
end
return {found[#found - 1] or '', found[#found] or '', bodies}
"""
)

COUNT: Final = Script(
    _COMMON
    + """
local from, most = tonumber(ARGV[1]), tonumber(ARGV[2])
local found = redis.call('ZRANGE', RECENT, from, from + most - 1, 'WITHSCORES')
local live = {}
for i = 1, #found, 2 do
  local counted = redis.call('HMGET', CONVERSATION .. found[i], 'model', 'user', 'turns')
  if counted[1] then live[#live + 1] = {counted[1], counted[2], counted[3], found[i + 1]} end
end
return {#found / 2, live}
"""
)
