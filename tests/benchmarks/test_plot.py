"""The picture of what was measured."""

from xml.etree import ElementTree as ET

from benchmarks.plot import build_plot
from tests.fakes.benchmark_runs import measured

SVG = "{http://www.w3.org/2000/svg}"


def test_bars_end_at_the_median_and_lines_reach_from_the_lowest_to_the_highest() -> None:
    runs = [measured("opendify", number, us=us) for number, us in ((1, 5.0), (2, 10.0), (3, 20.0))]

    picture = ET.fromstring(build_plot([*runs, measured("a & b", us=1.0)]))  # noqa: S314 - Made here.

    (ours, _) = picture.iter(f"{SVG}rect")
    (span, _) = picture.iter(f"{SVG}line")
    texts = [text.text for text in picture.iter(f"{SVG}text")]
    assert (ours.get("x"), ours.get("width")) == ("130", "210.0")
    assert (span.get("x1"), span.get("x2")) == ("235.0", "550.0")
    assert texts == ["burst: CPU µs per piece", "opendify", "10.0", "a & b", "1.0"]


def test_each_scenario_has_a_panel_of_its_own_unit() -> None:
    picture = build_plot([measured("opendify"), measured("opendify", scenario="short", us=2.0)])

    assert "short: CPU µs per request" in picture
    assert ">400.0<" in picture
