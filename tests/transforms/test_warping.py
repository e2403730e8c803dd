from __future__ import annotations

import numpy as np
import pytest

from mmkit.structures import PolygonMasks
from mmkit.transforms import Rotate, Shear, Translate

ALWAYS = dict(level=10, prob=1, random_negative_prob=0, img_fill_val=0, seg_ignore_label=0)


def corners_of(sample):
    """The masks of a sample as polygons of their boxes' corners."""
    polygons = [[np.array([x1, y1, x2, y1, x2, y2, x1, y2])] for x1, y1, x2, y2 in sample['gt_bboxes']]
    return PolygonMasks(polygons, *sample['img'].shape[:2])


def test_translate(make_sample, check_agreement):
    sample = Translate(max_translate_offset=7, **ALWAYS)(make_sample(ignored=[(0, 0, 5, 5)]))
    assert sample['gt_bboxes'].tolist() == [[17, 5, 37, 25]] and sample['gt_bboxes_ignore'].tolist() == [[7, 0, 12, 5]]
    check_agreement(sample, slack=0)
    back = {**ALWAYS, 'random_negative_prob': 1}
    sample = Translate(max_translate_offset=15, direction='vertical', **back)(make_sample())
    assert sample['gt_bboxes'].tolist() == [[10, 0, 30, 10]]
    check_agreement(sample, slack=0)
    half = Translate(max_translate_offset=15, **{**ALWAYS, 'level': 5})(make_sample())
    assert half['gt_bboxes'].tolist() == [[17, 5, 37, 25]]


def test_what_leaves_the_image_or_becomes_too_small_is_dropped(make_sample):
    gone = Translate(max_translate_offset=50, **ALWAYS)(make_sample())
    assert len(gone['gt_bboxes']) == len(gone['gt_labels']) == len(gone['gt_masks']) == 0
    assert len(Translate(max_translate_offset=40, **ALWAYS)(make_sample())['gt_bboxes']) == 1  # 10 of 20 columns left
    assert len(Translate(max_translate_offset=40, min_size=10, **ALWAYS)(make_sample())['gt_bboxes']) == 0


def test_rotate_by_a_right_angle(make_sample, check_agreement):
    square = make_sample(height=41, width=41, bboxes=[(10, 5, 30, 25)])
    sample = Rotate(max_rotate_angle=90, **ALWAYS)(square)  # clockwise about (20, 20): (x, y) -> (40 - y, x)
    assert sample['gt_bboxes'][0] == pytest.approx([15, 10, 35, 30], abs=1e-4)
    check_agreement(sample, slack=1)
    other = Rotate(max_rotate_angle=90, **{**ALWAYS, 'random_negative_prob': 1})(
        make_sample(height=41, width=41, bboxes=[(10, 5, 30, 25)])
    )
    assert other['gt_bboxes'][0] == pytest.approx([5, 10, 25, 30], abs=1e-4)


def test_rotate_about_a_corner_and_scale(make_sample):
    sample = Rotate(**{**ALWAYS, 'level': 0}, scale=2, center=0)(make_sample(bboxes=[(5, 5, 20, 15)]))
    assert sample['gt_bboxes'].tolist() == [[10, 10, 40, 30]]
    polygons = make_sample(bboxes=[(5, 5, 20, 15)])
    polygons['gt_masks'] = corners_of(polygons)
    turned = Rotate(max_rotate_angle=30, **ALWAYS)(polygons)
    assert turned['gt_masks'].areas == pytest.approx([150])
    assert turned['gt_masks'].get_bboxes()[0] == pytest.approx(turned['gt_bboxes'][0], abs=1e-3)


def test_shear(make_sample, check_agreement):
    sample = Shear(max_shear_magnitude=0.5, **ALWAYS)(make_sample(bboxes=[(10, 0, 20, 20)]))
    assert sample['gt_bboxes'].tolist() == [[10, 0, 30, 20]]
    assert sample['gt_masks'].areas == pytest.approx([200], abs=20)
    check_agreement(sample, slack=2)
    sample = Shear(max_shear_magnitude=0.5, direction='vertical', **ALWAYS)(make_sample(bboxes=[(10, 0, 20, 20)]))
    assert sample['gt_bboxes'].tolist() == [[10, 5, 20, 30]]
    sample = Shear(max_shear_magnitude=0.5, **{**ALWAYS, 'random_negative_prob': 1})(
        make_sample(bboxes=[(10, 0, 20, 20)])
    )
    assert sample['gt_bboxes'].tolist() == [[0, 0, 20, 20]]


@pytest.mark.parametrize('kind', [Rotate, Shear, Translate])
def test_chance_and_fill(make_sample, kind):
    changed, sides = 0, set()
    for seed in range(60):
        before = make_sample(seed=seed)
        sample = kind(level=1 if kind is Translate else 6, img_fill_val=(1, 2, 3), prob=0.5)(make_sample(seed=seed))
        if not (before['img'].shape == sample['img'].shape and (before['img'] == sample['img']).all()):
            changed += 1
            assert (sample['img'] == (1, 2, 3)).all(axis=2).any() and (sample['gt_semantic_seg'] == 255).any()
            sides.add(bool((sample['img'][-1, 0] == (1, 2, 3)).all()))
    assert 15 < changed < 45 and (kind is Rotate or sides == {True, False})


@pytest.mark.parametrize(
    ('kind', 'wrong', 'message'),
    [
        (Rotate, dict(level=11), 'Rotate.level'),
        (Shear, dict(level=-1), 'Shear.level'),
        (Translate, dict(level=5, prob=1.5), 'Translate.prob'),
        (Rotate, dict(level=5, random_negative_prob=-1), 'Rotate.random_negative_prob'),
        (Rotate, dict(level=5, scale=0), 'Rotate.scale'),
        (Shear, dict(level=5, direction='diagonal'), 'direction'),
        (Translate, dict(level=5, direction='up'), 'direction'),
        (Rotate, dict(level=5, img_fill_val=(1, 2)), 'img_fill_val'),
        (Shear, dict(level=5, interpolation='cubic'), 'interpolation'),
    ],
)
def test_wrong_arguments(kind, wrong, message):
    with pytest.raises(ValueError, match=message):
        kind(**wrong)
