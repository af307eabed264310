"""The numbers of a page of metrics."""

from opendify.telemetry.metrics import METRICS


def total(page: str, name: str, **labels: str) -> float:
    """The sum of the series of that name with those labels."""
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    series = [line for line in page.splitlines() if line.startswith((f"{name}{{", f"{name} "))]
    return sum(float(line.rpartition(" ")[2]) for line in series if all(each in line for each in wanted))


class Counted:
    """How far this process has counted since this was made."""

    def __init__(self, name: str, **labels: str) -> None:
        METRICS.open()
        METRICS.begin()
        self._name, self._labels = name, labels
        self._before = self._total()

    @property
    def more(self) -> float:
        return self._total() - self._before

    def _total(self) -> float:
        return total(METRICS.exposition("")[0].decode(), self._name, **self._labels)
