"""What commands on stored conversations share: settings, a store, failures as one line."""

import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import click

from opendify.access.key_admin import KeyRefused
from opendify.access.opening import open_configured_keys
from opendify.conversation_admin.administration import (
    ConversationAdmin,
    open_configured_answers,
    open_configured_store,
)
from opendify.conversation_admin.archive import StorePlace
from opendify.dify.client import DifyClient
from opendify.errors import GatewayError
from opendify.settings import Settings, SettingsError, load_settings
from opendify.stores.answers import AnswerStore
from opendify.stores.backup import WrongFile
from opendify.stores.base import ConversationStore, StoreUnavailable
from opendify.stores.keys import KeyStore


@dataclass(frozen=True, slots=True)
class Operator:
    """What a command works with."""

    settings: Settings
    store: ConversationStore
    client: DifyClient
    answers: AnswerStore | None
    keys: KeyStore | None

    @property
    def admin(self) -> ConversationAdmin:
        """The same as the admin routes use."""
        return ConversationAdmin(self.settings, self.store, self.client, answers=self.answers)

    @property
    def place(self) -> StorePlace:
        """The stores that are backed up, and where they lie."""
        settings = self.settings
        return StorePlace(self.store, settings.conversation_store_url, settings.data_dir, self.keys)


@contextmanager
def operating() -> Iterator[Operator]:
    """The service's settings and store; a failure ends the command with one line."""
    with ExitStack() as stack:
        stack.enter_context(command_failures_told())
        settings = load_settings()
        store = open_configured_store(settings)
        stack.callback(store.close)
        client = DifyClient(settings)
        stack.callback(client.close)
        answers = open_configured_answers(settings)
        if answers:
            stack.callback(answers.close)
        keys = open_configured_keys(settings)
        if keys:
            stack.callback(keys.close)
        yield Operator(settings, store, client, answers, keys)


@contextmanager
def command_failures_told() -> Iterator[None]:
    """A failure ends the command with one line.

    Its exit code is 2 where the settings are wrong, and 1 for anything else.
    """
    try:
        with _silenced_logs():
            yield
    except SettingsError as error:
        for fault in error.faults:
            click.echo(fault, err=True)
        sys.exit(2)
    except (WrongFile, StoreUnavailable, KeyRefused, GatewayError) as error:
        raise click.ClickException(" ".join(str(error).split())) from error
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from error


@contextmanager
def _silenced_logs() -> Iterator[None]:
    """Without a handler Python writes what drivers warn of to the terminal."""
    handler = logging.NullHandler()
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


def counted(count: int, noun: str) -> str:
    """A number with its noun, in the plural where it needs one."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
