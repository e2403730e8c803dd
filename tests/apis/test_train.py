from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mmkit.apis import train_detector
from mmkit.datasets import build_dataset
from mmkit.models import build_detector
from tests.tiny import make_dataset, tiny_config


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')  # the compiler looks at everything, deprecated things among them
def test_a_compiled_model_is_trained_as_such(tmp_path: Path) -> None:
    graphs = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]):
        graphs.append(graph)
        return graph.forward

    cfg = tiny_config(make_dataset(tmp_path / 'data', num_images=2))
    cfg.merge_from_dict({'runner.max_epochs': 1, 'data.workers_per_gpu': 0, 'work_dir': str(tmp_path / 'work')})
    model = build_detector(cfg.model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train_detector(torch.compile(model, backend=backend), build_dataset(cfg.data.train), cfg)
    saved = torch.load(tmp_path / 'work' / 'latest.pth', weights_only=True)['state_dict']
    assert graphs and saved.keys() == before.keys()
    assert any(not torch.equal(saved[name], before[name]) for name in before)
