"""A limit towards Dify is kept by all workers of the real server together, whatever happens to them."""

import json
import select
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from tests.fakes.waiting import wait_until
from tests.resilience.crowds import (
    PatientDify,
    answered_with,
    asking,
    assert_all_whole,
    can_serve,
    idle,
    statuses,
)
from tests.resilience.server import MODEL, BareClient, RunningServer, running_server

LIMIT = 4


@pytest.fixture(scope="module")
def kept_hasty(shared: PatientDify) -> Iterator[RunningServer]:
    with limited_server(shared, QUEUE_SECONDS="0.5") as server:
        yield server


@pytest.fixture
def hasty_server(patient: PatientDify, kept_hasty: RunningServer) -> RunningServer:
    """Nobody waits for long."""
    return idle(kept_hasty)


@pytest.fixture(scope="module")
def kept_patient(shared: PatientDify) -> Iterator[RunningServer]:
    with limited_server(shared, QUEUE_SECONDS="60") as server:
        yield server


@pytest.fixture
def patient_server(patient: PatientDify, kept_patient: RunningServer) -> RunningServer:
    return idle(kept_patient)


@contextmanager
def limited_server(patient: PatientDify, **environment: str) -> Iterator[RunningServer]:
    table = {MODEL: {"api_key": "app-bot", "mode": "chat", "max_concurrency": LIMIT}}
    told = {"GUNICORN_WORKERS": "3", "GUNICORN_THREADS": "32", "MODEL_CONFIG": json.dumps(table)}
    with running_server(patient.dify, **told, **environment) as server:
        yield server


def test_dify_never_gets_more_runs_at_once_and_all_who_wait_are_answered(
    patient: PatientDify, patient_server: RunningServer
) -> None:
    with asking(patient_server, 4 * LIMIT) as clients:
        assert wait_until(lambda: patient.going_on == LIMIT, 10)
        assert not wait_until(lambda: patient.going_on > LIMIT, 0.5)
        patient.finish.set()
        assert statuses(clients) == {200: 4 * LIMIT}
        assert_all_whole(clients)
    assert patient.most_at_once == LIMIT
    assert len(patient.dify.runs) == 4 * LIMIT


def test_a_client_that_stops_waiting_is_never_run(
    patient: PatientDify, patient_server: RunningServer
) -> None:
    with asking(patient_server, LIMIT) as clients:
        assert statuses(clients) == {200: LIMIT}
        with asking(patient_server, 3):
            pass  # They leave at once.
        patient.finish.set()
        assert_all_whole(clients)

        assert patient_server.chat("Hello").status_code == 200
    assert len(patient.dify.runs) == LIMIT + 1


def test_whoever_waits_too_long_is_told_so_and_nothing_is_begun(
    patient: PatientDify, hasty_server: RunningServer
) -> None:
    with asking(hasty_server, 3 * LIMIT) as clients:
        assert statuses(clients) == {200: LIMIT, 429: 2 * LIMIT}
        assert len(patient.dify.runs) == LIMIT
        patient.finish.set()
        assert_all_whole(answered_with(200, clients))


def test_a_run_that_was_left_keeps_its_place_until_dify_has_ended_it(
    patient: PatientDify, hasty_server: RunningServer
) -> None:
    with asking(hasty_server, LIMIT) as clients:
        assert statuses(clients) == {200: LIMIT}
    with asking(hasty_server, 1) as newcomers:
        assert statuses(newcomers) == {429: 1}

    assert wait_until(lambda: patient.going_on == 0, 20)
    assert wait_until(lambda: can_serve(hasty_server, LIMIT), 10)
    assert patient.most_at_once == LIMIT


def test_a_worker_that_is_killed_gives_its_places_back(
    patient: PatientDify, hasty_server: RunningServer
) -> None:
    with asking(hasty_server, LIMIT) as clients:
        assert statuses(clients) == {200: LIMIT}
        for worker in hasty_server.program.workers():
            if not was_cut_off(clients):
                worker.kill()
                wait_until(lambda: was_cut_off(clients), 1)
        lost = len(was_cut_off(clients))
        assert lost
        assert wait_until(lambda: patient.going_on == LIMIT - lost, 10)

        with asking(hasty_server, LIMIT + 1) as newcomers:
            assert statuses(newcomers) == {200: lost, 429: LIMIT + 1 - lost}
            patient.finish.set()
            assert_all_whole(answered_with(200, newcomers))
    assert patient.most_at_once == LIMIT


def test_workers_of_before_and_after_a_reload_count_together(
    patient: PatientDify, hasty_server: RunningServer
) -> None:
    with asking(hasty_server, LIMIT) as clients:
        assert statuses(clients) == {200: LIMIT}
        before = {worker.pid for worker in hasty_server.program.workers()}

        hasty_server.program.signal(signal.SIGHUP)

        assert wait_until(lambda: len(pids(hasty_server) - before) == 3, 20)
        with asking(hasty_server, 3) as newcomers:
            assert statuses(newcomers) == {429: 3}
        patient.finish.set()
        assert_all_whole(clients)
    assert wait_until(lambda: can_serve(hasty_server, LIMIT), 10)


def test_workers_that_load_the_code_themselves_count_together_too(patient: PatientDify) -> None:
    told = {"QUEUE_SECONDS": "0", "GUNICORN_RELOAD": "true"}
    with limited_server(patient, **told) as server, asking(server, LIMIT) as clients:
        assert statuses(clients) == {200: LIMIT}
        # By then all workers have loaded, and those that have nothing to do take who comes.
        assert not wait_until(lambda: can_serve(server, 1), 3)


def pids(server: RunningServer) -> set[int]:
    return {worker.pid for worker in server.program.workers()}


def was_cut_off(clients: Sequence[BareClient]) -> list[BareClient]:
    """Those whose stream ended with the worker that carried it."""
    poll = select.poll()
    for client in clients:
        poll.register(client.socket, select.POLLRDHUP)
    cut = {descriptor for descriptor, _ in poll.poll(0)}
    return [client for client in clients if client.socket.fileno() in cut]
