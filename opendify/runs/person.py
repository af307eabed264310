"""For whom a run is."""

from collections.abc import Callable

import msgspec

from opendify.conversations.identity import ClientContext
from opendify.errors import ClientLeftEarly
from opendify.records import NOBODY, Caller, Client
from opendify.runs.attempts import Attempt
from opendify.telemetry.observation import Observation


class Person(msgspec.Struct, frozen=True):
    """For whom a run is: the holder of a key, the user that the request names, and who waits for it.

    `attempt` is None where the client gives no sign that it would repeat the request, `spend`
    where nobody counts the tokens of its answer.
    """

    caller: Caller
    context: ClientContext
    client: Client = NOBODY
    attempt: Attempt | None = None
    observation: Observation = msgspec.field(default_factory=Observation)
    spend: Callable[[int], None] | None = None

    def refuse_if_gone(self) -> None:
        """Begin nothing that has to be paid for when nobody waits for it any more.

        Raises:
            ClientLeftEarly: Nobody does.
        """
        if self.client.is_gone():
            raise ClientLeftEarly("The client closed the connection before the run began")
