"""Who sends a request: the holder of a key, and the person and chat that it names."""

import flask

from opendify.access.keys import KeyRing
from opendify.conversations.identity import BodyIdentity, IdentityRules, read_client_context
from opendify.gateway import Person
from opendify.records import Caller
from opendify.routes.headers import RequestHeaders
from opendify.routes.paths import DEPLOYMENT
from opendify.runs.attempts import Question, read_attempt
from opendify.serving.client_watch import client_of
from opendify.serving.slots import Slots
from opendify.telemetry.requests import observation

_NOTHING_NAMED = BodyIdentity()


class People:
    """What every route that needs a key asks about the request at hand."""

    def __init__(self, keys: KeyRing, rules: IdentityRules, slots: Slots) -> None:
        self._keys = keys
        self._rules = rules
        self._slots = slots

    def caller(self) -> Caller:
        """The holder of the request's key.

        Raises:
            Unauthorized: No key, or one that is not ours.
        """
        request = flask.request
        caller = self._keys.authenticate(RequestHeaders(request.environ), request.remote_addr)
        observation().key = caller.id
        return caller

    def person(self, caller: Caller, raw: bytes, named: BodyIdentity = _NOTHING_NAMED) -> Person:
        """For whom a run would be; `raw` is the request's body, `named` what it tells of its sender."""
        request = flask.request
        headers = RequestHeaders(request.environ)
        context = read_client_context(headers, named, self._rules)
        question = Question(request.path, request.environ.get(DEPLOYMENT, ""), context, raw)
        attempt = read_attempt(headers, caller, question)
        return Person(caller, context, client_of(request.environ), attempt, observation())

    def enter(self, person: Person) -> None:
        """Take one of the worker's slots, until the answer is closed.

        Raises:
            WorkerBusy: None came free in time.
            ClientLeft: Nobody waits for the answer any more.
        """
        self._slots.enter(flask.request.environ, person.client)
