from __future__ import annotations

import numpy as np
import pytest

from mmkit.transforms import FilterAnnotations, MinIoURandomCrop, RandomCrop

MANY = [(2, 2, 12, 12), (30, 5, 55, 35), (20, 20, 28, 30)]


@pytest.mark.parametrize(
    ('crop_size', 'crop_type', 'heights', 'widths'),
    [
        ((20, 30), 'absolute', (20, 20), (30, 30)),
        ((100, 30), 'absolute', (40, 40), (30, 30)),
        ((10, 30), 'absolute_range', (10, 30), (10, 30)),
        ((0.5, 0.25), 'relative', (20, 20), (15, 15)),
        ([0.5, 0.25], 'relative_range', (20, 40), (15, 60)),
    ],
)
def test_windows(make_sample, check_agreement, crop_size, crop_type, heights, widths):
    step = RandomCrop(crop_size, crop_type, allow_negative_crop=True)
    shapes = set()
    for seed in range(30):
        sample = step(make_sample(bboxes=MANY, ignored=[(0, 0, 60, 40)], seed=seed))
        height, width = sample['img'].shape[:2]
        assert heights[0] <= height <= heights[1] and widths[0] <= width <= widths[1]
        assert sample['pad_shape'] == sample['img_shape'] == (height, width, 3)
        assert sample['gt_bboxes_ignore'].tolist() == [[0, 0, width, height]]
        check_agreement(sample, slack=0)
        shapes.add((height, width))
    assert len(shapes) == 1 or 'range' in crop_type


def test_labels_follow_their_boxes(make_sample):
    sample = RandomCrop((40, 13))(make_sample(bboxes=MANY, seed=3))
    assert 0 < len(sample['gt_labels']) < 3
    for label, bbox in zip(sample['gt_labels'], sample['gt_bboxes']):
        assert bbox[3] - bbox[1] == MANY[label][3] - MANY[label][1]


def test_a_window_without_objects_is_no_sample(make_sample):
    step = RandomCrop((10, 10))
    assert {step(make_sample(bboxes=MANY[:1], seed=seed)) is None for seed in range(30)} == {True, False}
    assert RandomCrop((10, 10))(make_sample(bboxes=())) is None
    free = RandomCrop((10, 10), allow_negative_crop=True)(make_sample(bboxes=()))
    assert free['img'].shape == (10, 10, 3)


def test_crop_border_and_boxes_from_masks(make_sample):
    sample = RandomCrop((40, 30), bbox_clip_border=False)(make_sample(bboxes=[(0, 0, 60, 40)], seed=1))
    assert sample['gt_bboxes'][0, 2] - sample['gt_bboxes'][0, 0] == 60
    loose = make_sample(seed=1)
    loose['gt_bboxes'] += np.array([-5, -5, 5, 5], np.float32)
    tight = RandomCrop((40, 60), recompute_bbox=True)(loose)
    assert tight['gt_bboxes'].tolist() == [[10, 5, 30, 25]]


def test_wrong_crop_sizes():
    for size, kind in (((0, 5), 'absolute'), ((5,), 'absolute'), ((2, 1), 'relative'), ((5, 5), 'round')):
        with pytest.raises(ValueError):
            RandomCrop(size, kind)


def test_min_iou_crop_keeps_what_is_centred_inside(make_sample, check_agreement):
    step = MinIoURandomCrop(min_ious=(0.3,), min_crop_size=0.4)
    whole = 0
    for seed in range(60):
        sample = step(make_sample(bboxes=MANY, seed=seed))
        height, width = sample['img'].shape[:2]
        if (height, width) == (40, 60):
            whole += 1
            continue
        assert height >= 15 and width >= 23 and len(sample['gt_bboxes'])
        centers = (sample['gt_bboxes'][:, :2] + sample['gt_bboxes'][:, 2:]) / 2
        assert (centers > 0).all() and (centers < (width, height)).all()
        assert sample['img_shape'] == (height, width, 3)
    assert 0 < whole < 60


def test_min_iou_crop_of_nothing_and_clipping(make_sample):
    shapes = {MinIoURandomCrop()(make_sample(bboxes=(), seed=seed))['img'].shape for seed in range(10)}
    assert len(shapes) > 1
    free = MinIoURandomCrop(bbox_clip_border=False)
    for seed in range(10):
        sample = free(make_sample(bboxes=[(5, 5, 55, 35)], seed=seed))
        assert (sample['gt_bboxes'][0, 2:] - sample['gt_bboxes'][0, :2]).tolist() == [50, 30]


def test_small_objects_are_dropped_by_box_and_by_mask(make_sample):
    bboxes = [(0, 0, 10, 10), (20, 0, 22, 30), (30, 0, 33, 3)]
    kept = FilterAnnotations(min_gt_bbox_wh=(2, 2))(make_sample(bboxes=bboxes))
    assert kept['gt_labels'].tolist() == [0, 2] and kept['gt_masks'].areas.tolist() == [100, 9]
    kept = FilterAnnotations(min_gt_mask_area=60, by_box=False, by_mask=True)(make_sample(bboxes=bboxes))
    assert kept['gt_labels'].tolist() == [0, 1]
    kept = FilterAnnotations(min_gt_bbox_wh=(2, 2), min_gt_mask_area=60, by_mask=True)(make_sample(bboxes=bboxes))
    assert kept['gt_labels'].tolist() == [0]


def test_what_happens_when_nothing_is_left(make_sample):
    huge = dict(min_gt_bbox_wh=(100, 100))
    assert FilterAnnotations(**huge)(make_sample()) is None
    assert len(FilterAnnotations(**huge, keep_empty=False)(make_sample())['gt_bboxes']) == 0
    assert len(FilterAnnotations(**huge)(make_sample(bboxes=()))['gt_bboxes']) == 0
    with pytest.raises(ValueError, match='by_box=True or by_mask=True'):
        FilterAnnotations(by_box=False)
