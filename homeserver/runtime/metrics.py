"""A small metrics registry that writes the Prometheus text format.

Children (a metric with its label values) are looked up once and kept by whoever counts, so counting is an addition.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable

DURATION_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Value:
    """One number: of a counter or a gauge."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1.0) -> None:
        """Add to it."""
        self.value += amount

    def set(self, value: float) -> None:
        """Replace it (gauges)."""
        self.value = value

    def samples(self, name: str, labels: str) -> Iterable[str]:
        """The lines of the text format."""
        yield f"{name}{_braced(labels)} {_number(self.value)}"


class Distribution:
    """How many observations fell into each bucket, and their sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one observation."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def samples(self, name: str, labels: str) -> Iterable[str]:
        """The lines of the text format."""
        total = 0
        comma = "," if labels else ""
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            total += count
            yield f'{name}_bucket{{{labels}{comma}le="{bound}"}} {total}'
        yield f"{name}_sum{_braced(labels)} {_number(self.sum)}"
        yield f"{name}_count{_braced(labels)} {total}"


class _Family:
    def __init__(self, name: str, kind: str, doc: str, label_names: tuple[str, ...]) -> None:
        self.name = name
        self.kind = kind
        self.doc = doc
        self.label_names = label_names
        self.children: dict[tuple[str, ...], Value | Distribution] = {}


class Registry:
    """All metrics of a process. Asking for a metric again gives the same one."""

    def __init__(self, constant_labels: dict[str, str] | None = None) -> None:
        self._families: dict[str, _Family] = {}
        self._constant = tuple((constant_labels or {}).items())
        self._collectors: list[Callable[[], None]] = []

    def counter(self, name: str, doc: str, **labels: str) -> Value:
        """A number that only grows; its name ends in _total."""
        return self._value(name, "counter", doc, labels)

    def gauge(self, name: str, doc: str, **labels: str) -> Value:
        """A number that goes up and down."""
        return self._value(name, "gauge", doc, labels)

    def histogram(
        self, name: str, doc: str, buckets: tuple[float, ...] = DURATION_BUCKETS, **labels: str
    ) -> Distribution:
        """A distribution, of seconds by default."""
        family = self._family(name, "histogram", doc, labels)
        child = family.children.get(tuple(labels.values()))
        if child is None:
            child = family.children[tuple(labels.values())] = Distribution(buckets)
        assert isinstance(child, Distribution)
        return child

    def on_collect(self, callback: Callable[[], None]) -> None:
        """Call back before each exposition: to set gauges that are cheaper to look up than to keep."""
        self._collectors.append(callback)

    def exposition(self) -> bytes:
        """The text format, version 0.0.4."""
        for callback in self._collectors:
            callback()
        lines: list[str] = []
        for family in self._families.values():
            lines += (f"# HELP {family.name} {_escaped(family.doc)}", f"# TYPE {family.name} {family.kind}")
            for values, child in family.children.items():
                pairs = (*self._constant, *zip(family.label_names, values, strict=True))
                labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs)
                lines += child.samples(family.name, labels)
        return ("\n".join(lines) + "\n").encode()

    def _value(self, name: str, kind: str, doc: str, labels: dict[str, str]) -> Value:
        family = self._family(name, kind, doc, labels)
        child = family.children.get(tuple(labels.values()))
        if child is None:
            child = family.children[tuple(labels.values())] = Value()
        assert isinstance(child, Value)
        return child

    def _family(self, name: str, kind: str, doc: str, labels: dict[str, str]) -> _Family:
        family = self._families.get(name)
        if family is None:
            family = self._families[name] = _Family(name, kind, doc, tuple(labels))
        if (family.kind, family.label_names) != (kind, tuple(labels)):
            raise ValueError(f"the metric {name} exists as a {family.kind} with the labels {family.label_names}")
        return family


def _braced(labels: str) -> str:
    return f"{{{labels}}}" if labels else ""


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
