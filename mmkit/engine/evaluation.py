"""`evaluation` of a config: checked before the run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mmkit.config import ConfigError
from mmkit.metrics import DatasetMetric


def check_evaluation(dataset: Any, arguments: Mapping[str, Any], others: Iterable[str] = ()) -> list[str] | None:
    """Names of the numbers that `dataset.evaluate` will return, as far as they are known; raises what it would raise."""
    names: list[str] = []
    for metric in dataset.build_metrics(**arguments):
        if not isinstance(metric, DatasetMetric) or not metric.names:
            return None
        names += metric.names
    return names


def check_masks(model: Any, metric: Any) -> None:
    """Raises a ConfigError if masks are to be evaluated and the model has none."""
    if metric is not None and 'segm' in ([metric] if isinstance(metric, str) else metric):
        if not getattr(model, 'with_mask', True):
            raise ConfigError(f"metric 'segm' evaluates masks, and this {type(model).__name__} makes boxes only")
