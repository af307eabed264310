"""Dify's Service API, one method a call: typed events out, our errors out."""

import logging
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import httpx

from opendify.dify.calls import CallAnswer, DifyCall, WhileWaiting, decode_json, send_call
from opendify.dify.carriers import (
    HttpxCarrier,
    RunCarrier,
    RunPost,
    SocketCarrier,
    app_headers,
    proxy_stands_before,
)
from opendify.dify.circuit import Circuit, Pass
from opendify.dify.downloads import download
from opendify.dify.events import EventStream, RunLimits
from opendify.dify.failures import dify_errors_mapped
from opendify.dify.http_clients import HttpClients, TransportFactory
from opendify.dify.retries import Retries, RetryBudget
from opendify.dify.trust import Trust
from opendify.dify.uploads import UploadedFile, post_file
from opendify.errors import DifyError, DifyUnreachable, GatewayError
from opendify.records import Clock
from opendify.settings import DifyApp, Settings
from opendify.telemetry.instruments import CIRCUITS
from opendify.translate.dify_errors import error_from_response
from opendify.translate.dify_request import DifyRequest
from opendify.wire.sse import encode_json

# Dify's own Gunicorn closes idle connections after 2 s, and each one held open takes one of its ten slots.
_KEEPALIVE_SECONDS = 1.5
_CALL_SECONDS = 10.0
_UPLOAD_SECONDS = 120.0

logger = logging.getLogger(__name__)

Send = Callable[[], httpx.Response]
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class _Server:
    """What this process knows of one Dify server, whichever of its apps it learned that from."""

    circuit: Circuit
    budget: RetryBudget = field(default_factory=RetryBudget)


class DifyClient:
    """Talks to all configured apps through pooled connections, opened on first use.

    One object a process: connections must not cross a fork.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        transport: TransportFactory | None = None,
        clock: Clock = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._transport = transport
        self._clock = clock
        self._sleep = sleep
        self._servers: dict[str, _Server] = {}
        self._trust = Trust()
        self._clients = HttpClients(transport, self._trust, idle_seconds=_KEEPALIVE_SECONDS)
        # A connection that served before could not be told apart, and broken off, while Dify is silent.
        self._clients_of_calls = HttpClients(transport, self._trust, idle_seconds=0)
        self._carriers: dict[tuple[str, Path | None], RunCarrier] = {}
        self._sockets = SocketCarrier(
            self._trust,
            idle_seconds=_KEEPALIVE_SECONDS,
            connect_seconds=settings.dify_connect_timeout_seconds,
        )

    def open_run(self, app: DifyApp, request: DifyRequest, *, client_socket: int = -1) -> EventStream:
        """Start a run; the stream must be closed. Nothing is waited for yet.

        Reading wakes up early when the client behind `client_socket`, a file number, may have left.

        Raises:
            DifyCircuitOpen: The server could not be reached lately.
            GatewayError: It could not be asked whether it is back.
        """
        self._make_sure_of_server(app)
        limits = self._limits(app)
        if request.goes_on:
            post = RunPost(app, request.path, b"", limits, traceparent=request.traceparent, method="GET")
            exchange = self._httpx_carrier(app).open(post)
        else:
            post = RunPost(
                app, request.path, encode_json(request.body), limits, client_socket, request.traceparent
            )
            exchange = self._carrier_for(app).open(post)
        stop = partial(self._stop, app, request.stop_path, request.body["user"])
        return EventStream(exchange, limits, self._clock, stop, partial(self._note_contact, app))

    def refuse_while_away(self, app: DifyApp) -> None:
        """Ask nothing; only say whether it would be refused.

        Raises:
            DifyCircuitOpen: The app's server could not be reached lately.
        """
        self._server(app).circuit.refuse_while_open()

    def open_call(self, app: DifyApp, call: DifyCall) -> CallAnswer:
        """Send a call that may take as long as a run; to be closed. Nothing is waited for yet.

        Raises:
            DifyCircuitOpen: The server could not be reached lately.
            GatewayError: It could not be asked whether it is back.
        """
        self._make_sure_of_server(app)
        limits, client = self._limits(app), self._clients_of_calls.get(app)
        connect_seconds = self._settings.dify_connect_timeout_seconds
        exchange = send_call(client, app, call, limits, connect_seconds=connect_seconds)
        return CallAnswer(exchange, limits, self._clock, partial(self._note_contact, app))

    def retries(self, app: DifyApp) -> Retries:
        """What one request to the app's server may try again; to be closed."""
        return Retries(
            self._server(app).budget,
            most=self._settings.dify_connect_retries,
            within_seconds=self._settings.dify_connect_timeout_seconds,
            clock=self._clock,
        )

    def call(
        self, app: DifyApp, method: str, path: str, body: object = None
    ) -> tuple[httpx.Response, object]:
        """A short call: the response, and its JSON.

        Raises:
            GatewayError: No connection, an error status, or no JSON.
        """
        response = self.exchange(app, method, path, body)
        return response, _read_json(response)

    def exchange(self, app: DifyApp, method: str, path: str, body: object = None) -> httpx.Response:
        """A short call whose status the caller wants to see; tried again where it reached nobody.

        Raises:
            GatewayError: No connection, none wanted at the moment, or no answer.
        """
        send = partial(self._send, app, method, path, body)
        return self._tried_again(app, partial(self._through_circuit, app, send))

    def _send(self, app: DifyApp, method: str, path: str, body: object) -> httpx.Response:
        content = None if body is None else encode_json(body)
        timeout = httpx.Timeout(_CALL_SECONDS, connect=self._settings.dify_connect_timeout_seconds)
        headers = {**app_headers(app), "Content-Type": "application/json"} if content else app_headers(app)
        with dify_errors_mapped():
            return self._clients.get(app).request(
                method, app.api_base + path, content=content, headers=headers, timeout=timeout
            )

    def upload(
        self, app: DifyApp, file: UploadedFile, user: str, *, while_waiting: WhileWaiting = lambda: None
    ) -> str:
        """Upload a file for `user`; its `upload_file_id`.

        Raises:
            GatewayError: Too large, refused, or no connection; or what `while_waiting` raises.
        """
        total_seconds = self._settings.dify_total_timeout_seconds
        send = partial(
            post_file,
            self._clients_of_calls.get(app),
            app,
            file,
            user,
            # Dify answers when it has the whole file.
            RunLimits(total_seconds, _UPLOAD_SECONDS, total_seconds),
            connect_seconds=self._settings.dify_connect_timeout_seconds,
            while_waiting=while_waiting,
            clock=self._clock,
            on_contact=partial(self._note_contact, app),
        )
        self._make_sure_of_server(app)
        upload = decode_json(self._tried_again(app, send))
        upload_file_id = upload.get("id") if isinstance(upload, dict) else None
        if not isinstance(upload_file_id, str):
            raise DifyError("Dify did not say under which id it keeps the file")
        return upload_file_id

    def download(
        self, app: DifyApp, path: str, write: Callable[[bytes], object], while_waiting: WhileWaiting
    ) -> str:
        """See `downloads.download`."""
        return download(self._clients_of_calls.get(app), app, path, write, while_waiting, clock=self._clock)

    def read_certificates(self) -> None:
        """In a master, before the fork: so that its workers share what each would read for itself."""
        self._trust.read_for(self._settings.models)

    def close_expired(self) -> None:
        """Close connections of runs that were idle too long; to be called now and then."""
        self._sockets.close_expired()

    def close(self) -> None:
        """Close every pooled connection."""
        self._clients.close()
        self._clients_of_calls.close()
        self._sockets.close()

    def _limits(self, app: DifyApp) -> RunLimits:
        settings = self._settings
        return RunLimits(
            first_event_seconds=app.timeout_seconds or settings.dify_first_event_timeout_seconds,
            idle_seconds=app.timeout_seconds or settings.dify_idle_timeout_seconds,
            total_seconds=settings.dify_total_timeout_seconds,
        )

    def _stop(self, app: DifyApp, stop_path: str, user: object, task_id: str) -> None:
        if not stop_path:
            return
        path, body = stop_path.format(task_id=task_id), {"user": user}
        try:
            # Whatever the circuit says: the run goes on, and is paid for.
            response = self._tried_again(app, partial(self._send, app, "POST", path, body))
            if response.status_code >= 400:
                raise error_from_response(response.status_code, response.content)
        except GatewayError:
            logger.warning("a run could not be stopped", extra={"model": app.name}, exc_info=True)

    def _tried_again(self, app: DifyApp, send: Callable[[], _Answer]) -> _Answer:
        """What cannot have reached Dify is sent again."""
        with closing(self.retries(app)) as retries:
            while True:
                try:
                    return send()
                except DifyUnreachable:
                    pause = retries.next_pause()
                    if pause is None:
                        raise
                self._sleep(pause)

    def _through_circuit(self, app: DifyApp, send: Send) -> httpx.Response:
        by = self._server(app).circuit.enter()
        try:
            response = send()
        except GatewayError as error:
            self._note_contact(app, error, by)
            raise
        self._note_contact(app, _outage(response), by)
        return response

    def _make_sure_of_server(self, app: DifyApp) -> None:
        """Where the server was away, a short call finds out whether it is back, and no run has to."""
        circuit = self._server(app).circuit
        if not circuit.is_closed:
            self.exchange(app, "GET", "/info")
            circuit.enter()

    def _note_contact(self, app: DifyApp, outcome: GatewayError | None, by: Pass = "ordinary") -> None:
        circuit = self._server(app).circuit
        if outcome is None and circuit.is_untroubled:
            return
        was_closed = circuit.is_closed
        has_opened = circuit.report(outcome, by)
        if circuit.is_closed != was_closed:
            CIRCUITS.set(0 if circuit.is_closed else 1, httpx.URL(app.api_base).host)
        if has_opened:
            logger.warning("a Dify server is away and is left alone for a while", extra={"model": app.name})

    def _server(self, app: DifyApp) -> _Server:
        server = self._servers.get(app.api_base)
        if server is None:
            circuit = Circuit(
                most_failures=self._settings.dify_circuit_failures,
                open_seconds=self._settings.dify_circuit_seconds,
                clock=self._clock,
            )
            server = self._servers.setdefault(app.api_base, _Server(circuit))
        return server

    def _carrier_for(self, app: DifyApp) -> RunCarrier:
        where = (app.api_base, app.ca_file)
        carrier = self._carriers.get(where)
        if carrier is None:
            carrier = self._carriers.setdefault(where, self._choose_carrier(app))
        return carrier

    def _choose_carrier(self, app: DifyApp) -> RunCarrier:
        uses_sockets = self._transport is None and self._settings.dify_transport == "sockets"
        if uses_sockets and not proxy_stands_before(app.api_base):
            return self._sockets
        return self._httpx_carrier(app)

    def _httpx_carrier(self, app: DifyApp) -> HttpxCarrier:
        return HttpxCarrier(self._clients.get(app), self._settings.dify_connect_timeout_seconds)


def _outage(response: httpx.Response) -> GatewayError | None:
    """What a response says of Dify's being away; None where it is Dify's own."""
    if response.status_code < 500:
        return None
    error = error_from_response(response.status_code, response.content)
    return error if error.is_outage else None


def _read_json(response: httpx.Response) -> object:
    if response.status_code >= 400:
        raise error_from_response(response.status_code, response.content)
    return decode_json(response.content)
