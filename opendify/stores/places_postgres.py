"""Places in a PostgreSQL database that several machines share."""

from typing import Final, LiteralString

from opendify.stores.postgres_pool import PostgresPool

STEPS: Final[tuple[tuple[LiteralString, ...], ...]] = (
    (
        # Unlogged: whoever holds a place says so again within seconds.
        """
        CREATE UNLOGGED TABLE opendify.places (
            name text NOT NULL,
            place text NOT NULL,
            held_until double precision NOT NULL,
            PRIMARY KEY (name, place)
        )
        """,
    ),
)

_LOCK: Final[LiteralString] = "SELECT pg_advisory_xact_lock(hashtextextended(%(name)s, 1))"
_DROP_ENDED: Final[LiteralString] = (
    "DELETE FROM opendify.places WHERE name = %(name)s AND held_until <= %(now)s"
)
_TAKE: Final[LiteralString] = """
    INSERT INTO opendify.places
    SELECT %(name)s, %(place)s, %(until)s
    WHERE (SELECT count(*) FROM opendify.places WHERE name = %(name)s) < %(most)s
"""
_RENEW: Final[LiteralString] = """
    INSERT INTO opendify.places VALUES (%(name)s, %(place)s, %(until)s)
    ON CONFLICT (name, place) DO UPDATE SET held_until = excluded.held_until
"""
_GIVE_BACK: Final[LiteralString] = "DELETE FROM opendify.places WHERE name = %(name)s AND place = %(place)s"


class PostgresPlaces:
    """One transaction takes a place; the other calls are one statement."""

    def __init__(self, url: str) -> None:
        self._pool = PostgresPool(url, STEPS, version_table="places_version")

    def take(self, name: str, place: str, *, most: int, now: float, until: float) -> bool:
        values = {"name": name, "place": place, "most": most, "now": now, "until": until}
        with self._pool.connection() as connection, connection.transaction():
            connection.execute(_LOCK, values)
            connection.execute(_DROP_ENDED, values)
            return connection.execute(_TAKE, values).rowcount == 1

    def renew(self, name: str, place: str, *, until: float) -> None:
        with self._pool.connection() as connection:
            connection.execute(_RENEW, {"name": name, "place": place, "until": until})

    def give_back(self, name: str, place: str) -> None:
        with self._pool.connection() as connection:
            connection.execute(_GIVE_BACK, {"name": name, "place": place})

    def close(self) -> None:
        self._pool.close()
