from __future__ import annotations

import math

import pytest
import torch

from mmkit.models.mask_heads import FCNMaskHead
from mmkit.structures import Instances
from tests.models.roi_heads.parts import SIZE, samples, scene, with_masks
from tests.models.scenes import meta, truth

SMALL = dict(num_convs=1, in_channels=4, conv_out_channels=4, num_classes=3)


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
    targets = FCNMaskHead(**SMALL).targets([region], [gts], mask_size=2, soft=True)
    assert targets.tolist() == [[[1, 0.25]] * 2]


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


def detection(label, bbox=(2, 2, 6, 8)):
    return Instances(bboxes=torch.tensor([bbox], dtype=torch.float), labels=torch.tensor([label]))


def test_prediction_takes_the_class_and_the_size():
    logits = torch.full((1, 3, 4, 4), -9.0)
    logits[0, 2] = 9.0
    head = FCNMaskHead(**SMALL)
    masks = head.predict([logits], detection(2), meta(32, 24, scale=2.0), rescale=True)
    assert (masks.height, masks.width) == (16, 12) and masks.areas.tolist() == [24]
    other = head.predict([logits], detection(0), meta(32, 24, scale=2.0), rescale=False)
    assert (other.height, other.width) == (32, 24) and other.areas.tolist() == [0]
    agnostic = FCNMaskHead(**SMALL, class_agnostic=True)
    assert agnostic.predict([logits[:, 2:]], detection(1), meta()).areas.tolist() == [24]


def test_stages_are_averaged_as_probabilities():
    """0.9, 0.9 and 0.003 make 0.601, though the mean of their logits is below zero."""
    stages = [torch.full((1, 1, 4, 4), math.log(p / (1 - p))) for p in (0.9, 0.9, 0.003)]
    head, region = FCNMaskHead(**SMALL, class_agnostic=True), detection(0, [2, 2, 14, 14])
    probs = head.decode(stages, region.labels)
    torch.testing.assert_close(probs, torch.full((1, 4, 4), 0.601))
    assert head.predict(stages, region, meta()).to_ndarray()[0][5:11, 5:11].all()


def test_scene_masks_fill_their_boxes():
    gts = scene().gts[0]
    assert gts.masks.areas.tolist() == [144, 168] and gts.masks.height == SIZE
