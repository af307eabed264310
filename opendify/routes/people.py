"""Who sends a request: the holder of a key, and the person and chat that it names."""

from functools import partial

from msgspec import structs

from opendify.access.opening import Access
from opendify.conversations.identity import NOTHING_NAMED, BodyIdentity, IdentityRules, read_client_context
from opendify.records import Caller
from opendify.routes.headers import HeaderPicker, RequestHeaders
from opendify.routes.paths import DEPLOYMENT
from opendify.runs.attempts import IDEMPOTENCY_HEADER, RETRY_HEADER, Question, read_attempt
from opendify.runs.person import Person
from opendify.serving.client_watch import client_of
from opendify.serving.slots import Slots
from opendify.telemetry.requests import add_headers, at_end, environ_at_hand, observation


class People:
    """What every route that needs a key asks about the request at hand."""

    def __init__(self, access: Access, rules: IdentityRules, slots: Slots) -> None:
        self._keys = access.keys
        self._limiter = access.limiter
        self._rules = rules
        self._telling = HeaderPicker(*rules.header_names())
        self._repeating = HeaderPicker(IDEMPOTENCY_HEADER, RETRY_HEADER)
        self._slots = slots

    def caller(self) -> Caller:
        """The holder of the request's key.

        Raises:
            Unauthorized: No key, or one that is not ours.
            GatewayError: As `KeyRing.authenticate`.
        """
        environ = environ_at_hand()
        caller = self._keys.authenticate(RequestHeaders(environ), environ.get("REMOTE_ADDR"))
        observation().key = caller.id
        return caller

    def person(self, caller: Caller, raw: bytes, named: BodyIdentity = NOTHING_NAMED) -> Person:
        """For whom a run would be; `raw` is the request's body, `named` what it tells of its sender."""
        environ = environ_at_hand()
        telling = RequestHeaders(environ) if named.prompt_cache_key else self._telling.pick(environ)
        context = read_client_context(telling, named, self._rules)
        attempt = None
        if repeating := self._repeating.pick(environ):
            question = Question(environ["PATH_INFO"], environ.get(DEPLOYMENT, ""), context, raw)
            attempt = read_attempt(repeating, caller, question)
        if caller.default_user and not context.user:
            context = structs.replace(context, user=caller.default_user)
        spend = partial(self._limiter.spend, caller) if caller.limits.tokens_per_minute else None
        return Person(caller, context, client_of(environ), attempt, observation(), spend)

    def enter(self, person: Person) -> None:
        """Count the request within its caller's limits, and take one of the worker's slots.

        What is taken is given back when the answer is closed.

        Raises:
            UsageLimited: The caller has used what it may.
            WorkerBusy: No slot came free in time.
            ClientLeft: Nobody waits for the answer any more.
        """
        self.count(person.caller)
        self._slots.enter(person.client)
        at_end(self._slots.leave)

    def count(self, caller: Caller) -> None:
        """Count a request that needs no slot within its caller's limits; raises as `enter` does."""
        if caller.limits:
            self._enter_limits(caller)

    def _enter_limits(self, caller: Caller) -> None:
        give_back = self._limiter.take_place(caller)
        if give_back:
            at_end(give_back)
        standing = self._limiter.enter(caller)
        if standing:
            add_headers(standing.headers())
