from __future__ import annotations

import pytest
import torch

from mmkit.models.roi_heads.roi_extractors.generic import GenericRoIExtractor
from mmkit.models.roi_heads.roi_extractors.single_level import SingleRoIExtractor, bboxes_to_rois, scale_rois

ALIGN = dict(type='RoIAlign', output_size=2, sampling_ratio=1)


def extractor(**arguments):
    cfg = dict(roi_layer=ALIGN, out_channels=1, featmap_strides=[4, 8, 16, 32])
    return SingleRoIExtractor(**(cfg | arguments))


def squares(*sides):
    return torch.tensor([[0.0, 0, 0, side, side] for side in sides])


def test_levels_double_with_the_side():
    """Below 2 * 56 pixels the first level, then one more each time the side doubles, and no further than the last."""
    sides = (0, 10, 56, 111, 112.01, 223, 224.01, 447, 448.01, 5000)
    assert extractor().levels(squares(*sides)).tolist() == [0, 0, 0, 0, 1, 1, 2, 2, 3, 3]
    assert extractor(finest_scale=28).levels(squares(55, 57)).tolist() == [0, 1]


def test_each_region_reads_its_own_level():
    feats = [torch.full((1, 1, 640 // stride, 640 // stride), float(stride)) for stride in (4, 8, 16, 32)]
    pooled = extractor()(feats, squares(20, 600, 150, 300))
    assert pooled.shape == (4, 1, 2, 2)
    assert pooled.mean(dim=(1, 2, 3)).tolist() == [4, 32, 8, 16]


def test_regions_read_their_own_image():
    feats = [torch.arange(2.0).view(2, 1, 1, 1).expand(2, 1, 8, 8)]
    rois = bboxes_to_rois([torch.tensor([[0.0, 0, 8, 8]]), torch.tensor([[8.0, 8, 16, 16], [0, 0, 4, 4]])])
    assert rois[:, 0].tolist() == [0, 1, 1]
    pooled = extractor(featmap_strides=[4])(feats, rois)
    assert pooled.mean(dim=(1, 2, 3)).tolist() == [0, 1, 1]


def test_no_regions_but_every_level_takes_part():
    feats = [torch.ones(1, 1, 8, 8, requires_grad=True) for _ in range(4)]
    pooled = extractor()(feats, torch.zeros(0, 5))
    assert pooled.shape == (0, 1, 2, 2)
    pooled.sum().backward()
    assert all(feat.grad is not None for feat in feats)
    assert bboxes_to_rois([torch.zeros(0, 4), torch.zeros(0, 4)]).shape == (0, 5)


def test_scaled_regions_keep_their_centre():
    rois = torch.tensor([[1.0, 10, 20, 30, 60]])
    assert scale_rois(rois, 2).tolist() == [[1, 0, 0, 40, 80]]
    ramp = torch.arange(32.0).expand(1, 1, 32, 32)
    box = torch.tensor([[0.0, 6, 6, 16, 16]])
    single = extractor(featmap_strides=[1])
    assert single([ramp], box)[0, 0, 0].tolist() == [8, 13]  # centres of the halves, less half a cell
    assert single([ramp], box, roi_scale_factor=2)[0, 0, 0].tolist() == [5.5, 15.5]


def test_unknown_layer_is_named():
    with pytest.raises(KeyError, match="RoICrop.*'RoIAlign', 'RoIPool'"):
        extractor(roi_layer=dict(type='RoICrop', output_size=2))


def generic(**arguments):
    cfg = dict(roi_layer=ALIGN, out_channels=1, featmap_strides=[4, 8])
    return GenericRoIExtractor(**(cfg | arguments))


def levels(*values):
    return [torch.full((1, 1, 64 // stride, 64 // stride), value) for stride, value in zip((4, 8), values)]


def test_every_region_reads_all_levels():
    feats, rois = levels(1.0, 10.0), squares(20, 40)
    assert generic()(feats, rois).unique().tolist() == [11]
    stacked = generic(aggregation='concat', out_channels=2)(feats, rois)
    assert stacked.shape == (2, 2, 2, 2) and stacked[:, 0].unique().tolist() == [1]
    with pytest.raises(ValueError, match='out_channels is 1, got 2 channels'):
        generic(aggregation='concat')(feats, rois)
    with pytest.raises(ValueError, match="'sum' or 'concat', got 'mean'"):
        generic(aggregation='mean')


def test_plugins_come_before_and_after_the_sum():
    """The first is shared by the levels: its ReLU cuts each of them, not the sum."""
    conv = dict(type='ConvModule', in_channels=1, out_channels=1, kernel_size=1, inplace=False)
    extractor = generic(pre_cfg=conv, post_cfg=dict(conv, act_cfg=None))
    names = [f'{module}.conv.{kind}' for module in ('post_module', 'pre_module') for kind in ('weight', 'bias')]
    assert [name for name, _ in extractor.named_parameters()] == names
    for parameter in extractor.parameters():
        torch.nn.init.ones_(parameter)
    assert extractor(levels(2.0, -5.0), squares(20)).unique().tolist() == [(2 + 1) + 0 + 1]
    extractor(levels(2.0, -5.0), torch.zeros(0, 5)).sum().backward()
    assert all(parameter.grad is not None for parameter in extractor.parameters())


def test_a_single_level_is_read_as_it_is():
    post = dict(type='ConvModule', in_channels=1, out_channels=1, kernel_size=1)
    assert generic(featmap_strides=[4], post_cfg=post)(levels(3.0)[:1], squares(20)).unique().tolist() == [3]


def test_regions_grow_around_their_centre_before_all_levels_are_read():
    ramps = [torch.arange(32.0).expand(1, 1, 32, 32), torch.zeros(1, 1, 16, 16)]
    pooled = generic(featmap_strides=[1, 2])(ramps, torch.tensor([[0.0, 6, 6, 16, 16]]), roi_scale_factor=2)
    assert pooled[0, 0, 0].tolist() == [5.5, 15.5]
