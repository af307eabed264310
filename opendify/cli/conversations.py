"""`opendify conversations`: look at what is stored, forget it, move it."""

import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click

from opendify.cli.importing import import_conversations
from opendify.cli.running import Operator, counted, operating
from opendify.conversation_admin.administration import conversation_shape, user_deletion_shape
from opendify.conversation_admin.transfer import export_rows

_COLUMNS = ("id", "model", "caller", "user", "webui_chat_id", "dify_conversation_id", "turns", "last_used")


@click.group()
def conversations() -> None:
    """Look at the stored conversations, forget them, move them.

    They hold ids, counts and times, and no text.
    """


@conversations.command("list")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1_000_000))
@click.option("--user", help="Only of this Dify user; with --key of this person.")
@click.option("--key", help="The name of an API key: --user is named as its holder does.")
@click.option("--json", "as_json", is_flag=True, help="A JSON array instead of a table.")
def list_conversations(limit: int, user: str | None, key: str | None, *, as_json: bool) -> None:
    """List the conversations, last used first."""
    with operating() as operator:
        admin = operator.admin
        found = admin.recent(limit) if user is None else admin.of_user(user, key)[:limit]
        shapes = [conversation_shape(each, admin.now()) for each in found]
    click.echo(_as_json(shapes) if as_json else "\n".join(_table(shapes)))


@conversations.command()
@click.argument("id")
@click.option("--json", "as_json", is_flag=True, help="A JSON object.")
def show(id: str, *, as_json: bool) -> None:  # noqa: A002 - The argument's name on the command line.
    """Show one conversation."""
    with operating() as operator:
        shape = conversation_shape(operator.admin.get(id), operator.admin.now())
    if as_json:
        click.echo(_as_json(shape))
        return
    width = max(map(len, shape))
    for name, value in shape.items():
        click.echo(f"{name:{width}}  {_shown(name, value)}")


@conversations.command()
@click.argument("ids", nargs=-1)
@click.option("--user", help="All of this Dify user; with --key of this person.")
@click.option("--key", help="The name of an API key: --user is named as its holder does.")
@click.option("--dify", "at_dify", is_flag=True, help="Delete them in Dify first.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="What became of a user's, as JSON.")
def delete(
    ids: Sequence[str], user: str | None, key: str | None, *, at_dify: bool, yes: bool, as_json: bool
) -> None:
    """Forget conversations: those with IDS, or all of one user.

    What Dify does not delete stays stored, and the exit code is 1.
    """
    if bool(ids) is (user is not None):
        raise click.UsageError("name either IDS or --user")
    with operating() as operator:
        if user is None:
            for each in ids:
                operator.admin.delete(each, at_dify=at_dify)
            click.echo(f"{counted(len(ids), 'conversation')} deleted")
        else:
            _delete_user(operator, user, key, at_dify=at_dify, yes=yes, as_json=as_json)


def _delete_user(
    operator: Operator, user: str, key: str | None, *, at_dify: bool, yes: bool, as_json: bool
) -> None:
    if not yes:
        found = counted(len(operator.admin.of_user(user, key)), "conversation")
        click.confirm(f"Delete {found}{' here and in Dify' if at_dify else ''}?", abort=True)
    deletion = operator.admin.delete_user(user, key, at_dify=at_dify)
    if as_json:
        click.echo(_as_json(user_deletion_shape(deletion)))
    else:
        click.echo(f"{counted(deletion.deleted, 'conversation')} deleted")
    for failure in deletion.failures:
        click.echo(f"{failure.conversation.id}: {failure.error.message}", err=True)
    if deletion.failures:
        sys.exit(1)


@conversations.command()
@click.option(
    "--max-age-days",
    type=click.FloatRange(0, 36_500),
    help="Days since the last use.  [default: CONVERSATION_TTL_DAYS]",
)
def cleanup(max_age_days: float | None) -> None:
    """Forget what was not used for so long; Dify keeps it."""
    if max_age_days is not None and math.isnan(max_age_days):
        raise click.BadParameter("must be a number of days", param_hint="--max-age-days")
    with operating() as operator:
        admin = operator.admin
        removed = admin.clean_up(admin.default_max_age_days if max_age_days is None else max_age_days)
    click.echo(f"{counted(removed, 'conversation')} deleted")


@conversations.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def export(file: Path) -> None:
    """Write every conversation as a line of JSON to FILE, or with - to the terminal."""
    with operating() as operator:
        if str(file) == "-":
            export_rows(operator.store, sys.stdout.buffer)
            return
        # Ids of people stand in it.
        with os.fdopen(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as opened:
            count = export_rows(operator.store, opened)
    click.echo(f"{file}: {counted(count, 'conversation')}")


conversations.add_command(import_conversations)


def _as_json(shape: object) -> str:
    return json.dumps(shape, indent=2, ensure_ascii=False)


def _table(shapes: Sequence[Mapping[str, object]]) -> Iterator[str]:
    rows = [list(_COLUMNS), *([_shown(name, shape[name]) for name in _COLUMNS] for shape in shapes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _shown(name: str, value: object) -> str:
    if name in {"created_at", "last_used"} and isinstance(value, int):
        return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(value))
    # Clients choose their ids; none may move the terminal's cursor.
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in str(value)) or "-"
