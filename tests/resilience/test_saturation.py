"""More chats than the server has slots: who is answered, who is refused, and that probes never wait."""

from collections.abc import Iterator

import pytest

from tests.fakes.live_dify import live_dify
from tests.resilience.crowds import PatientDify, answered_with, asking, assert_all_whole, statuses
from tests.resilience.probing import probing
from tests.resilience.server import running_server

# In practice they take some milliseconds; a loaded machine may take its time.
PROBE_SECONDS = 0.5


@pytest.fixture
def patient() -> Iterator[PatientDify]:
    with live_dify() as dify:
        yield PatientDify(dify)


def test_one_worker_answers_as_many_as_it_has_slots_and_refuses_the_others_at_once(
    patient: PatientDify,
) -> None:
    told = {"GUNICORN_WORKERS": "1", "GUNICORN_THREADS": "16", "QUEUE_SECONDS": "0"}
    with running_server(patient.dify, **told) as server:
        with probing(server.port) as probes, asking(server, 3 * 14) as clients:
            assert statuses(clients) == {200: 14, 429: 28}
            for client in answered_with(429, clients):
                head = client.received.partition(b"\r\n\r\n")[0].lower()
                assert b"\r\nconnection: close" in head
                assert b"\r\nretry-after: " in head
            patient.finish.set()
            assert_all_whole(answered_with(200, clients))
        assert probes.failures == []
        assert probes.percentile(0.99) < PROBE_SECONDS, probes
        assert len(patient.dify.runs) == 14
        patient.finish.clear()
        with asking(server, 14) as clients:
            assert statuses(clients) == {200: 14}, "a slot was lost"
            patient.finish.set()
            assert_all_whole(clients)
