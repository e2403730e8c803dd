"""Running averages of the quantities that a training measures."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TypedDict


class MeterState(TypedDict):
    """State of `Meters` in a checkpoint: pairs of value and weight by name."""

    window: int
    values: dict[str, list[tuple[float, int]]]


class Meters:
    """The last values of every quantity, each with a weight.

    Args:
        window: how many values are kept; a logger widens it to its interval.
    """

    def __init__(self, window: int = 10) -> None:
        self.window = window
        self._values: dict[str, deque[tuple[float, int]]] = {}

    def widen(self, window: int) -> None:
        """Keep at least `window` values from now on."""
        if window > self.window:
            self.window = window
            self._values = {name: deque(values, window) for name, values in self._values.items()}

    def update(self, values: Mapping[str, float], weight: int = 1) -> None:
        """Add one value for each name."""
        for name, value in values.items():
            self._values.setdefault(name, deque(maxlen=self.window)).append((float(value), weight))

    def averages(self, last: int | None = None) -> dict[str, float]:
        """Weighted means of the last `last` values, by default of all that are kept."""
        means = {}
        for name, values in self._values.items():
            chosen = list(values)[-last:] if last else list(values)
            means[name] = sum(value * weight for value, weight in chosen) / sum(weight for _, weight in chosen)
        return means

    def clear(self) -> None:
        self._values.clear()

    def state_dict(self) -> MeterState:
        return {'window': self.window, 'values': {name: list(values) for name, values in self._values.items()}}

    def load_state_dict(self, state: MeterState) -> None:
        self.window = max(self.window, state['window'])
        self._values = {
            name: deque(((value, weight) for value, weight in values), self.window)
            for name, values in state['values'].items()
        }
