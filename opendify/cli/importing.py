"""`opendify conversations import`: from an export, or from BetterOpenDify's files."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import click

from opendify.cli.running import Operator, counted, operating
from opendify.conversation_admin.administration import SECONDS_PER_DAY
from opendify.conversation_admin.old_chats import OldChats, stored_conversation, with_transcript
from opendify.conversation_admin.transfer import Imported, import_rows, is_export, read_rows
from opendify.dify.memory import DifyMemory
from opendify.settings import Settings
from opendify.stores.base import StoredConversation
from opendify.stores.importing import OldMapping, read_chat_users, read_old_mappings

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command("import")
@click.argument("file", type=_FILE)
@click.option("--model", help="BetterOpenDify: the model that its chats were with.")
@click.option("--key", help="BetterOpenDify: the name of the API key that its clients now use.")
@click.option(
    "--users",
    type=_FILE,
    help="BetterOpenDify: whose each chat is: Open WebUI's webui.db, or a JSON object of chat id to user id.",
)
@click.option("--user-prefix", default="", help="BetterOpenDify: what stood before a person's id in Dify.")
@click.option(
    "--ask-dify",
    is_flag=True,
    help="BetterOpenDify: read each conversation in Dify, so that it is found by its transcript.",
)
def import_conversations(
    file: Path, model: str | None, key: str | None, users: Path | None, user_prefix: str, *, ask_dify: bool
) -> None:
    """Add the conversations in FILE; those that are there already stay as they are.

    FILE was written by `opendify conversations export`, or is BetterOpenDify's
    conversation_mappings.db or conversation_mappings.json.
    """
    with operating() as operator:
        if is_export(file):
            # All of it is read before the first row is added.
            count = sum(1 for _ in read_rows(file))
            _report(import_rows(operator.store, read_rows(file)), count)
            return
        if model is None or key is None:
            raise click.UsageError("a file of BetterOpenDify needs --model and --key")
        chats = _old_chats(operator.settings, model, key, user_prefix)
        _import_old_chats(operator, file, users, chats, ask_dify=ask_dify)


def _import_old_chats(
    operator: Operator, file: Path, users: Path | None, chats: OldChats, *, ask_dify: bool
) -> None:
    old = read_old_mappings(file)
    owners = read_chat_users(users) if users else {}
    mappings = [replace(each, user=each.user or owners.get(each.chat_id, "")) for each in old.mappings]
    rows = list(_old_rows(operator, mappings, chats, ask_dify=ask_dify))
    _report(import_rows(operator.store, rows), len(mappings))
    if left_out := len(mappings) - len(rows):
        click.echo(f"{left_out} left out: Dify does not know them, or not as that user's")
    if old.unreadable:
        click.echo(f"{old.unreadable} left out: they name no chat or no conversation")
    if nobody := sum(not chats.person(each) for each in mappings):
        click.echo(f"{nobody} name no user: only requests that name none continue them; see --users")
    kept_since = time.time() - operator.settings.conversation_ttl_days * SECONDS_PER_DAY
    if expired := sum(row.updated_at < kept_since for row in rows):
        click.echo(f"{expired} will soon be forgotten: they were last used before CONVERSATION_TTL_DAYS")


def _old_chats(settings: Settings, model: str, key: str, user_prefix: str) -> OldChats:
    app = settings.find_model(model)
    if app is None:
        names = ", ".join(each.name for each in settings.models)
        raise click.UsageError(f"there is no model {model!r}; there are: {names}")
    keys = [each.id for each in settings.api_keys]
    # Keys that the first start made, and those of open mode, have names like `#first-key`.
    if key not in keys and not key.startswith("#"):
        raise click.UsageError(f"API_KEYS has no key {key!r}; there are: {', '.join(keys) or 'none'}")
    return OldChats(app=app, key=key, user_prefix=user_prefix, dify_user_prefix=settings.dify_user_prefix)


def _old_rows(
    operator: Operator, mappings: Sequence[OldMapping], chats: OldChats, *, ask_dify: bool
) -> Iterator[StoredConversation]:
    read_messages = DifyMemory(operator.client).read_messages
    for mapping in mappings:
        row: StoredConversation | None = stored_conversation(mapping, chats, now=time.time())
        if row and ask_dify and operator.store.find(row.id) is None:
            row = with_transcript(row, chats.scope(mapping), chats.app, read_messages)
        if row:
            yield row


def _report(imported: Imported, count: int) -> None:
    click.echo(
        f"{counted(count, 'conversation')} read: "
        f"{imported.added} added, {imported.present} were there already"
    )
