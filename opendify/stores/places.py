"""How many requests of a caller go on at once, where several machines serve it."""

from typing import Protocol

from opendify.stores.opening import POSTGRES_SCHEMES, REDIS_SCHEMES


class PlaceStore(Protocol):
    """A place is held until it is given back, or until its time, so that who dies blocks nobody for long.

    Times are Unix seconds. Every method may raise `StoreUnavailable`.
    """

    def take(self, name: str, place: str, *, most: int, now: float, until: float) -> bool:
        """Hold `place`, a new one, unless so many are held under that name."""
        ...

    def renew(self, name: str, place: str, *, until: float) -> None:
        """Hold it longer, or again."""
        ...

    def give_back(self, name: str, place: str) -> None:
        """Hold it no more; one that is not held is no error."""
        ...

    def close(self) -> None:
        """Close this process's connections; the next use opens others."""
        ...


def open_place_store(url: str) -> PlaceStore | None:
    """The store that `url` names; None for SQLite, since a machine by itself needs none.

    Raises:
        ValueError: The URL names no store; the message shows none of its secrets.
    """
    scheme = url.partition("://")[0].lower()
    if scheme in REDIS_SCHEMES:
        from opendify.stores.places_redis import RedisPlaces

        return RedisPlaces(url)
    if scheme in POSTGRES_SCHEMES:
        from opendify.stores.places_postgres import PostgresPlaces

        return PostgresPlaces(url)
    return None
