from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mmkit.models.roi_heads.mask_heads import FCNMaskHead, FusedSemanticHead, HTCMaskHead
from mmkit.models.roi_heads.mask_heads.paste import paste_masks
from tests.models.roi_heads.parts import SIZE, samples, scene, with_masks
from tests.models.scenes import meta, truth

SMALL = dict(num_convs=1, in_channels=4, conv_out_channels=4, num_classes=3)


def pasted(prob, bbox, height=12, width=16, threshold=0.5):
    """(height, width) of one pasted mask."""
    return paste_masks(prob[None], torch.tensor([bbox], dtype=torch.float), height, width, threshold).to_ndarray()[0]


def rectangle(x1, y1, x2, y2, height=12, width=16):
    expected = np.zeros((height, width), np.uint8)
    expected[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)] = 1
    return expected


@pytest.mark.parametrize('box', [(3, 2, 9, 7), (0, 0, 16, 12), (5, 5, 6, 6), (-4, -3, 5, 4), (10, 8, 30, 40)])
def test_a_full_mask_covers_exactly_its_box(box):
    np.testing.assert_array_equal(pasted(torch.ones(28, 28), box), rectangle(*box))


def test_pixels_count_by_their_centre():
    np.testing.assert_array_equal(pasted(torch.ones(28, 28), (2.4, 3.0, 6.6, 5.0)), rectangle(2, 3, 7, 5))
    np.testing.assert_array_equal(pasted(torch.ones(28, 28), (2.6, 3.0, 6.4, 5.0)), rectangle(3, 3, 6, 5))


def test_boxes_outside_are_empty():
    for box in [(20, 3, 30, 9), (-9, -9, -2, -2), (3, 15, 9, 20)]:
        assert pasted(torch.ones(28, 28), box).sum() == 0


def test_boxes_without_area_read_the_middle_of_their_mask():
    """In the pixels that touch them, as mmdetection does."""
    np.testing.assert_array_equal(pasted(torch.ones(28, 28), (4, 4, 4, 9)), rectangle(3, 4, 5, 9))
    hollow = torch.ones(28, 28)
    hollow[:, 10:18] = 0
    assert pasted(hollow, (4, 4, 4, 9)).sum() == 0


def test_half_a_mask_is_half_a_box():
    prob = torch.zeros(8, 8)
    prob[:, 4:] = 1
    np.testing.assert_array_equal(pasted(prob, (2, 2, 10, 10)), rectangle(6, 2, 10, 10))


def test_threshold_is_included():
    level = torch.full((4, 4), 0.6)
    assert pasted(level, (2, 2, 10, 10), threshold=0.75).sum() == 0
    assert pasted(torch.full((4, 4), 0.75), (2, 2, 10, 10), threshold=0.75)[4:8, 4:8].all()
    with pytest.raises(ValueError, match='mask_thr_binary'):
        pasted(level, (2, 2, 10, 10), threshold=-1)


def test_no_masks():
    none = paste_masks(torch.zeros(0, 28, 28), torch.zeros(0, 4), 12, 16)
    assert len(none) == 0 and (none.height, none.width) == (12, 16)


@pytest.mark.parametrize(
    ('upsample', 'size'),
    [
        (dict(type='deconv', scale_factor=2), 28),
        (dict(type='nearest', scale_factor=2), 28),
        (dict(type='bilinear', scale_factor=2), 28),
        (dict(type='carafe', scale_factor=2, up_kernel=5, up_group=1, encoder_kernel=3, encoder_dilation=1), 28),
        (dict(type=None), 14),
    ],
)
def test_upsampling(upsample, size):
    head = FCNMaskHead(**SMALL, upsample_cfg=upsample)
    head.init_weights()
    out = head(torch.rand(2, 4, 14, 14))
    assert out.shape == (2, 3, size, size) and out.isfinite().all()


def test_unknown_upsampling_is_named():
    with pytest.raises(ValueError, match="'cubic'.*known are"):
        FCNMaskHead(**SMALL, upsample_cfg=dict(type='cubic', scale_factor=2))


def test_targets_are_the_truth_inside_of_regions():
    """The left half of the region is outside of the object, which fills its box."""
    gts = with_masks(truth(([8, 8, 16, 16], 1)))
    targets = FCNMaskHead(**SMALL).targets([samples([[0, 8, 16, 16]], [], gts, [0])], [gts], mask_size=4)
    assert targets.tolist() == [[[0, 0, 1, 1]] * 4]
    nothing = samples([], [], truth(), [])
    assert FCNMaskHead(**SMALL).targets([nothing], [with_masks(truth())], 4).shape == (0, 4, 4)


def test_targets_end_where_the_image_does():
    """Boxes are clipped only if their coder says so; what is beyond the canvas would read as no object."""
    gts = with_masks(truth(([16, 0, SIZE, SIZE], 1)))
    beyond = samples([[16, -8, SIZE + 16, SIZE + 8]], [], gts, [0])
    assert FCNMaskHead(**SMALL).targets([beyond], [gts], mask_size=4).min() == 1


def test_soft_targets_tell_how_much_of_a_cell_is_covered():
    gts = with_masks(truth(([8, 8, 13, 16], 1)))
    region = samples([[8, 8, 16, 16]], [], gts, [0])
    found = FCNMaskHead(**SMALL).targets([region], [gts], mask_size=2, soft=True)
    assert found.tolist() == [[[1, 0.25]] * 2]


def test_loss_reads_the_channel_of_the_class():
    """Zero logits cost log 2; certain and right ones cost nothing, whatever the other classes say."""
    logits = torch.full((1, 3, 2, 2), -50.0)
    logits[0, 1] = 50.0
    targets, labels = torch.ones(1, 2, 2), torch.tensor([1])
    assert FCNMaskHead(**SMALL).loss(logits, targets, labels)['loss_mask'] == pytest.approx(0, abs=1e-6)
    uniform = FCNMaskHead(**SMALL, class_agnostic=True).loss(torch.zeros(1, 1, 2, 2), targets, labels)
    assert uniform['loss_mask'] == pytest.approx(math.log(2))


def test_no_positives_keep_a_gradient():
    head = FCNMaskHead(**SMALL)
    loss = head.loss(head(torch.rand(0, 4, 14, 14)), torch.zeros(0, 28, 28), torch.zeros(0, dtype=torch.long))
    loss['loss_mask'].backward()
    assert loss['loss_mask'] == 0 and all(p.grad is not None for p in head.parameters())


def test_prediction_takes_the_class_and_the_size():
    logits = torch.full((1, 3, 4, 4), -9.0)
    logits[0, 2] = 9.0
    box, cfg = torch.tensor([[2.0, 2, 6, 8]]), dict(mask_thr_binary=0.5)
    head = FCNMaskHead(**SMALL)
    masks = head.predict(logits, box, torch.tensor([2]), meta(32, 24, scale=2.0), cfg, rescale=True)
    assert (masks.height, masks.width) == (16, 12) and masks.areas.tolist() == [24]
    other = head.predict(logits, box, torch.tensor([0]), meta(32, 24, scale=2.0), cfg, rescale=False)
    assert (other.height, other.width) == (32, 24) and other.areas.tolist() == [0]
    agnostic = FCNMaskHead(**SMALL, class_agnostic=True)
    assert agnostic.predict(logits[:, 2:], box, torch.tensor([1]), meta(), cfg).areas.tolist() == [24]


def test_stages_are_averaged_as_probabilities():
    """0.9 and 0.2 make 0.55, though their logits have a mean below zero."""
    stages = [torch.full((1, 1, 4, 4), math.log(p / (1 - p))) for p in (0.9, 0.2, 0.55)]
    stages[1] -= 0.5
    head, box, label = FCNMaskHead(**SMALL, class_agnostic=True), torch.tensor([[2.0, 2, 14, 14]]), torch.tensor([0])
    found = head.predict(stages, box, label, meta(), dict(mask_thr_binary=0.5)).to_ndarray()[0]
    assert found[5:11, 5:11].all()


def test_hidden_features_flow_between_stages():
    torch.manual_seed(0)
    first, second = HTCMaskHead(with_conv_res=False, **SMALL), HTCMaskHead(**SMALL)
    assert not hasattr(first, 'conv_res')
    feats = torch.rand(2, 4, 14, 14)
    hidden = first.hidden(feats)
    alone, joined = second.hidden(feats), second.hidden(feats, hidden)
    torch.testing.assert_close(joined, second.hidden(feats + second.conv_res(hidden)))
    assert not torch.equal(alone, joined)


def test_semantic_branch():
    torch.manual_seed(0)
    head = FusedSemanticHead(num_ins=3, fusion_level=1, num_convs=1, in_channels=4, conv_out_channels=6, num_classes=5)
    logits, semantic = head([torch.rand(2, 4, size, size) for size in (16, 8, 4)])
    assert logits.shape == (2, 5, 8, 8) and semantic.shape == (2, 6, 8, 8)
    labels = torch.full((2, 1, 8, 8), 255)
    labels[:, :, 0, 0] = 3
    # The mean is over all cells, those to be ignored included.
    expected = 0.2 * torch.nn.functional.cross_entropy(logits[:, :, 0, 0], labels[:, 0, 0, 0], reduction='sum') / 128
    torch.testing.assert_close(head.loss(logits, labels), expected)
    with pytest.warns(UserWarning, match='ignore_index'):
        FusedSemanticHead(num_ins=1, fusion_level=0, ignore_label=255, loss_weight=0.5)
    with pytest.raises(ValueError, match='num_ins is 3, got 2'):
        head([torch.rand(2, 4, size, size) for size in (16, 8)])


def test_scene_masks_fill_their_boxes():
    gts = scene().gts[0]
    assert gts.masks.areas.tolist() == [144, 168] and gts.masks.height == SIZE
