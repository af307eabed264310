"""What is counted and measured of the service: instruments that any room may keep, read at `/metrics`.

`counter`, `gauge` and `histogram` declare an instrument at import, and open nothing; while
nobody asked for metrics, as in commands, using it does nothing. `Metrics` then gives them
their values: those of this process alone, or files that all workers of a server share.
"""

import gc
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeVar

if TYPE_CHECKING:
    import prometheus_client
    from prometheus_client.registry import Collector, CollectorRegistry

METRICS_EXTENSION: Final = "opendify-metrics"
"""Where the app keeps its `Metrics`, among its extensions."""

OTHER: Final = "other"
"""What a label says in place of a value that nobody configured."""

# A series costs memory in every worker and in Prometheus; clients must not be able to make any.
_MOST_SERIES: Final = 1_000
_MAKING: Final = threading.RLock()
_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)

_Family = TypeVar(
    "_Family", "prometheus_client.Counter", "prometheus_client.Gauge", "prometheus_client.Histogram"
)

GaugeMode = Literal["sum", "max"]
"""How the values of living workers become one; those of dead workers do not count."""


class Instrument(Generic[_Family]):
    """A metric with all its label values; `name` is the one that Prometheus shows."""

    def __init__(self, name: str, about: str, labels: Sequence[str]) -> None:
        self.name, self.about, self.labels = name, about, tuple(labels)
        self._family: _Family | None = None
        # By label values, since the library takes ten times as long to find one.
        self._children: dict[tuple[str, ...], _Family] = {}

    def bind(self, registry: "CollectorRegistry | None") -> None:
        """Keep values from now on: in `registry`, or without one in files of the library's."""
        self._family, self._children = self._make(registry), {}

    def _make(self, registry: "CollectorRegistry | None") -> _Family:
        raise NotImplementedError

    def _child(self, values: tuple[str, ...]) -> _Family | None:
        if self._family is None:
            METRICS.begin()
        family = self._family
        if family is None:
            return None
        if len(self._children) >= _MOST_SERIES:
            values = (OTHER,) * len(values)
        return self._children.setdefault(values, _labelled(family, values) if self.labels else family)


def _labelled(family: _Family, values: tuple[str, ...]) -> _Family:
    """The library's child of these label values, made under the library's lock.

    Nothing is collected meanwhile: an abandoned stream that is closed by the collector counts
    its end, and would wait for that lock in the very thread that holds it.
    """
    with _MAKING:
        collects = gc.isenabled()
        gc.disable()
        try:
            return family.labels(*values)
        finally:
            if collects:
                gc.enable()


class Counter(Instrument["prometheus_client.Counter"]):
    """Counts what happened since the server started."""

    def _make(self, registry: "CollectorRegistry | None") -> "prometheus_client.Counter":
        from prometheus_client import Counter as Family

        return Family(self.name, self.about, self.labels, registry=registry)

    def add(self, *values: str, by: float = 1) -> None:
        """Count one more, or `by` more; `values` are those of the labels, in their order."""
        child = self._children.get(values) or self._child(values)
        if child is not None:
            child.inc(by)


class Gauge(Instrument["prometheus_client.Gauge"]):
    """What is the case now."""

    def __init__(self, name: str, about: str, labels: Sequence[str], mode: GaugeMode) -> None:
        super().__init__(name, about, labels)
        self._mode = mode

    def _make(self, registry: "CollectorRegistry | None") -> "prometheus_client.Gauge":
        from prometheus_client import Gauge as Family

        mode: Literal["livesum", "livemax"] = "livesum" if self._mode == "sum" else "livemax"
        return Family(self.name, self.about, self.labels, registry=registry, multiprocess_mode=mode)

    def add(self, *values: str, by: float = 1) -> None:
        """Raise it; lower it with a negative `by`."""
        child = self._children.get(values) or self._child(values)
        if child is not None:
            child.inc(by)

    def set(self, value: float, *values: str) -> None:
        """Make it `value`."""
        child = self._children.get(values) or self._child(values)
        if child is not None:
            child.set(value)


class Histogram(Instrument["prometheus_client.Histogram"]):
    """How often which size was seen."""

    def __init__(self, name: str, about: str, labels: Sequence[str], buckets: Sequence[float]) -> None:
        super().__init__(name, about, labels)
        self._buckets = buckets

    def _make(self, registry: "CollectorRegistry | None") -> "prometheus_client.Histogram":
        from prometheus_client import Histogram as Family

        return Family(self.name, self.about, self.labels, registry=registry, buckets=self._buckets)

    def observe(self, size: float, *values: str) -> None:
        """One more of this size."""
        child = self._children.get(values) or self._child(values)
        if child is not None:
            child.observe(size)


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
        if self._is_wanted and self._registry is None and self.folder is None:
            from prometheus_client import CollectorRegistry, disable_created_metrics, values

            disable_created_metrics()  # type: ignore[no-untyped-call] # Several processes have none either.
            # By itself the library goes by an environment that is meant for a server.
            values.ValueClass = values.MutexValue
            self._bind(CollectorRegistry())

    def join(self, folder: Path, process: str) -> None:
        """Count from now on together with the other processes that keep files in `folder`.

        `process` is a name that no other living process has; who takes that of a dead one
        goes on with its counters. The environment's `PROMETHEUS_MULTIPROC_DIR` is `folder`.
        """
        from prometheus_client import values

        self.folder, self.process = folder, process
        # The library documents this for servers that number their workers.
        values.ValueClass = values.MultiProcessValue(lambda: process)  # type: ignore[no-untyped-call]
        self._bind(None)

    def exposition(self, accept: str, more: Iterable["Collector"] = ()) -> tuple[bytes, str]:
        """Everything, in the form that a scraper accepts, and its content type.

        `more` tells what is only found out when somebody looks.
        """
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import choose_encoder
        from prometheus_client.multiprocess import MultiProcessCollector

        self.begin()
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
