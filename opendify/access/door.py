"""Where keys that are not configured are looked up, and strangers turned away, noted and slowed down."""

import math
import time
from collections.abc import Sequence

from opendify.access.addresses import Address, Network, address_group, client_address, is_in
from opendify.access.key_format import masked
from opendify.access.known_keys import KnownKey, KnownKeys
from opendify.access.limiter import Limiter
from opendify.access.passed_keys import PassedKeys
from opendify.audit.log import AuditLog
from opendify.errors import GatewayError, PermissionDenied, TooManyWrongKeys, Unauthorized
from opendify.records import Caller, Clock, Headers
from opendify.stores.windows import UNLIMITED, Amount
from opendify.telemetry.instruments import REFUSED_KEYS


class Door:
    """Never slows those whose key is good, and never sleeps."""

    def __init__(
        self,
        stored: KnownKeys | None,
        limiter: Limiter,
        audit: AuditLog,
        *,
        passed: PassedKeys | None = None,
        trusted_proxies: Sequence[Network],
        most_failures: int,
        now: Clock = time.time,
    ) -> None:
        """At most so many failures a minute from one address; 0 is no limit.

        `passed` knows the keys of Dify's apps, where callers may bring their own.
        """
        self._stored = stored
        self._passed = passed
        self._limiter = limiter
        self._audit = audit
        self._trusted_proxies = trusted_proxies
        self._most_failures = most_failures
        self._now = now

    def admit(self, key: str, headers: Headers, peer: str | None) -> Caller:
        """The holder of a stored key, or of a Dify app's; `peer` is the address of the connection.

        Raises:
            Unauthorized: Nobody's key, or one that has expired or was revoked.
            PermissionDenied: It may not be used from there.
            TooManyWrongKeys: As `turn_away`.
            AccessUnknown: The store of keys is down, and the key was not seen lately.
            GatewayError: Dify cannot be asked about the key of its app.
        """
        if self._passed is not None and self._passed.may_know(key):
            return self._pass_through(self._passed, key, headers, peer)
        known = self._stored.find(key) if self._stored else None
        if self._stored is None or known is None:
            message = f"Incorrect API key provided: {masked(key)}."
            raise self.turn_away("wrong key", headers, peer, message)
        self._check(known, headers, peer)
        self._stored.note_use(known)
        return known.caller

    def _pass_through(self, passed: PassedKeys, key: str, headers: Headers, peer: str | None) -> Caller:
        caller = passed.find(key, lambda: self._has_tries_left(headers, peer))
        if caller is None:
            raise self._turn_away_passed(key, headers, peer)
        return caller

    def _turn_away_passed(self, key: str, headers: Headers, peer: str | None) -> GatewayError:
        message = f"Incorrect API key provided: {masked(key)}. It is no key of an app at this Dify."
        return self.turn_away("wrong key", headers, peer, message)

    def refused_at_dify(self, key: str, headers: Headers, peer: str | None) -> GatewayError | None:
        """What to answer where Dify has taken back the caller's own key; None where it is the service's."""
        if self._passed is None or not self._passed.forget(key):
            return None
        return self._turn_away_passed(key, headers, peer)

    def _has_tries_left(self, headers: Headers, peer: str | None) -> bool:
        """Whether Dify is to be bothered with another key from there."""
        name = self._counted_as(headers, peer)
        window = self._limiter.count(name, Amount(0, 0), Amount(UNLIMITED, UNLIMITED))
        return window is None or not self._most_failures or window.used.requests < self._most_failures

    def _check(self, known: KnownKey, headers: Headers, peer: str | None) -> None:
        stored = known.stored
        if stored.revoked_at:
            raise self.turn_away("revoked", headers, peer, "This API key was revoked.", stored.caller)
        if stored.expires_at and stored.expires_at <= self._now():
            raise self.turn_away("expired", headers, peer, "This API key has expired.", stored.caller)
        if known.networks and not self._comes_from(known.networks, headers, peer):
            self.note("wrong address", headers, peer, stored.caller)
            raise PermissionDenied("This API key may not be used from your address.")

    def turn_away(
        self, reason: str, headers: Headers, peer: str | None, message: str, caller: str = ""
    ) -> GatewayError:
        """What to raise: 401, or 429 for who has failed too often."""
        name = self._counted_as(headers, peer)
        most = Amount(self._most_failures, UNLIMITED)
        window = self._limiter.count(name, Amount(1, 0), most) if self._most_failures else None
        if window is None or window.is_let_in:
            self.note(reason, headers, peer, caller)
            return Unauthorized(message)
        REFUSED_KEYS.add("too_many_failures")
        if self._limiter.is_first(name, window.ends_at):
            self._write("too many failures", headers, peer, "")
        return TooManyWrongKeys(
            "Too many requests with a wrong API key came from your address; check the key, "
            "and try again in a minute.",
            retry_after_seconds=math.ceil(window.ends_at - self._now()),
        )

    def _comes_from(self, networks: Sequence[Network], headers: Headers, peer: str | None) -> bool:
        address = self._address(headers, peer)
        return address is not None and is_in(address, networks)

    def _counted_as(self, headers: Headers, peer: str | None) -> str:
        return f"address:{address_group(self._address(headers, peer))}"

    def _address(self, headers: Headers, peer: str | None) -> Address | None:
        return client_address(peer or "", headers.get("X-Forwarded-For") or "", self._trusted_proxies)

    def note(self, reason: str, headers: Headers, peer: str | None, caller: str) -> None:
        """Count that somebody was refused, and write it down; `caller` is empty where nobody knows who."""
        REFUSED_KEYS.add(reason.replace(" ", "_"))
        self._write(reason, headers, peer, caller)

    def _write(self, reason: str, headers: Headers, peer: str | None, caller: str) -> None:
        address = self._address(headers, peer)
        facts = {"caller": caller} if caller else {}
        self._audit.note_refusal("access refused", reason=reason, address=str(address or "unknown"), **facts)
