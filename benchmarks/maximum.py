"""How many streams of 50 pieces/s a target holds: doubling until it fails, then halving the gap."""

from collections.abc import Callable, Iterator

from benchmarks.results import Measurement

MOST_LAG_MS = 50.0
MOST_FIRST_PIECE_MS = 500.0
# With fewer pieces, mock or target cannot keep the pace, however little each piece lags.
_LEAST_PART = 0.95
_FIRST = 50
_LAST = 12_800
_TRIES = 2


def is_held(run: Measurement) -> bool:
    """Whether all streams got all their pieces in time."""
    return (
        run.errors == 0
        and run.pieces >= _LEAST_PART * run.pieces_due
        and run.lag_ms_p99 < MOST_LAG_MS
        and run.first_piece_ms_p99 < MOST_FIRST_PIECE_MS
    )


def find_most(measure: Callable[[int], Measurement]) -> Iterator[Measurement]:
    """All that was measured with one number of streams and another."""
    held, failed = 0, _LAST
    while failed - held > max(1, held // 10):
        streams = min(2 * held or _FIRST, (held + failed) // 2)
        for _ in range(_TRIES):  # What else the machine does may spoil one.
            run = measure(streams)
            yield run
            if is_held(run):
                held = streams
                break
        else:
            failed = streams
