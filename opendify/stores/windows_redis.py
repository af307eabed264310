"""Windows in a Redis that several machines share: a hash each, which Redis itself forgets in time."""

from typing import Final

import msgspec

from opendify.stores.redis_client import RedisScripts, read_redis_url
from opendify.stores.redis_scripts import PREFIX, Script
from opendify.stores.windows import WINDOW_SECONDS, Amount, Window

_WINDOW: Final = f"{PREFIX}window:"

_COUNT: Final = Script("""
local now, seconds = tonumber(ARGV[1]), tonumber(ARGV[2])
local requests, tokens = tonumber(ARGV[3]), tonumber(ARGV[4])
local most_requests, most_tokens = tonumber(ARGV[5]), tonumber(ARGV[6])
local window = redis.call('HMGET', KEYS[1], 'requests', 'tokens', 'ends_at')
local used_requests, used_tokens = tonumber(window[1] or 0), tonumber(window[2] or 0)
local ends_at = tonumber(window[3] or 0)
local is_over = ends_at <= now or ends_at > now + 2 * seconds
if is_over then
  used_requests, used_tokens, ends_at = 0, 0, now + seconds
end
local is_let_in = is_over or (used_requests + requests <= most_requests and used_tokens < most_tokens)
if is_let_in then
  used_requests, used_tokens = used_requests + requests, used_tokens + tokens
  redis.call('HSET', KEYS[1], 'requests', used_requests, 'tokens', used_tokens,
    'ends_at', string.format('%.17g', ends_at))
  redis.call('PEXPIRE', KEYS[1], math.ceil(seconds * 2000))
end
return {is_let_in and 1 or 0, used_requests, used_tokens, string.format('%.17g', ends_at)}
""")


class RedisWindows:
    """Each call is one script.

    Raises:
        ValueError: `url` is none that is known here.
    """

    def __init__(self, url: str) -> None:
        self._scripts = RedisScripts(read_redis_url(url))

    def count(self, name: str, amount: Amount, most: Amount, *, now: float) -> Window:
        values = (now, WINDOW_SECONDS, amount.requests, amount.tokens, most.requests, most.tokens)
        answer = self._scripts.run(_COUNT, f"{_WINDOW}{name}", *values)
        is_let_in, requests, tokens, ends_at = msgspec.convert(answer, tuple[int, int, int, str])
        return Window(bool(is_let_in), Amount(requests, tokens), float(ends_at))

    def clean_up(self, *, now: float) -> None:
        """Redis has done it."""

    def close(self) -> None:
        self._scripts.close()
