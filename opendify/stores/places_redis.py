"""Places in a Redis that several machines share: a sorted set a name, by when each place ends."""

from typing import Final

from opendify.stores.redis_client import RedisScripts, read_redis_url
from opendify.stores.redis_scripts import PREFIX, Script

_PLACES: Final = f"{PREFIX}places:"

_TAKE: Final = Script("""
local place, most, now, until_ = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= most then return 0 end
redis.call('ZADD', KEYS[1], until_, place)
redis.call('EXPIRE', KEYS[1], 3600)
return 1
""")
_RENEW: Final = Script("""
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('EXPIRE', KEYS[1], 3600)
""")
_GIVE_BACK: Final = Script("return redis.call('ZREM', KEYS[1], ARGV[1])")


class RedisPlaces:
    """Each call is one script.

    Raises:
        ValueError: `url` is none that is known here.
    """

    def __init__(self, url: str) -> None:
        self._scripts = RedisScripts(read_redis_url(url))

    def take(self, name: str, place: str, *, most: int, now: float, until: float) -> bool:
        return self._scripts.run(_TAKE, f"{_PLACES}{name}", place, most, now, until) == 1

    def renew(self, name: str, place: str, *, until: float) -> None:
        self._scripts.run(_RENEW, f"{_PLACES}{name}", place, until)

    def give_back(self, name: str, place: str) -> None:
        self._scripts.run(_GIVE_BACK, f"{_PLACES}{name}", place)

    def close(self) -> None:
        self._scripts.close()
