"""On a map of 8 x 8 cells for images of 32 x 32 pixels."""

from __future__ import annotations

import math

import pytest
import torch

from mmkit.models.dense_heads import CenterNetHead
from mmkit.models.dense_heads.point.centernet_head import CenterNetOuts
from mmkit.models.dense_heads.point.heatmap import draw_gaussian, gaussian_radius, local_maxima
from tests.models.scenes import batch_of, meta, truth

OBJECT = ([4, 8, 20, 24], 1)  # its centre is (12, 16): cell (3, 4), at its corner
TEST = dict(topk=10, local_maximum_kernel=3, max_per_img=10)


def head(**arguments):
    torch.manual_seed(0)
    made = CenterNetHead(**dict(in_channels=4, feat_channels=8, num_classes=2, test_cfg=TEST) | arguments)
    made.init_weights()
    return made


def maps():
    """Predictions of nothing, with equal probabilities."""
    return CenterNetOuts(torch.full((1, 2, 8, 8), 0.5), torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 8, 8))


@pytest.mark.parametrize('overlap', [0.3, 0.7])
def test_radius_keeps_the_overlap(overlap):
    radius = gaussian_radius(10, 20, overlap)
    area = 200
    inwards = (10 - 2 * radius) * (20 - 2 * radius) / area
    outwards = area / ((10 + 2 * radius) * (20 + 2 * radius))
    common = (10 - radius) * (20 - radius)
    shifted = common / (2 * area - common)
    assert min(inwards, outwards, shifted) == pytest.approx(overlap)


def test_gaussians_are_drawn_inside_the_map_and_the_higher_counts():
    heatmap = torch.zeros(5, 5)
    draw_gaussian(heatmap, (0, 1), 1)  # sigma is 1/2
    assert heatmap[1, 0] == 1 and heatmap[1, 1].item() == pytest.approx(math.exp(-2))
    assert heatmap[0, 1].item() == pytest.approx(math.exp(-4)) and not heatmap[:, 2:].any()
    before = heatmap.clone()
    draw_gaussian(heatmap, (1, 1), 0)
    before[1, 1] = 1
    assert torch.equal(heatmap, before)


def test_only_the_greatest_of_its_neighbourhood_stays():
    heatmap = torch.tensor([[[[0.1, 0.5, 0.2, 0.0], [0.3, 0.4, 0.2, 0.6]]]])
    assert local_maxima(heatmap, 3).tolist() == [[[[0, 0.5, 0, 0], [0, 0, 0, pytest.approx(0.6)]]]]


def test_losses_by_hand():
    made, outs = head(), maps()
    losses = made.loss(outs, batch_of(truth(OBJECT), height=32, width=32))
    heat = made.targets(outs.heatmap, truth(OBJECT), torch.tensor([4.0, 4.0])).heatmap
    assert heat.eq(1).nonzero().tolist() == [[1, 4, 3]]
    expected = math.log(2) / 4 * (1 + ((1 - heat[heat < 1]) ** 4).sum().item())
    assert losses['loss_center_heatmap'].item() == pytest.approx(expected)
    assert losses['loss_wh'].item() == pytest.approx(0.1 * 4)  # the object is 4 x 4 cells
    assert losses['loss_offset'].item() == 0
    outs.sizes[0, :, 4, 3] = 4
    outs.offsets[0, 0, 4, 3] = 0.5
    losses = made.loss(outs, batch_of(truth(OBJECT), height=32, width=32))
    assert losses['loss_wh'].item() == 0 and losses['loss_offset'].item() == pytest.approx(0.25)


def test_the_later_of_two_objects_in_a_cell_counts():
    both = truth(([4, 8, 20, 24], 1), ([8, 8, 17, 25], 0))
    targets = head().targets(torch.zeros(1, 2, 8, 8), both, torch.tensor([4.0, 4.0]))
    assert targets.cells.tolist() == [4 * 8 + 3] and targets.sizes.tolist() == [[2.25, 4.25]]
    assert targets.heatmap[:, 4, 3].tolist() == [1, 1]


@pytest.mark.parametrize('objects', [[OBJECT], []])
def test_every_parameter_has_a_gradient(objects):
    made = head()
    losses = made.loss(made([torch.rand(1, 4, 8, 8)]), batch_of(truth(*objects), height=32, width=32))
    assert bool(objects) == bool(losses['loss_wh'] > 0)
    sum(losses.values()).backward()
    lacking = [name for name, parameter in made.named_parameters() if parameter.grad is None]
    assert not lacking


def test_peaks_become_boxes():
    made, outs = head(), maps()
    outs.heatmap.fill_(0)
    outs.heatmap[0, 1, 4, 3] = 0.9
    outs.heatmap[0, 1, 4, 4] = 0.8  # beside the peak
    outs.heatmap[0, 0, 0, 0] = 0.7
    outs.sizes[0, :, 4, 3] = 4
    outs.offsets[0, :, 4, 3] = 0.5
    (detections,) = made.predict(outs, [meta(32, 32, scale=2)])
    assert detections.labels.tolist() == [1, 0] and detections.scores.tolist() == pytest.approx([0.9, 0.7])
    assert detections.bboxes[0].tolist() == [3, 5, 11, 13]  # (3.5 +- 2, 4.5 +- 2) cells of 4 pixels, halved
    boxes, scores = made.decode(outs, [meta(32, 32)])
    assert boxes.shape == (1, 64, 4) and scores.shape == (1, 64, 2)
    assert boxes[0, 4 * 8 + 3].tolist() == [6, 10, 22, 26]
    outs.heatmap.fill_(0)
    assert len(made.predict(outs, [meta(32, 32)])[0]) == 0
