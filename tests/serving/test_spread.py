"""Which worker is the least busy, as all of them see it."""

from opendify.serving.spread import LoadBoard, Place


def _places(count: int) -> tuple[LoadBoard, list[Place]]:
    board = LoadBoard(count)
    places = [board.take_place() for _ in range(count)]
    return board, [place for place in places if place]


def test_fewer_requests_count_first_and_then_fewer_connections() -> None:
    _, (one, two) = _places(2)

    one.show(1, 0)
    two.show(0, 50)
    assert (one.is_least_busy, two.is_least_busy) == (False, True)

    one.show(0, 49)
    assert (one.is_least_busy, two.is_least_busy) == (True, False)

    one.show(3, 0)
    assert one.requests_above_least == 3


def test_equally_busy_workers_may_both_take_a_client() -> None:
    _, (one, two) = _places(2)
    one.show(2, 2)
    two.show(2, 2)

    assert one.is_least_busy
    assert two.is_least_busy


def test_nobody_waits_for_a_worker_that_is_not_there() -> None:
    board, (one, two, three) = _places(3)
    one.show(5, 5)
    two.show(1, 0)
    # `three` has not begun.

    two.hide()
    alone = one.is_least_busy
    three.show(0, 0)
    beside_another = one.is_least_busy
    board.clear(three)

    assert (alone, beside_another, one.is_least_busy) == (True, False, True)


def test_places_are_given_again() -> None:
    board, (one, _) = _places(2)
    assert board.take_place() is None

    board.clear(one)

    again = board.take_place()
    assert again
    assert again.number == one.number
