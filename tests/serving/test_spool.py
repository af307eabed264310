"""Pieces come out of a spool as they went in, wherever they lay meanwhile."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from opendify.serving.spool import Spool

Steps = st.lists(st.one_of(st.integers(0, 900_000), st.integers(-900_000, -1)), max_size=12)


@given(steps=Steps, may_use_disk=st.booleans())
def test_bytes_keep_their_order(steps: list[int], may_use_disk: bool) -> None:
    spool = Spool(Path("/tmp"))  # noqa: S108 - A file without a name.
    spool.may_use_disk = may_use_disk
    written, taken = bytearray(), bytearray()
    for number, step in enumerate(steps):
        if step >= 0:
            piece = bytes([number]) * step
            spool.add(piece)
            written += piece
        else:
            taken += spool.take(-step)

    assert written.startswith(taken)
    assert bytes(taken) + spool.take_all() == written
    assert spool.bytes_on_disk == 0
    assert spool.take(1) == b""
