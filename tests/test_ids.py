"""Ids: none is given twice, whoever asks."""

import os
import re
from concurrent.futures import ThreadPoolExecutor

from opendify.ids import new_id


def test_an_id_is_24_hexadecimal_digits() -> None:
    assert re.fullmatch("[0-9a-f]{24}", new_id())


def test_threads_never_get_the_same() -> None:
    with ThreadPoolExecutor(8) as threads:
        ids = list(threads.map(lambda _: new_id(), range(2_000)))

    assert len(set(ids)) == 2_000


def test_a_child_never_gets_those_of_its_parent() -> None:
    new_id()
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.write(write, " ".join(new_id() for _ in range(100)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read) as said:
        of_child = said.read().split()

    assert len(of_child) == 100
    assert set(of_child).isdisjoint(new_id() for _ in range(100))
