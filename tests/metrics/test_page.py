"""The metric on docs/metrics.md, as it stands there."""

from __future__ import annotations

import re

import pytest

from mmkit.apis import evaluate_model
from mmkit.datasets import build_dataloader
from mmkit.registry import METRICS
from mmkit.structures import Instances
from tests.engine.toys import ToyDataset, toy_model
from tests.metrics.conftest import perfect
from tests.tiny import ROOT

(CODE,) = re.findall(r'```python\n(from mmkit\.metrics.*?)```', (ROOT / 'docs/metrics.md').read_text(), re.DOTALL)


def test_the_metric_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(METRICS, '_entries', dict(METRICS._entries))
    exec(CODE, names := {})
    metric = names['SureShare'](score_thr=0.8)
    assert metric.compute([perfect(0), Instances.empty()]) == {'sure': 0.5}
    loader = build_dataloader(ToyDataset(3), 2, 0, shuffle=False)
    assert evaluate_model(toy_model(), loader, [{'type': 'SureShare'}]) == {'sure': 0}
