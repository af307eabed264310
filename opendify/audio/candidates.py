"""Which apps may do what one was asked for: it, then the model's fallbacks."""

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from opendify.errors import GatewayError
from opendify.owners import FindApp
from opendify.records import Caller
from opendify.settings import DifyApp

_Made = TypeVar("_Made")

logger = logging.getLogger(__name__)


def apps_for(app: DifyApp, find_app: FindApp, caller: Caller) -> Sequence[DifyApp]:
    """`app`, then those of its fallbacks that the caller may use too."""
    fallbacks = (find_app(name, caller) for name in app.fallbacks if caller.may_use(name))
    return list(dict.fromkeys([app, *fallbacks]))


def first_able(apps: Sequence[DifyApp], make: Callable[[DifyApp], _Made]) -> _Made:
    """What the first app makes that can; the next is asked only where nothing can have begun.

    Raises:
        GatewayError: That of the app that was asked for, or one that no other app can mend.
    """
    asked_for: GatewayError | None = None
    for app in apps:
        try:
            return make(app)
        except GatewayError as error:
            asked_for = asked_for or error
            if error.may_have_begun or not error.is_of_the_app:
                raise
            logger.warning("a model did not take a call", extra={"model": app.name, "error": error.code})
    if asked_for is None:
        raise ValueError("no app was given")
    raise asked_for
