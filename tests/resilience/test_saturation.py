"""More chats than the server has slots: who is answered, who is refused, and that probes never wait."""

import select
import time
from collections.abc import Iterator, Sequence

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
from tests.resilience.probing import Probes, probing
from tests.resilience.server import BareClient, RunningServer, running_server

# In practice they take some milliseconds; a loaded machine may take its time.
PROBE_SECONDS = 0.5


def assert_fast(probes: Probes) -> None:
    assert probes.failures == []
    assert probes.percentile(0.9) < PROBE_SECONDS, str(probes)
    assert probes.percentile(1.0) < 10 * PROBE_SECONDS, str(probes)


@pytest.fixture(scope="module")
def kept_impatient(shared: PatientDify) -> Iterator[RunningServer]:
    told = {"GUNICORN_WORKERS": "1", "GUNICORN_THREADS": "16", "QUEUE_SECONDS": "0"}
    with running_server(shared.dify, **told) as server:
        yield server


@pytest.fixture
def impatient_server(patient: PatientDify, kept_impatient: RunningServer) -> RunningServer:
    """One worker with 14 free slots, for which nobody may wait."""
    return idle(kept_impatient)


@pytest.fixture(scope="module")
def kept_patient(shared: PatientDify) -> Iterator[RunningServer]:
    told = {"GUNICORN_WORKERS": "1", "GUNICORN_THREADS": "16", "QUEUE_SECONDS": "60"}
    with running_server(shared.dify, **told) as server:
        yield server


@pytest.fixture
def patient_server(patient: PatientDify, kept_patient: RunningServer) -> RunningServer:
    """One worker with 14 free slots, for which one client may wait; then one reserved thread is left."""
    return idle(kept_patient)


def test_one_worker_answers_as_many_as_it_has_slots_and_refuses_the_others_at_once(
    patient: PatientDify, impatient_server: RunningServer
) -> None:
    with probing(impatient_server.port) as probes, asking(impatient_server, 3 * 14) as clients:
        assert statuses(clients) == {200: 14, 429: 28}
        for client in answered_with(429, clients):
            head = client.received.partition(b"\r\n\r\n")[0].lower()
            assert b"\r\nconnection: close" in head
            assert b"\r\nretry-after: " in head
        assert not wait_until(lambda: patient.going_on != 14, 1.0), "nothing changes but for the probes"
        patient.finish.set()
        assert_all_whole(answered_with(200, clients))
    assert_fast(probes)
    assert len(patient.dify.runs) == 14
    assert wait_until(lambda: can_serve(impatient_server, 14), 10), "a slot was lost"


@pytest.mark.parametrize("with_reset", [False, True])
def test_slots_of_clients_that_leave_are_free_at_once(
    patient: PatientDify, impatient_server: RunningServer, with_reset: bool
) -> None:
    with asking(impatient_server, 14) as clients:
        assert statuses(clients) == {200: 14}
        for client in clients:
            client.leave(with_reset=with_reset)
    left_at = time.monotonic()

    assert wait_until(lambda: can_serve(impatient_server, 1), 10)

    # Half a second, and some more on a loaded machine.
    assert time.monotonic() - left_at < 4
    assert wait_until(lambda: can_serve(impatient_server, 14), 10), "a slot was lost"


def test_several_workers_answer_or_refuse_every_request_and_nothing_else(patient: PatientDify) -> None:
    told = {"GUNICORN_WORKERS": "3", "GUNICORN_THREADS": "8", "QUEUE_SECONDS": "0.2"}
    with running_server(patient.dify, **told) as server:
        with probing(server.port) as probes, asking(server, 3 * 18) as clients:
            counted = statuses(clients)
            assert counted[200] + counted[429] == 3 * 18, counted
            assert 6 <= counted[200] <= 18
            assert len(patient.dify.runs) == counted[200]
            assert not wait_until(lambda: patient.going_on != counted[200], 1.0)
            patient.finish.set()
            assert_all_whole(answered_with(200, clients))
        assert_fast(probes)
        # Wherever they come together, six find a slot.
        for _ in range(6):
            assert wait_until(lambda: can_serve(server, 6), 10), "slots were lost"


def test_who_finds_no_slot_waits_a_little_and_is_answered(
    patient: PatientDify, patient_server: RunningServer
) -> None:
    with asking(patient_server, 14) as clients:
        assert statuses(clients) == {200: 14}
        with asking(patient_server, 5) as more:
            assert wait_until(lambda: len(heard_of(more)) == 4, 10)
            refused = heard_of(more)
            assert statuses(refused) == {429: 4}
            assert patient_server.probe_seconds() < 6 * PROBE_SECONDS
            patient.finish.set()
            assert statuses([client for client in more if client not in refused]) == {200: 1}
        assert_all_whole(clients)
    assert len(patient.dify.runs) == 15


def test_who_leaves_while_waiting_makes_room_and_is_never_run(
    patient: PatientDify, patient_server: RunningServer
) -> None:
    with asking(patient_server, 14) as clients:
        assert statuses(clients) == {200: 14}
        for _ in range(3):
            # There is room for one, so each must have left before the next can wait.
            assert wait_until(lambda: waits_for_a_while(patient_server), 10)
        patient.finish.set()
        assert_all_whole(clients)
        assert patient_server.chat().status_code == 200
    assert len(patient.dify.runs) == 15


def waits_for_a_while(server: RunningServer) -> bool:
    """Whether a client that comes now is not answered; it leaves again."""
    with asking(server, 1) as clients:
        return not wait_until(lambda: heard_of(clients), 0.3)


def heard_of(clients: Sequence[BareClient]) -> list[BareClient]:
    """Those that were answered something, or cut off."""
    return [client for client in clients if select.select([client.socket], [], [], 0)[0]]


def test_clients_that_are_refused_and_do_not_hang_up_hold_nobody_up(
    patient: PatientDify, impatient_server: RunningServer
) -> None:
    with asking(impatient_server, 14) as clients:
        assert statuses(clients) == {200: 14}
        with asking(impatient_server, 20) as refused, probing(impatient_server.port) as probes:
            for client in refused:
                assert client.read_until(b"}}").startswith(b"HTTP/1.1 429 ")
            assert not wait_until(lambda: patient.going_on != 14, 1.0)
        assert_fast(probes)
