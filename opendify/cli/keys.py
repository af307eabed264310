"""`opendify keys`: make keys, look at them, take them back."""

import ipaddress
import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from opendify.access.key_admin import KeyAdmin, MadeKey, key_shape, key_state
from opendify.access.opening import open_audit_log, open_configured_keys
from opendify.cli.running import command_failures_told, counted
from opendify.settings import load_settings
from opendify.stores.keys import StoredKey

_COLUMNS: Final = ("id", "name", "state", "models", "limits", "expires", "last used")
_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_LATEST: Final = 253_402_300_000.0  # The year 9999, beyond which no date is written.

_Command = TypeVar("_Command", bound=Callable[..., Any])


class _Span(click.ParamType[float]):
    """`90d`, `12h`, `30m`: seconds."""

    name = "span"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = re.fullmatch(r"(?P<count>[0-9]{1,9})(?P<unit>[smhdw])", str(value))
        if not found:
            self.fail("must be a number and a unit, such as 30m, 12h, 90d or 4w", param, ctx)
        return float(found["count"]) * _UNIT_SECONDS[found["unit"]]


class _Instant(_Span):
    """A span from now, or a date in UTC: Unix seconds."""

    name = "when"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        now = time.time()
        try:
            found = datetime.fromisoformat(str(value))
            instant = (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
        except ValueError:
            instant = now + super().convert(value, param, ctx)
        if not now < instant < _LATEST:
            self.fail("must lie in the future", param, ctx)
        return instant


def _rights(command: _Command) -> _Command:
    """The options that say what a key may."""
    limit = click.IntRange(0, 1_000_000_000)
    options = (
        click.option("--expires", type=_Instant(), help="After a span such as 90d, or on a date in UTC."),
        click.option("--model", "models", multiple=True, help="Only this model; * and ? stand for others."),
        click.option("--address", "addresses", multiple=True, help="Only from this address or range."),
        click.option("--admin", "is_admin", is_flag=True, help="It opens the admin routes."),
        click.option("--rpm", "requests_per_minute", type=limit, default=0, help="Requests a minute."),
        click.option("--tpm", "tokens_per_minute", type=limit, default=0, help="Tokens a minute."),
        click.option("--concurrency", type=click.IntRange(0, 10_000), default=0, help="Requests at once."),
        click.option("--user", "default_user", default="", help="Dify's user where a request names none."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group()
def keys() -> None:
    """Make API keys, look at them, take them back.

    What changes is in force in all workers within seconds.
    """


@keys.command()
@click.argument("name")
@_rights
@click.option("--json", "as_json", is_flag=True, help="A JSON object.")
def create(name: str, *, as_json: bool, **rights: Any) -> None:
    """Make a key, and show it: this once, and never again."""
    with _administering() as admin:
        made = admin.create(_read_rights(name, rights))
    _show_made(made, as_json=as_json)


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="A JSON array.")
def list_keys(*, as_json: bool) -> None:
    """List the keys, those that are revoked too."""
    with _administering() as admin:
        found, now = admin.all(), admin.now()
    if as_json:
        click.echo(json.dumps([key_shape(each, now) for each in found], indent=2))
    else:
        click.echo("\n".join(_table([_row(each, now) for each in found])))


@keys.command()
@click.argument("key")
@click.option("--json", "as_json", is_flag=True, help="A JSON object.")
def show(key: str, *, as_json: bool) -> None:
    """Show what is stored of KEY, an id or a name."""
    with _administering() as admin:
        shape = key_shape(admin.get(key), admin.now())
    if as_json:
        click.echo(json.dumps(shape, indent=2))
        return
    for name, value in shape.items():
        click.echo(f"{name:20}  {_shown(name, value)}")


@keys.command()
@click.argument("names", metavar="KEY...", nargs=-1, required=True)
def revoke(names: Sequence[str]) -> None:
    """Take keys back, by id or name."""
    with _administering() as admin:
        for name in names:
            revoked = admin.revoke(name)
            click.echo(f"{revoked.name} ({revoked.id}) is revoked, in all workers within seconds")


@keys.command()
@click.argument("key")
@click.option("--grace", type=_Span(), default="0s", help="So long the former key stays good.  [default: 0s]")
@click.option("--json", "as_json", is_flag=True, help="A JSON object.")
def rotate(key: str, grace: float, *, as_json: bool) -> None:
    """Make another key for the same holder, who keeps rights, limits and conversations."""
    with _administering() as admin:
        made = admin.rotate(key, grace_seconds=grace)
    _show_made(made, as_json=as_json)


@keys.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True))
@_rights
def import_keys(file: Path, **rights: Any) -> None:
    """Let in the keys in FILE, one `name:key` a line, all with the same rights.

    Their holders are the same callers as in API_KEYS, so that their chats go on. With -
    they are read from the terminal's input.
    """
    text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    with _administering(knows_settings=False) as admin:
        lines = (line.strip() for line in text.splitlines())
        pairs = [line.partition(":")[::2] for line in lines if line and not line.startswith("#")]
        if not all(name and key for name, key in pairs):
            raise click.UsageError("each line must be name:key")
        count = admin.import_keys(
            (key.strip(), _read_rights(name.strip(), rights, caller=name.strip())) for name, key in pairs
        )
    click.echo(f"{counted(count, 'key')} imported; take them out of API_KEYS now, if they are there")


@contextmanager
def _administering(*, knows_settings: bool = True) -> Iterator[KeyAdmin]:
    """The service's store of keys; a failure ends the command with one line."""
    with command_failures_told():
        settings = load_settings()
        store = open_configured_keys(settings)
        if store is None:
            raise click.UsageError("KEY_STORE is off")
        taken = [each.id for each in settings.api_keys] if knows_settings else []
        try:
            yield KeyAdmin(store, open_audit_log(settings), taken=taken, now=time.time)
        finally:
            store.close()


def _read_rights(name: str, rights: Mapping[str, Any], caller: str = "") -> StoredKey:
    """What the options say; the key itself is still to be made."""
    told = {each: value for each, value in rights.items() if value}
    told["expires_at"] = told.pop("expires", 0.0)
    try:
        told["addresses"] = tuple(str(ipaddress.ip_network(each)) for each in rights["addresses"])
    except ValueError:
        raise click.BadParameter(
            "must be an address or a range, such as 10.0.0.0/8", param_hint="--address"
        ) from None
    return StoredKey(id="", caller=caller, name=name, digest=b"", **told)


def _show_made(made: MadeKey, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"key": made.key, **key_shape(made.stored, time.time())}, indent=2))
        return
    click.echo(made.key)
    click.echo(f"This is the key of {made.stored.name}; it cannot be shown again.", err=True)


def _row(key: StoredKey, now: float) -> Sequence[str]:
    limits = {"rpm": key.requests_per_minute, "tpm": key.tokens_per_minute, "at once": key.concurrency}
    return (
        key.id,
        key.name,
        key_state(key, now) + (" (admin)" if key.is_admin else ""),
        ",".join(key.models) or "all",
        " ".join(f"{most} {name}" for name, most in limits.items() if most) or "-",
        _shown("expires_at", int(key.expires_at)),
        _shown("last_used_at", int(key.last_used_at)),
    )


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    rows = [_COLUMNS, *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _shown(name: str, value: object) -> str:
    if value in (None, 0, []):
        return "-"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, int) and name.endswith(("_at", "_until")):
        return time.strftime("%Y-%m-%d %H:%MZ", time.gmtime(value))
    return str(value)
