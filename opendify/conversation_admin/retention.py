"""Which of many backups to keep: their names tell when each was made."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

_NAME: Final = re.compile(r"opendify-(\d{8}T\d{6}Z)\.zip")
_TIME: Final = "%Y%m%dT%H%M%SZ"


def backup_name(made_at: datetime) -> str:
    """The name of a backup that was made then, which must know its time zone."""
    return f"opendify-{made_at.astimezone(UTC).strftime(_TIME)}.zip"


def outlived(names: Iterable[str], now: datetime, *, hourly: int, daily: int) -> list[str]:
    """The backups that need not be kept, oldest first; files of other names are never among them.

    Kept are the newest of all, the newest of each hour for `hourly` hours, and the
    newest of each day (UTC) for `daily` days.
    """
    made = sorted((_made_at(found[1]), name) for name in names if (found := _NAME.fullmatch(name)))
    of_hour = {
        each.strftime("%Y%m%dT%H"): name for each, name in made if now - each < timedelta(hours=hourly)
    }
    of_day = {each.date(): name for each, name in made if now - each < timedelta(days=daily)}
    kept = {*of_hour.values(), *of_day.values(), *(name for _, name in made[-1:])}
    return [name for _, name in made if name not in kept]


def _made_at(text: str) -> datetime:
    return datetime.strptime(text, _TIME).replace(tzinfo=UTC)
