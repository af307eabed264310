"""Who asks on before the answer came takes turns with others of the kind."""

from opendify.serving.pipelining import PipelineLine


def test_only_so_many_have_a_turn_at_once() -> None:
    line: PipelineLine[str] = PipelineLine(2)
    for client in ("ann", "bob", "cid"):
        line.join(client)

    assert [line.next(), line.next(), line.next()] == ["ann", "bob", None]
    assert len(line) == 1

    line.leave("ann")
    assert line.next() == "cid"


def test_who_had_a_turn_is_behind_all_who_wait() -> None:
    line: PipelineLine[str] = PipelineLine(1)
    line.join("greedy")
    line.join("modest")
    had_turns = []
    for _ in range(3):
        client = line.next()
        assert client
        had_turns.append(client)
        line.leave(client)
        line.join(client)

    assert had_turns == ["greedy", "modest", "greedy"]


def test_a_client_without_a_turn_may_leave() -> None:
    line: PipelineLine[str] = PipelineLine(1)

    line.leave("nobody")

    assert line.next() is None
