"""Which apps may do what one was asked for: it, then the model's fallbacks."""

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from opendify.errors import GatewayError
from opendify.owners import Owner
from opendify.settings import DifyApp

_Made = TypeVar("_Made")

logger = logging.getLogger(__name__)


def first_able(owners: Sequence[Owner], make: Callable[[DifyApp], _Made]) -> _Made:
    """What the first app makes that can; the next is asked only where nothing can have begun.

    Raises:
        GatewayError: That of the app that was asked for, or one that no other app can mend.
    """
    asked_for: GatewayError | None = None
    for owner in owners:
        try:
            return make(owner.app)
        except GatewayError as error:
            asked_for = asked_for or error
            if error.may_have_begun or not error.is_of_the_app:
                raise
            logger.warning(
                "a model did not take a call", extra={"model": owner.app.name, "error": error.code}
            )
    if asked_for is None:
        raise ValueError("no app was given")
    raise asked_for
