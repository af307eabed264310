"""The page on capacity says what the kept results say."""

from dataclasses import replace

import pytest

from benchmarks.capacity import PAGES, RESULTS, build_tables, newest_figures, read_figures, with_tables
from benchmarks.results import read_lines


@pytest.mark.parametrize("language", PAGES)
def test_the_page_is_what_the_published_results_say(language: str) -> None:
    page = PAGES[language].read_text(encoding="utf-8")

    # `python -m benchmarks.capacity` writes it anew.
    assert with_tables(page, build_tables(newest_figures(), language)) == page


def test_needs_follow_from_the_costs() -> None:
    figures = replace(newest_figures(), request_us=1_000, paced_piece_us=100, stream_kb=100)

    requests, rate, streams, workers, _ = figures.need(1_000_000)

    # 27.8 answers a second of 51 ms each take 1.42 cores, which may be busy for 60 %.
    assert (requests, rate, streams, workers) == ("1,000,000", "27.8", "278", "3")
    assert figures.need(10_000)[3] == "2"


def test_what_was_held_is_shown_where_it_was_measured() -> None:
    figures = newest_figures()

    assert "held" in dict(replace(figures, most_streams=400).rows())
    assert "held" not in dict(replace(figures, most_streams=None).rows())


def test_every_kept_session_can_be_read() -> None:
    for file in RESULTS.glob("*.jsonl"):
        assert read_figures(read_lines(file)).request_us > 0


def test_a_page_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="the page has no"):
        with_tables("# Capacity", "| |")
