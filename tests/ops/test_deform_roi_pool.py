from __future__ import annotations

import pytest
import torch
import torchvision

from mmkit.ops.deform_roi_pool import DeformRoIPoolPack, ModulatedDeformRoIPoolPack, deform_roi_pool

ROIS = torch.tensor([[0.0, 4, 4, 28, 20], [1, 0, 0, 31, 31], [0, -8, 6, 10, 44], [1, 10, 3, 11, 25]])


def feats(channels=3):
    torch.manual_seed(0)
    return torch.randn(2, channels, 16, 16)


@pytest.mark.parametrize('ratio', [0, 2])
def test_without_offsets_it_is_roi_align(ratio):
    expected = torchvision.ops.roi_align(feats(), ROIS, (3, 2), 0.5, ratio, aligned=True)
    torch.testing.assert_close(deform_roi_pool(feats(), ROIS, None, (3, 2), 0.5, ratio), expected)


def test_equal_offsets_move_the_whole_region():
    """A tenth of the region's width times gamma 0.5 to the right, and twice that of its height down."""
    offsets = torch.tensor([0.1, 0.2]).view(1, 2, 1, 1).expand(1, 2, 3, 3)
    roi = torch.tensor([[0.0, 4, 4, 24, 14]])
    moved = torch.tensor([[0.0, 5, 5, 25, 15]])
    out = deform_roi_pool(feats(), roi, offsets, (3, 3), 0.5, 2, gamma=0.5)
    torch.testing.assert_close(out, torchvision.ops.roi_align(feats(), moved, (3, 3), 0.5, 2, aligned=True))


def test_each_bin_has_its_own_offset():
    ramp = torch.arange(16.0).expand(1, 1, 16, 16)
    offsets = torch.zeros(1, 2, 2, 2)
    offsets[0, 0, 1, 0] = 1.0  # the lower left bin goes right by a tenth of 10 pixels
    out = deform_roi_pool(ramp, torch.tensor([[0.0, 2, 2, 12, 12]]), offsets, (2, 2), sampling_ratio=1)
    torch.testing.assert_close(out[0, 0], torch.tensor([[4.0, 9.0], [5.0, 9.0]]))


@pytest.mark.parametrize('kind', [DeformRoIPoolPack, ModulatedDeformRoIPoolPack])
def test_offsets_are_learnt(kind):
    layer = kind(2, 3, deform_fc_channels=4, spatial_scale=0.5)
    plain = torchvision.ops.roi_align(feats(), ROIS, (2, 2), 0.5, 0, aligned=True)
    factor = 0.5 if kind is ModulatedDeformRoIPoolPack else 1.0  # a sigmoid of 0
    torch.testing.assert_close(layer(feats(), ROIS), plain * factor)
    layer(feats(), ROIS).square().sum().backward()
    assert layer.offset_fc[-1].weight.grad.abs().sum() > 0
    assert all(p.grad is not None for p in layer.parameters())


@pytest.mark.parametrize('kind', [DeformRoIPoolPack, ModulatedDeformRoIPoolPack])
def test_no_regions(kind):
    layer, images = kind(2, 3, deform_fc_channels=4), feats().requires_grad_()
    pooled = layer(images, torch.zeros(0, 5))
    assert pooled.shape == (0, 3, 2, 2)
    pooled.sum().backward()
    assert images.grad is not None and all(p.grad is not None for p in layer.parameters())


def test_names_of_checkpoints():
    names = {name: tuple(p.shape) for name, p in ModulatedDeformRoIPoolPack(2, 3, 5).named_parameters()}
    assert {k: v for k, v in names.items() if k.endswith('weight')} == {
        'offset_fc.0.weight': (5, 12),
        'offset_fc.2.weight': (5, 5),
        'offset_fc.4.weight': (8, 5),
        'mask_fc.0.weight': (5, 12),
        'mask_fc.2.weight': (4, 5),
    }
