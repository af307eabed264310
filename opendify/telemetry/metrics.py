"""What is counted and measured of the service: instruments that any room may keep, read at `/metrics`.

`counter`, `gauge` and `histogram` declare an instrument at import, and open nothing; while
nobody asked for metrics, as in commands, using it does nothing. `Metrics` then gives them
their values: those of this process alone, or files that all workers of a server share.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from opendify.telemetry.numbers import CHANGING, Number, made_with, shared_numbers, undisturbed

if TYPE_CHECKING:
    import prometheus_client
    from prometheus_client.registry import Collector, CollectorRegistry

    Family = prometheus_client.Counter | prometheus_client.Gauge | prometheus_client.Histogram

METRICS_EXTENSION: Final = "opendify-metrics"
"""Where the app keeps its `Metrics`, among its extensions."""

OTHER: Final = "other"
"""What a label says in place of a value that nobody configured."""

# A series costs memory in every worker and in Prometheus; clients must not be able to make any.
_MOST_SERIES: Final = 1_000
_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)

GaugeMode = Literal["sum", "max"]
"""How the values of living workers become one; those of dead workers do not count."""


_Series = Sequence[tuple["memoryview[float]", int]]
"""Where the numbers of one series lie; see `numbers.Number`."""


class Instrument:
    """A metric with all its label values; `name` is the one that Prometheus shows."""

    def __init__(self, name: str, about: str, labels: Sequence[str]) -> None:
        self.name, self.about, self.labels = name, about, tuple(labels)
        self._family: Family | None = None
        # By label values, since the library takes ten times as long to find and to change one.
        self._series: dict[tuple[str, ...], _Series] = {}

    def bind(self, registry: "CollectorRegistry | None") -> None:
        """Keep values from now on: in `registry`, or without one in files of the library's."""
        self._family, numbers = made_with(lambda: self._make(registry))
        self._series = {} if self.labels else {(): _places(numbers)}

    def _make(self, registry: "CollectorRegistry | None") -> "Family":
        raise NotImplementedError

    def _begin(self, values: tuple[str, ...]) -> _Series:
        """The numbers of a series that was not counted yet; none where nobody will ask."""
        if self._family is None:
            METRICS.begin()
        family = self._family
        if family is None:
            return ()
        with undisturbed():
            if values not in self._series and len(self._series) >= _MOST_SERIES:
                values = (OTHER,) * len(values)
            if values not in self._series:
                _, numbers = made_with(lambda: family.labels(*values))
                self._series[values] = _places(numbers)
            return self._series[values]


def _places(numbers: Sequence[Number]) -> _Series:
    return [(number.cells, number.at) for number in numbers]


class Counter(Instrument):
    """Counts what happened since the server started."""

    def _make(self, registry: "CollectorRegistry | None") -> "Family":
        from prometheus_client import Counter

        return Counter(self.name, self.about, self.labels, registry=registry)

    def add(self, *values: str, by: float = 1) -> None:
        """Count one more, or `by` more; `values` are those of the labels, in their order."""
        for cells, at in self._series.get(values) or self._begin(values):
            with CHANGING:
                cells[at] += by


class Gauge(Instrument):
    """What is the case now."""

    def __init__(self, name: str, about: str, labels: Sequence[str], mode: GaugeMode) -> None:
        super().__init__(name, about, labels)
        self._mode = mode

    def _make(self, registry: "CollectorRegistry | None") -> "Family":
        from prometheus_client import Gauge

        mode: Literal["livesum", "livemax"] = "livesum" if self._mode == "sum" else "livemax"
        return Gauge(self.name, self.about, self.labels, registry=registry, multiprocess_mode=mode)

    def add(self, *values: str, by: float = 1) -> None:
        """Raise it; lower it with a negative `by`."""
        for cells, at in self._series.get(values) or self._begin(values):
            with CHANGING:
                cells[at] += by

    def set(self, value: float, *values: str) -> None:
        """Make it `value`."""
        for cells, at in self._series.get(values) or self._begin(values):
            with CHANGING:
                cells[at] = value


class Histogram(Instrument):
    """How often which size was seen."""

    def __init__(self, name: str, about: str, labels: Sequence[str], buckets: Sequence[float]) -> None:
        super().__init__(name, about, labels)
        self._buckets = buckets

    def _make(self, registry: "CollectorRegistry | None") -> "Family":
        from prometheus_client import Histogram

        return Histogram(self.name, self.about, self.labels, registry=registry, buckets=self._buckets)

    def observe(self, size: float, *values: str) -> None:
        """One more of this size."""
        series = self._series.get(values) or self._begin(values)
        if series:
            sums, sum_at = series[0]
            # The last bucket holds what is larger than all bounds.
            counts, count_at = series[1 + bisect_left(self._buckets, size)]
            with CHANGING:
                sums[sum_at] += size
                counts[count_at] += 1


class Metrics:
    """The instruments of a process, their values, and how these are read.

    An instrument has one value in a process, whichever of its apps uses it.
    """

    def __init__(self) -> None:
        self.instruments: list[Counter | Gauge | Histogram] = []
        """Those of all modules that were imported."""
        self.folder: Path | None = None
        """Where the processes of this server keep their values, once they do."""
        self.process = ""
        """The name of this one among them."""
        self._is_wanted = False
        self._registry: CollectorRegistry | None = None

    def open(self) -> None:
        """Somebody will ask. Count in this process alone, from the first use on, until `join`."""
        self._is_wanted = True

    def begin(self) -> None:
        """Give every instrument its values, if anybody will ask for them."""
        if not self._is_to_begin():
            return
        with undisturbed():
            if not self._is_to_begin():
                return  # Another thread did it meanwhile.
            from prometheus_client import CollectorRegistry, disable_created_metrics, values

            disable_created_metrics()  # type: ignore[no-untyped-call] # Several processes have none either.
            # By itself the library goes by an environment that is meant for a server.
            values.ValueClass = Number
            self._bind(CollectorRegistry())

    def _is_to_begin(self) -> bool:
        return self._is_wanted and self._registry is None and self.folder is None

    def join(self, folder: Path, process: str) -> None:
        """Count from now on together with the other processes that keep files in `folder`.

        `process` is a name that no other living process has; who takes that of a dead one
        goes on with its counters.
        """
        with undisturbed():
            from prometheus_client import values

            self.folder, self.process = folder, process
            values.ValueClass = shared_numbers(folder, process)
            self._bind(None)

    def exposition(self, accept: str, more: Iterable["Collector"] = ()) -> tuple[bytes, str]:
        """Everything, in the form that a scraper accepts, and its content type.

        `more` tells what is only found out when somebody looks.
        """
        self.begin()
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import choose_encoder
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = CollectorRegistry()
        if self.folder is not None:
            MultiProcessCollector(registry, str(self.folder))  # type: ignore[no-untyped-call]
        elif self._registry is not None:
            registry.register(self._registry)
        for collector in more:
            registry.register(collector)
        encode, content_type = choose_encoder(accept)
        return encode(registry), content_type

    def _bind(self, registry: "CollectorRegistry | None") -> None:
        self._registry = registry
        for instrument in self.instruments:
            instrument.bind(registry)


METRICS: Final = Metrics()


def counter(name: str, about: str, *labels: str) -> Counter:
    """Declare a counter, once, in a module; `name` ends in `_total`, and label values must be few."""
    declared = Counter(name, about, labels)
    METRICS.instruments.append(declared)
    return declared


def gauge(name: str, about: str, *labels: str, mode: GaugeMode = "sum") -> Gauge:
    """Declare a gauge."""
    declared = Gauge(name, about, labels, mode)
    METRICS.instruments.append(declared)
    return declared


def histogram(name: str, about: str, *labels: str, buckets: Sequence[float] = _SECONDS) -> Histogram:
    """Declare a histogram; `name` ends in its unit."""
    declared = Histogram(name, about, labels, buckets)
    METRICS.instruments.append(declared)
    return declared
