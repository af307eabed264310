"""A bounded part of the random walk; `python -m tests.memory.random_walk` goes on for longer."""

from concurrent.futures import ThreadPoolExecutor

from tests.memory.random_walk import walk
from tests.memory.servers import Stand

SECONDS = 20.0
SEEDS = (1, 2)


def test_whatever_clients_do_dify_remembers_what_they_showed(stand: Stand) -> None:
    with ThreadPoolExecutor(len(SEEDS)) as pool:
        walks = list(pool.map(lambda seed: walk(stand, seed, SECONDS), SEEDS))

    assert [walked.failure for walked in walks if walked.failure] == []
    # A service that always began anew would remember rightly too.
    assert sum(walked.continued for walked in walks) > sum(walked.turns for walked in walks) // 5
