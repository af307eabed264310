"""The pages for operators name what the service really shows."""

import re

import pytest

import opendify.app
from opendify.settings import PROJECT_FOLDER
from opendify.telemetry.metrics import METRICS
from tests.fakes.settings import make_settings

NAME = re.compile(r"opendify_\w+")


@pytest.mark.parametrize("page", ["docs/monitoring.md", "docs/monitoring.zh-CN.md"])
def test_every_metric_is_described_and_no_other(page: str) -> None:
    text = (PROJECT_FOLDER / page).read_text(encoding="utf-8")
    rows = {
        name for line in text.splitlines() if line.startswith("| `opendify_") for name in NAME.findall(line)
    }

    app = opendify.app.create_app(make_settings())
    shown = app.test_client().get("/metrics").get_data(as_text=True)
    found_out = {line.split()[2] for line in shown.splitlines() if line.startswith("# TYPE")}

    declared = {each.name for each in METRICS.instruments}
    # A backup is told of once there is one.
    assert rows == declared | found_out | {"opendify_backup_last_success_timestamp_seconds"}


def test_every_metric_has_labels_as_the_pages_say() -> None:
    text = (PROJECT_FOLDER / "docs/monitoring.md").read_text(encoding="utf-8")

    for each in METRICS.instruments:
        labels = ", ".join(f"`{label}`" for label in each.labels)
        assert f"| `{each.name}` | {labels} |" in text
