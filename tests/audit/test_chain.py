"""What a chain of entries shows of itself."""

import json

import pytest

from opendify.audit.chain import START, TORN, Link, torn_digest, verify, write_entry


def chain(count: int = 5) -> tuple[list[str], Link]:
    lines, link = [], START
    for number in range(count):
        line, link = write_entry(link, {"at": f"t{number}", "event": "key action", "key": f"k{number}"})
        lines.append(line)
    return lines, link


def faults(lines: list[str], head: Link | None) -> list[tuple[str, str]]:
    found = verify([(str(number), line) for number, line in enumerate(lines, 1)], head)
    return [(finding.place, finding.text) for finding in found if finding.is_fault]


def test_what_was_not_touched_has_no_fault() -> None:
    lines, head = chain()

    assert faults(lines, head) == []
    assert faults([], None) == []


def test_a_changed_line_is_named() -> None:
    lines, head = chain()
    lines[2] = lines[2].replace("k2", "k9")

    assert faults(lines, head) == [("3", "this line was changed")]


def test_a_line_that_was_changed_with_its_digest_is_named_by_the_next() -> None:
    lines, head = chain()
    second = json.loads(lines[1])
    lines[2], _ = write_entry(Link(2, second["digest"]), {"at": "t2", "event": "key action", "key": "k9"})

    ((place, text),) = faults(lines, head)
    assert place == "4"
    assert "does not follow" in text


def test_the_last_line_changed_with_its_digest_is_not_the_one_that_was_written() -> None:
    lines, head = chain()
    fourth = json.loads(lines[3])
    lines[4], _ = write_entry(Link(4, fourth["digest"]), {"event": "other"})

    assert faults(lines, head) == [("the end", "entry 5 is not the one that was written")]


@pytest.mark.parametrize(
    ("removed", "place", "text"),
    [
        ([1], "2", "entry 2 was missing before this line"),
        ([1, 2], "2", "entries 2 to 3 were missing before this line"),
        ([4], "the end", "entry 5 was removed"),
        ([2, 3, 4], "the end", "entries 3 to 5 were removed"),
        ([0, 1, 2, 3, 4], "the end", "entries 1 to 5 were removed"),
    ],
)
def test_removed_lines_are_named(removed: list[int], place: str, text: str) -> None:
    lines, head = chain()

    assert faults([line for n, line in enumerate(lines) if n not in removed], head) == [(place, text)]


def test_lines_in_another_order_are_named() -> None:
    lines, head = chain()
    lines[1], lines[2] = lines[2], lines[1]

    found = faults(lines, head)

    assert found[0] == ("2", "entry 2 was missing before this line")
    assert found[1] == ("3", "entry 2 stands behind entry 3")


def test_a_line_that_was_doubled_is_named() -> None:
    lines, head = chain()

    assert faults([*lines[:3], lines[2], *lines[3:]], head) == [("4", "entry 3 stands behind entry 3")]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"number": 1}', "\udcff\x00", "[" * 10_000])
def test_what_is_no_entry_is_named(text: str) -> None:
    lines, head = chain()

    assert ("3", "this line was changed") in faults([*lines[:2], text, *lines[2:]], head)


def test_a_line_written_otherwise_is_a_changed_one() -> None:
    lines, head = chain()
    lines[1] = json.dumps(json.loads(lines[1]))

    assert faults(lines, head) == [("2", "this line was changed")]


def test_a_line_that_a_crash_left_is_no_fault_where_the_next_one_says_so() -> None:
    lines, link = chain(2)
    torn = '{"number":3,"at"'
    after, head = write_entry(link, {"event": "key action", TORN: torn_digest(torn)})

    assert faults([*lines, torn, after], head) == []
    assert faults([*lines, torn + "x", after], head) == [("3", "this line was changed")]


def test_a_log_whose_old_files_are_gone_is_told_and_no_fault() -> None:
    lines, head = chain()

    found = list(verify([("3", lines[2]), ("4", lines[3]), ("5", lines[4])], head))

    assert [(finding.text, finding.is_fault) for finding in found] == [("the log begins with entry 3", False)]
