"""Properties of all transforms: parameters are drawn once, and boxes, masks, maps and keypoints follow the pixels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from mmkit.errors import InvalidTypeError, UserError
from mmkit.transforms import (
    AutoAugment,
    CenterCrop,
    Expand,
    FieldTransform,
    MinIoURandomCrop,
    Pad,
    PhotoMetricDistortion,
    PixelTransform,
    RandomAffine,
    RandomCrop,
    RandomFlip,
    RandomResizedCrop,
    Resize,
    Rotate,
    Shear,
    Translate,
    YOLOXHSVRandomAug,
)

FLIPS = dict(flip_ratio=[0.4, 0.3, 0.3], direction=['horizontal', 'vertical', 'diagonal'])
WARP = dict(level=6, prob=1, img_fill_val=0, seg_ignore_label=0)
MOVING = [
    Resize([(150, 90), (90, 60)]),
    Resize((90, 50), keep_ratio=False),
    RandomFlip(**FLIPS),
    Pad(size_divisor=32, pad_val=dict(img=0, seg=0)),
    RandomCrop((50, 70), allow_negative_crop=True),
    RandomCrop((0.5, 0.5), 'relative_range', allow_negative_crop=True),
    MinIoURandomCrop(),
    Expand(ratio_range=(1, 2), seg_ignore_label=0, prob=1),
    Rotate(**WARP, max_rotate_angle=150),
    Shear(**WARP),
    Shear(**WARP, direction='vertical'),
    Translate(**WARP, max_translate_offset=40),
    Translate(**WARP, max_translate_offset=40, direction='vertical'),
]
BLACK = dict(border_val=(0, 0, 0))
WITHOUT_MASKS = [
    RandomAffine(max_rotate_degree=60, **BLACK),
    RandomAffine(border=(-10, -15), max_shear_degree=20, **BLACK),
]


def bright_box(img):
    """(4,) xyxy around the bright pixels; None without any."""
    ys, xs = np.nonzero(img[..., 0] > 100)
    return None if not len(xs) else np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])


@pytest.mark.parametrize('transform', MOVING + WITHOUT_MASKS, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize('seed', range(12))
def test_a_box_follows_its_pixels(make_sample, transform, seed):
    sample = make_sample(height=80, width=120, bboxes=[(40, 25, 80, 55)], seed=seed)
    if transform in WITHOUT_MASKS:
        sample.update(mask_fields=[], seg_fields=[])
    sample = transform(sample)
    if not len(sample['gt_bboxes']):
        box = bright_box(sample['img'])
        assert box is None or (box[2:] - box[:2]).min() <= 2 or isinstance(transform, MinIoURandomCrop)
        return
    turned = isinstance(transform, Rotate | Shear | RandomAffine)  # a cut box around a turned one reaches further
    difference = bright_box(sample['img']) - sample['gt_bboxes'][0]
    outside = difference * (-1, -1, 1, 1)
    assert outside.max() <= 1.5 and (turned or outside.min() >= -1.5)
    if transform in MOVING:
        assert np.abs(sample['gt_masks'].get_bboxes()[0] - bright_box(sample['img'])).max() <= 1.5
        marked = bright_box(sample['gt_semantic_seg'][..., None] * 200)
        assert np.abs(marked - bright_box(sample['img'])).max() <= 1.5


def with_keypoints(sample):
    """The corners of each box are its keypoints: upper left, upper right, lower right, lower left."""
    x1, y1, x2, y2 = sample['gt_bboxes'].T
    points = np.stack([np.stack([x1, x2, x2, x1], 1), np.stack([y1, y1, y2, y2], 1)], axis=-1)  # (N, 4, 2)
    visible = np.full((*points.shape[:2], 1), 2, np.float32)
    keypoints = np.concatenate([points, visible], axis=-1).astype(np.float32)
    return {
        **sample,
        'gt_keypoints': keypoints,
        'keypoint_fields': ['gt_keypoints'],
        'keypoint_flip_indices': [1, 0, 3, 2],
    }


@pytest.mark.parametrize('transform', MOVING + WITHOUT_MASKS, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize('seed', range(12))
def test_keypoints_follow_their_box(make_sample, transform, seed):
    sample = with_keypoints(make_sample(height=80, width=120, bboxes=[(40, 25, 80, 55), (5, 5, 20, 20)], seed=seed))
    if transform in WITHOUT_MASKS:
        sample.update(mask_fields=[], seg_fields=[])
    sample = transform(sample)
    height, width = sample['img'].shape[:2]
    keypoints = sample['gt_keypoints']
    assert keypoints.shape == (len(sample['gt_bboxes']), 4, 3) and keypoints.dtype == np.float32
    for box, points in zip(sample['gt_bboxes'], keypoints):
        corners = np.array([*points[:, :2].min(axis=0), *points[:, :2].max(axis=0)])
        assert np.abs(corners.clip(0, [width, height] * 2) - box).max() < 1e-3
        is_inside = ((points[:, :2] >= 0) & (points[:, :2] <= (width, height))).all(axis=1)
        assert (points[:, 2] == 2 * is_inside).all()


def test_keypoints_by_hand(make_sample):
    def keypoints(transform, **more):
        return transform({**with_keypoints(make_sample()), **more})['gt_keypoints'][0].tolist()

    assert keypoints(Resize((120, 20), keep_ratio=False))[:2] == [[20, 2.5, 2], [60, 2.5, 2]]
    assert keypoints(Pad(size=(50, 70)))[0] == [10, 5, 2]
    # left and right change places in a mirror image: the first keypoint is still the upper left one
    assert keypoints(RandomFlip(1.0))[:2] == [[30, 5, 2], [50, 5, 2]]
    assert keypoints(RandomFlip(1.0, 'vertical'))[:2] == [[30, 35, 2], [10, 35, 2]]
    assert keypoints(RandomFlip(1.0, 'diagonal'))[:2] == [[50, 35, 2], [30, 35, 2]]
    with pytest.raises(UserError, match='keypoint_flip_indices'):
        keypoints(RandomFlip(1.0), keypoint_flip_indices=None)


@pytest.mark.parametrize('transform', [RandomResizedCrop(8), CenterCrop(8)])
def test_a_kind_of_field_that_would_stay_behind_is_refused(make_sample, transform):
    name = type(transform).__name__
    with pytest.raises(UserError, match=f'{name} cannot transform boxes'):
        transform(make_sample())
    for field, kind in (('mask_fields', 'masks'), ('seg_fields', 'semantic maps'), ('keypoint_fields', 'keypoints')):
        with pytest.raises(UserError, match=f'{name} cannot transform {kind}'):
            transform({'img': np.zeros((9, 9, 3), np.uint8), field: ['some'], 'some': np.zeros((1, 9, 9))})


@pytest.mark.parametrize('transform', [PhotoMetricDistortion(), YOLOXHSVRandomAug()])
def test_colours_leave_everything_in_its_place(make_sample, transform):
    before, after = make_sample(), transform(with_keypoints(make_sample()))
    assert (after['gt_bboxes'] == before['gt_bboxes']).all()
    assert (after['gt_semantic_seg'] == before['gt_semantic_seg']).all()
    assert after['gt_masks'] is not None and 'gt_keypoints' in after


@dataclass(frozen=True)
class Shift:
    pixels: int


class Roll(FieldTransform[Shift]):
    """A user's transform, written in three methods."""

    draws = 0

    def draw(self, sample, rng):
        self.draws += 1
        return Shift(int(rng.integers(1, 5)))

    def apply_image(self, img, params):
        return np.roll(img, params.pixels, axis=1)

    def apply_boxes(self, bboxes, params):
        return bboxes + np.array([params.pixels, 0, params.pixels, 0], np.float32)


def test_a_transform_of_a_user_draws_once(make_sample):
    roll = Roll()
    sample = make_sample(bboxes=[(10, 5, 30, 25), (40, 5, 50, 25)], ignored=[(0, 0, 5, 5)])
    sample.update(mask_fields=[], seg_fields=[])
    sample = AutoAugment([[roll]])(sample)
    assert roll.draws == 1
    shift = sample['gt_bboxes_ignore'][0, 0]
    assert sample['gt_bboxes'][:, 0].tolist() == [10 + shift, 40 + shift]
    assert bright_box(sample['img'])[0] == 10 + shift
    with pytest.raises(UserError, match='Roll cannot transform masks'):
        roll(make_sample())


class Darken(PixelTransform[int]):
    def draw(self, sample, rng):
        return None if sample.get('is_dark') else 50

    def apply_image(self, img, params):
        return img - np.minimum(img, params)


def test_no_parameters_leave_the_sample_as_it_is(make_sample):
    assert Darken()(make_sample())['img'].max() == 150
    assert Darken()({**make_sample(), 'is_dark': True})['img'].max() == 200


def test_boxes_that_no_field_lists_move_too(make_sample):
    sample = make_sample()
    del sample['bbox_fields']
    assert Resize((120, 80))(sample)['gt_bboxes'].tolist() == [[20, 10, 60, 50]]


def test_the_transform_of_the_documentation(make_sample):
    page = (Path(__file__).parents[2] / 'docs' / 'data.md').read_text()
    code = next(block for block in re.findall(r'```python\n(.*?)```', page, re.DOTALL) if 'FieldTransform' in block)
    names = {}
    exec(code, names)  # registers Roll
    shift = names['Roll'](max_pixels=20)
    sample = shift({**make_sample(seed=3), 'mask_fields': [], 'seg_fields': []})
    assert sample['gt_bboxes'][0, 0] > 10
    assert (bright_box(sample['img']) == sample['gt_bboxes'][0]).all()


def test_a_probability_that_is_a_text_is_refused():
    with pytest.raises(InvalidTypeError, match="got 'half'"):
        RandomFlip('half')
