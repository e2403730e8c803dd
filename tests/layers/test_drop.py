from __future__ import annotations

import pytest
import torch

from mmkit.layers import DropBlock, DropPath, build_dropout


def test_drop_path_drops_whole_samples_and_keeps_the_mean():
    torch.manual_seed(0)
    x = torch.ones(4000, 2)
    out = build_dropout(dict(type='DropPath', drop_prob=0.25))(x)
    assert torch.equal(out[:, 0], out[:, 1])
    assert out.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert float(out.mean()) == pytest.approx(1, abs=0.05)


def test_nothing_is_dropped_in_eval():
    x = torch.ones(3, 2, 8, 8)
    for layer in (DropPath(0.9), DropBlock(0.9, 3), build_dropout(dict(type='Dropout', drop_prob=0.9))):
        assert torch.equal(layer.eval()(x), x)


@pytest.mark.parametrize('block', [2, 3])
def test_drop_block_drops_squares(block):
    torch.manual_seed(0)
    out = DropBlock(0.05, block, warmup_iters=0)(torch.ones(8, 16, 24, 24))
    dropped = (out == 0).float()
    assert float(dropped.mean()) == pytest.approx(0.05, rel=0.2)
    runs = torch.nn.functional.avg_pool2d(dropped, block, 1) == 1  # places where a whole block is gone
    covered = torch.nn.functional.max_pool2d(torch.nn.functional.pad(runs.float(), [block - 1] * 4), block, 1)
    assert torch.equal(covered, dropped)
    assert float(out.mean()) == pytest.approx(1, abs=1e-4)


def test_drop_block_warms_up():
    torch.manual_seed(0)
    layer = DropBlock(0.5, 2, warmup_iters=1000)
    assert float((layer(torch.ones(4, 4, 16, 16)) == 0).float().mean()) < 0.01
    with pytest.raises(ValueError, match='block_size'):
        DropBlock(0.5, 0)
