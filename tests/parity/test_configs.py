"""Shipped configs, merged, are mmdetection's key for key."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmkit import Config
from tests.parity.recorded import FIGURES, as_json, difference, read_json

CONFIGS = Path(__file__).parents[2] / 'configs'
FAMILIES = sorted(path.stem for path in (FIGURES / 'merged').glob('*.json'))


@pytest.mark.parametrize('family', FAMILIES)
def test_merged_configs_are_the_recorded_ones(family: str) -> None:
    for name, expected in read_json(f'merged/{family}.json').items():
        cfg = Config.fromfile(str(CONFIGS / name))
        first = difference(as_json(cfg.to_dict()), expected)
        assert first is None, f'{name}: {first}'
