"""Running averages of the quantities that a training measures."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TypedDict


class MeterState(TypedDict, total=False):
    """State of `Meters` in a checkpoint: pairs of value and weight by name, and how many of them are new."""

    window: int
    values: dict[str, list[tuple[float, int]]]
    new: dict[str, int]


class Meters:
    """The last values of every quantity, each with a weight.

    Args:
        window: how many values are kept; a logger widens it to its interval.
    """

    def __init__(self, window: int = 10) -> None:
        self.window = window
        self._values: dict[str, deque[tuple[float, int]]] = {}
        self._new: dict[str, int] = {}  # values since `clear`

    def widen(self, window: int) -> None:
        """Keep at least `window` values from now on."""
        if window > self.window:
            self.window = window
            self._values = {name: deque(values, window) for name, values in self._values.items()}

    def update(self, values: Mapping[str, float], weight: int = 1) -> None:
        """Add one value for each name."""
        for name, value in values.items():
            self._values.setdefault(name, deque(maxlen=self.window)).append((float(value), weight))
            self._new[name] = self._new.get(name, 0) + 1

    def averages(self, last: int | None = None) -> dict[str, float]:
        """Weighted means of the last `last` values since `clear`, by default of all that are kept."""
        means = {}
        for name, count in self._new.items():
            chosen = list(self._values[name])[-min(last or self.window, count) :]
            means[name] = sum(value * weight for value, weight in chosen) / sum(weight for _, weight in chosen)
        return means

    def histories(self) -> dict[str, list[float]]:
        """All values that are kept, those before `clear` too, by name."""
        return {name: [value for value, _ in values] for name, values in self._values.items()}

    def clear(self) -> None:
        """Begin new averages."""
        self._new.clear()

    def state_dict(self) -> MeterState:
        values = {name: list(values) for name, values in self._values.items()}
        return {'window': self.window, 'values': values, 'new': dict(self._new)}

    def load_state_dict(self, state: MeterState) -> None:
        self.window = max(self.window, state['window'])
        self._values = {
            name: deque(((value, weight) for value, weight in values), self.window)
            for name, values in state['values'].items()
        }
        self._new = dict(state.get('new', {name: len(values) for name, values in state['values'].items()}))
