from __future__ import annotations

import pytest
import torch

from mmkit.errors import ConfigError
from mmkit.models import build_detector
from mmkit.models.roi_heads import StandardRoIHead
from tests.models.roi_heads.parts import BBOX, EXTRACTOR, MASK, TEST, TRAIN, regions
from tests.models.scenes import batch_of, truth

SIZE = 64
RPN_TEST = dict(nms_pre=50, max_per_img=20, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0)
RPN_TRAIN = dict(
    assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3),
    sampler=dict(type='RandomSampler', num=16, pos_fraction=0.5, add_gt_as_proposals=False),
    allowed_border=-1,
)
RPN_HEAD = dict(
    type='RPNHead',
    in_channels=4,
    feat_channels=4,
    anchor_generator=dict(type='AnchorGenerator', scales=[4], ratios=[1.0], strides=[4, 8]),
)
ROI_HEAD = dict(type='StandardRoIHead', bbox_roi_extractor=EXTRACTOR, bbox_head=BBOX)
CFG = dict(
    backbone=dict(type='ResNet', depth=18, base_channels=4, stem_channels=4, num_stages=2, strides=(1, 2),
                  dilations=(1, 1), out_indices=(0, 1)),
    neck=dict(type='FPN', in_channels=[4, 8], out_channels=4, num_outs=2),
    rpn_head=RPN_HEAD,
    roi_head=ROI_HEAD,
    train_cfg=dict(rpn=RPN_TRAIN, rpn_proposal=dict(RPN_TEST, max_per_img=11), rcnn=TRAIN),
    test_cfg=dict(rpn=RPN_TEST, rcnn=TEST),
)  # fmt: skip


def model(kind='FasterRCNN', without=(), **arguments):
    torch.manual_seed(0)
    cfg = {key: value for key, value in (CFG | arguments).items() if key not in without}
    return build_detector(dict(cfg, type=kind))


def scene():
    return batch_of(truth(([8, 8, 40, 40], 1)), truth(([20, 4, 52, 30], 0)), height=SIZE, width=SIZE)


def test_losses_of_both_stages():
    losses = model()(scene())
    assert losses.keys() == {'loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'loss_bbox', 'acc'}


@pytest.mark.parametrize(('without', 'most'), [((), 11), (('rpn_proposal',), 20)])
def test_training_has_its_own_number_of_proposals(without, most, monkeypatch):
    """Or that of testing, if nothing else is said."""
    cfgs = {key: value for key, value in CFG['train_cfg'].items() if key not in without}
    detector, seen = model(train_cfg=cfgs), []
    monkeypatch.setattr(detector.roi_head, 'loss', lambda feats, proposals, batch: seen.extend(proposals) or {})
    detector(scene())
    assert [len(each) for each in seen] == [most, most]
    assert not any(each.bboxes.requires_grad for each in seen)


def test_detections():
    detections = model().eval()(scene())
    assert len(detections) == 2 and all(0 < len(each) <= 6 for each in detections)


def test_fast_rcnn_takes_its_regions_from_the_batch():
    detector = model('FastRCNN', without=['rpn_head'])
    assert detector.rpn_head is None
    with pytest.raises(ValueError, match='proposal_file'):
        detector(scene())
    batch = scene()
    batch.proposals = [regions([7, 8, 39, 41], [30, 30, 60, 60])] * 2
    assert detector(batch).keys() == {'loss_cls', 'loss_bbox', 'acc'}
    assert len(detector.eval()(batch)) == 2


def test_rpn_calls_everything_an_object():
    """Its losses do not know the classes, its detections are of class 0 and in pixels of the original image."""
    detector, batch = model('RPN', without=['roi_head']), scene()
    torch.manual_seed(1)
    losses = detector(batch)
    assert losses.keys() == {'loss_rpn_cls', 'loss_rpn_bbox'}
    batch.gts = [truth(([8, 8, 40, 40], 5)), truth(([20, 4, 52, 30], 7))]
    torch.manual_seed(1)
    assert detector(batch) == losses
    detections = detector.eval().predict(batch)
    assert len(detections[0]) == 20 and detections[0].labels.unique().tolist() == [0]


def test_proposals_are_not_rescaled_but_detections_are(monkeypatch):
    detector, batch, seen = model().eval(), scene(), []
    for meta in batch.metas:
        meta.scale_factor = meta.scale_factor * 2
    predict = detector.roi_head.predict
    monkeypatch.setattr(
        detector.roi_head,
        'predict',
        lambda feats, proposals, metas, rescale: seen.extend(proposals) or predict(feats, proposals, metas, rescale),
    )
    small, large = detector.predict(batch), detector.predict(batch, rescale=False)
    torch.testing.assert_close(seen[0].bboxes, seen[2].bboxes)
    assert seen[0].bboxes.max() > SIZE / 2
    torch.testing.assert_close(small[0].scores, large[0].scores)
    torch.testing.assert_close(small[0].bboxes * 2, large[0].bboxes)


@pytest.mark.parametrize(
    ('kind', 'lacking', 'message'),
    [
        ('FasterRCNN', 'labels', "learns from gt_labels, .* and 'gt_labels' among the keys of Collect"),
        ('MaskRCNN', 'masks', r"learns from gt_masks, .* LoadAnnotations\(with_mask=True\) and 'gt_masks' among"),
    ],
)
def test_a_pipeline_that_leaves_something_out(kind, lacking, message):
    roi_head = ROI_HEAD | (dict(mask_roi_extractor=EXTRACTOR, mask_head=MASK) if kind == 'MaskRCNN' else {})
    batch = scene()
    for each in batch.gts:
        setattr(each, lacking, None)
    with pytest.raises(ValueError, match=message):
        model(kind, roi_head=roi_head)(batch)


@pytest.mark.parametrize(
    ('kind', 'roi_head', 'needs'),
    [
        ('FasterRCNN', {}, ('gt_bboxes', 'gt_labels')),
        ('MaskRCNN', dict(mask_roi_extractor=EXTRACTOR, mask_head=MASK), ('gt_bboxes', 'gt_labels', 'gt_masks')),
    ],
)
def test_a_detector_says_what_it_learns_from(kind, roi_head, needs):
    detector = model(kind, roi_head=ROI_HEAD | roi_head)
    assert detector.needs == needs
    assert detector.with_mask == ('gt_masks' in needs) and not detector.with_semantic
    assert detector.nms_settings == detector.roi_head.test_cfg and detector.nms_settings.max_per_img == 6
    assert model('RPN', without=['roi_head']).needs == ('gt_bboxes',)


def test_a_head_of_ones_own_says_what_it_needs():
    """And so does one that only inherits from a head that needs it."""

    class WithHeatmaps(StandardRoIHead):
        needs = ('gt_keypoints',)

    detector, batch = model(roi_head=ROI_HEAD | dict(type=WithHeatmaps)), scene()
    assert detector.needs == ('gt_bboxes', 'gt_labels', 'gt_keypoints')
    with pytest.raises(ConfigError, match="learns from gt_keypoints, .* 'gt_keypoints' among the keys of Collect"):
        detector(batch)


@torch.no_grad()
def test_proposals_of_a_fixed_number_begin_with_those_of_prediction():
    """NMS leaves fewer than `max_per_img` here, and the best of what it suppressed fill up."""
    few = dict(RPN_TEST, max_per_img=60, nms=dict(type='nms', iou_threshold=0.3), min_bbox_size=2)
    head, batch = model(test_cfg=dict(rpn=few, rcnn=TEST)).eval().rpn_head, scene()
    torch.manual_seed(0)
    outs = head([torch.randn(2, 4, size, size) for size in (16, 8)])
    proposals = head.decode_proposals(outs, batch.metas)
    assert proposals.shape == (2, 60, 4)
    for fixed, predicted in zip(proposals, head.predict(outs, batch.metas, rescale=False), strict=True):
        assert 0 < len(predicted) < 60
        torch.testing.assert_close(fixed[: len(predicted)], predicted.bboxes)


def test_proposals_need_no_labels():
    batch = scene()
    for each in batch.gts:
        each.labels = None
    assert 'loss_rpn_cls' in model('RPN', without=['roi_head'])(batch)


def test_name_of_the_head_of_an_rpn():
    detector = model('RPN', without=['roi_head'], head_name='bbox_head')
    assert {name.partition('.')[0] for name in detector.state_dict()} == {'backbone', 'neck', 'bbox_head'}
    assert detector.head is detector.bbox_head
    with pytest.raises(ValueError, match='head_name of RPN'):
        model('RPN', without=['roi_head'], head_name='head')
