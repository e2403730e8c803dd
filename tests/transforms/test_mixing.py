from __future__ import annotations

import numpy as np
import pytest

from mmkit.structures import PolygonMasks
from mmkit.transforms import MixUp, Mosaic, RandomAffine


@pytest.fixture
def make_boxes_only(make_sample):
    """As `make_sample`, without masks and map."""

    def make(**arguments):
        sample = make_sample(**arguments)
        for key in ('gt_masks', 'gt_semantic_seg'):
            del sample[key]
        return {**sample, 'mask_fields': [], 'seg_fields': []}

    return make


def is_bright_inside(sample, slack=3):
    """Tell if all boxes, made a bit smaller, are on bright pixels."""
    for x1, y1, x2, y2 in sample['gt_bboxes'].round().astype(int):
        inner = sample['img'][max(y1, 0) + slack : max(y2 - slack, 0), max(x1, 0) + slack : max(x2 - slack, 0)]
        if inner.size and inner.min() < 190:
            return False
    return True


def test_mosaic_puts_four_images_around_a_point(make_boxes_only):
    sample = make_boxes_only(height=20, width=40, bboxes=[(0, 0, 10, 10)], ignored=[(30, 10, 40, 20)])
    sample['mix_results'] = [make_boxes_only(height=40, width=40, bboxes=[(20, 20, 40, 40)]) for _ in range(2)]
    sample['mix_results'].append(make_boxes_only(height=80, width=160, bboxes=[(0, 0, 80, 40)]))
    sample = Mosaic(img_scale=(40, 80), center_ratio_range=(1, 1), pad_val=7)(sample)
    assert sample['img'].shape == sample['img_shape'] == sample['pad_shape'] == (80, 160, 3)
    # the first, scaled by 2, lies at the top left of (80, 40), the second and third, not scaled, ...
    assert sample['gt_bboxes'].tolist() == [[0, 0, 20, 20], [100, 20, 120, 40], [60, 60, 80, 80], [80, 40, 120, 60]]
    assert sample['gt_labels'].tolist() == [0, 0, 0, 0]
    assert sample['gt_bboxes_ignore'].tolist() == [[60, 20, 80, 40]] and sample['gt_bboxes'].dtype == np.float32
    assert is_bright_inside(sample)
    assert (sample['img'][:40, 121:] == 7).all() and (sample['img'][41:, :39] == 7).all()


def test_mosaic_cuts_what_sticks_out(make_boxes_only):
    boxes = [(0, 0, 40, 10), (0, 10, 40, 20)]
    seen = set()
    for seed in range(40):
        sample = make_boxes_only(height=20, width=40, bboxes=boxes, seed=seed)
        sample['mix_results'] = [make_boxes_only(height=20, width=40, bboxes=boxes) for _ in range(3)]
        sample = Mosaic(img_scale=(20, 40))(sample)
        assert sample['img'].shape == (40, 80, 3) and is_bright_inside(sample)
        assert (sample['gt_bboxes'] >= 0).all() and (sample['gt_bboxes'] <= [80, 40, 80, 40]).all()
        assert (sample['gt_bboxes'][:, 2:] >= sample['gt_bboxes'][:, :2]).all()
        seen.add(len(sample['gt_bboxes']))
    assert {4, 8} & seen and max(seen) == 8


def test_mosaic_filters_only_if_asked(make_boxes_only):
    def made(**arguments):
        sample = make_boxes_only(height=20, width=20, bboxes=[(0, 0, 20, 20), (0, 0, 3, 20)])
        sample['mix_results'] = [make_boxes_only(height=20, width=20, bboxes=()) for _ in range(3)]
        return len(Mosaic(img_scale=(20, 20), center_ratio_range=(1, 1), **arguments)(sample)['gt_bboxes'])

    assert made() == made(min_bbox_size=5) == 2
    assert made(min_bbox_size=5, skip_filter=False) == 1 and made(min_bbox_size=2, skip_filter=False) == 2


def test_mosaic_by_chance(make_boxes_only):
    rows = []
    for seed in range(60):
        sample = make_boxes_only(seed=seed)
        sample['mix_results'] = [make_boxes_only() for _ in range(3)]
        rows.append(len(Mosaic(img_scale=(40, 60), prob=0.5)(sample)['gt_bboxes']) == 1)
    assert 15 < sum(rows) < 45


class Labels:
    """A dataset of which MixUp asks for the labels."""

    def __init__(self, labels):
        self.labels = labels

    def __len__(self):
        return len(self.labels)

    def get_cat_ids(self, index):
        return self.labels[index]


def test_the_other_images():
    rng = np.random.default_rng(0)
    indices = [index for _ in range(50) for index in Mosaic().get_indexes(Labels([[]] * 5), rng)]
    assert len(indices) == 150 and set(indices) == set(range(5))
    assert {MixUp(max_iters=200).get_indexes(Labels([[], [], [1], []]), rng) for _ in range(20)} == {2}
    assert MixUp(max_iters=3).get_indexes(Labels([[], []]), rng) in (0, 1)
    assert MixUp().get_indexes(Labels([[1]])) == 0 and Mosaic().get_indexes(Labels([[1]])) == [0, 0, 0]


def test_boxes_that_no_field_lists(make_boxes_only):
    for step in (Mosaic(img_scale=(40, 60), center_ratio_range=(1, 1)), MixUp(img_scale=(40, 60), ratio_range=(1, 1))):
        samples = [make_boxes_only(ignored=[(0, 0, 5, 5)]) for _ in range(4)]
        for sample in samples:
            del sample['bbox_fields']
        mixed = step({**samples[0], 'mix_results': samples[1:]})
        assert len(mixed['gt_bboxes']) == len(mixed['gt_labels']) == len(mixed['gt_bboxes_ignore']) > 1


def test_mixup_is_the_mean_of_two_images(make_boxes_only):
    sample = make_boxes_only(height=40, width=60, bboxes=[(0, 0, 10, 10)])
    sample['gt_labels'] = np.array([5])
    sample['mix_results'] = [make_boxes_only(height=20, width=30, bboxes=[(10, 10, 20, 15)])]
    mixed = MixUp(img_scale=(40, 60), ratio_range=(1, 1), flip_ratio=1, pad_val=0)(sample)
    assert mixed['gt_bboxes'].tolist() == [[0, 0, 10, 10], [20, 20, 40, 30]]
    assert mixed['gt_labels'].tolist() == [5, 0]
    assert mixed['img'].dtype == np.uint8 and mixed['img'].shape == mixed['img_shape'] == (40, 60, 3)
    assert mixed['img'][5, 5].tolist() == mixed['img'][25, 30].tolist() == [100] * 3 and mixed['img'][35, 5, 0] == 0


def test_mixup_scales_mirrors_and_cuts(make_boxes_only):
    sample = make_boxes_only(height=40, width=60, bboxes=())
    sample['mix_results'] = [make_boxes_only(height=40, width=60, bboxes=[(0, 0, 20, 40)])]
    mirrored = MixUp(img_scale=(40, 60), ratio_range=(0.5, 0.5), flip_ratio=0)(sample)  # 20 x 30, padded with 114
    assert mirrored['gt_bboxes'].tolist() == [[20, 0, 30, 20]]
    assert mirrored['img'][10, 25, 0] == 100 and mirrored['img'][30, 50, 0] == 57
    seen = []
    for seed in range(30):
        sample = make_boxes_only(height=40, width=60, bboxes=(), seed=seed)
        sample['mix_results'] = [make_boxes_only(height=40, width=60, bboxes=[(0, 0, 20, 40)])]
        cut = MixUp(img_scale=(40, 60), ratio_range=(2, 2), flip_ratio=1, skip_filter=False)(sample)
        for x1, y1, x2, y2 in cut['gt_bboxes']:  # 40 wide, 80 high before the cut to 60 x 40
            assert (x1, y1, y2) == (0, 0, 40) and x2 - x1 > 0.4 * 40
        seen.append(len(cut['gt_bboxes']))
    assert set(seen) == {0, 1}


def test_mixup_with_nothing_leaves_the_image(make_boxes_only):
    sample = make_boxes_only()
    before = sample['img'].copy()
    sample['mix_results'] = [make_boxes_only(bboxes=())]
    assert (MixUp()(sample)['img'] == before).all()


def test_mixing_needs_other_images_and_no_maps(make_sample, make_boxes_only):
    for step in (Mosaic(), MixUp()):
        with pytest.raises(ValueError, match='needs more than one image'):
            step(make_boxes_only())
        with pytest.raises(ValueError, match='cannot transform semantic maps: leave them unloaded'):
            step({**make_sample(), 'mix_results': [make_sample() for _ in range(3)]})
    with pytest.raises(ValueError, match='RandomAffine cannot transform masks'):
        RandomAffine()(make_sample())


@pytest.mark.parametrize('kind', ['bitmaps', 'polygons'])
@pytest.mark.parametrize('step', [Mosaic((40, 60)), MixUp((40, 60), ratio_range=(0.6, 1.4))])
def test_masks_move_with_their_boxes(make_sample, step, kind):
    def make(seed):
        sample = make_sample(seed=seed)
        del sample['gt_semantic_seg']
        if kind == 'polygons':
            x1, y1, x2, y2 = sample['gt_bboxes'][0]
            sample['gt_masks'] = PolygonMasks([[[x1, y1, x2, y1, x2, y2, x1, y2]]], 40, 60)
        return {**sample, 'seg_fields': []}

    for seed in range(10):
        sample = step({**make(seed), 'mix_results': [make(seed) for _ in range(3)]})
        masks = sample['gt_masks']
        assert len(masks) == len(sample['gt_bboxes']) == len(sample['gt_labels'])
        assert (masks.height, masks.width) == sample['img'].shape[:2]
        visible = masks.areas > 0
        assert np.abs(masks.get_bboxes() - sample['gt_bboxes'])[visible].max() <= 1.5


def test_mixing_up_by_chance(make_boxes_only):
    mixed = 0
    for seed in range(60):
        sample = make_boxes_only(seed=seed)
        sample['mix_results'] = [make_boxes_only()]
        mixed += len(MixUp((40, 60), ratio_range=(1, 1), prob=0.3)(sample)['gt_bboxes']) > 1
    assert 8 < mixed < 30


@pytest.mark.parametrize(
    ('kind', 'wrong'),
    [
        (Mosaic, dict(img_scale=(640,))),
        (Mosaic, dict(prob=2)),
        (Mosaic, dict(center_ratio_range=(0.5, 2.5))),
        (MixUp, dict(img_scale=(0, 5))),
        (MixUp, dict(ratio_range=(0, 1))),
        (MixUp, dict(max_iters=0)),
        (RandomAffine, dict(max_translate_ratio=1.5)),
        (RandomAffine, dict(scaling_ratio_range=(2, 1))),
    ],
)
def test_wrong_arguments(kind, wrong):
    with pytest.raises(ValueError, match=f'{kind.__name__}.{next(iter(wrong))} is'):
        kind(**wrong)


STILL = dict(max_rotate_degree=0, max_translate_ratio=0, scaling_ratio_range=(1, 1), max_shear_degree=0)


def test_affine_without_change_and_with_borders(make_boxes_only):
    sample = make_boxes_only(bboxes=[(10, 5, 30, 25)])
    before = sample['img'].copy()
    sample = RandomAffine(**STILL)(sample)
    assert (sample['img'] == before).all() and sample['gt_bboxes'].tolist() == [[10, 5, 30, 25]]
    smaller = RandomAffine(**STILL, border=(-10, -20))(sample)
    assert smaller['img'].shape == smaller['img_shape'] == (20, 20, 3)
    assert smaller['gt_bboxes'].tolist() == [[10, 5, 20, 20]]
    larger = RandomAffine(**STILL, border=(10, 5), border_val=(1, 2, 3))(make_boxes_only())
    assert larger['img'].shape == (60, 70, 3) and larger['img'][50, 65].tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match='leaves nothing'):
        RandomAffine(border=(-20, 0))(make_boxes_only())


def test_affine_scales_about_the_corner(make_boxes_only):
    sample = make_boxes_only(bboxes=[(10, 5, 30, 25), (40, 30, 60, 40)], ignored=[(0, 0, 5, 5)])
    sample = RandomAffine(**{**STILL, 'scaling_ratio_range': (2, 2)})(sample)
    assert sample['gt_bboxes'].tolist() == [[20, 10, 60, 40]] and sample['gt_labels'].tolist() == [0]
    assert sample['gt_bboxes_ignore'].tolist() == [[0, 0, 10, 10]]
    assert is_bright_inside(sample)


def test_affine_moves_boxes_with_their_pixels(make_boxes_only):
    for seed in range(20):
        sample = RandomAffine(max_rotate_degree=0, max_shear_degree=0, max_translate_ratio=0.3)(
            make_boxes_only(seed=seed)
        )
        assert is_bright_inside(sample)
    turned = [RandomAffine(bbox_clip_border=False)(make_boxes_only(seed=seed)) for seed in range(10)]
    for sample in turned:  # a turned box lies in the box around it
        ys, xs = np.nonzero(sample['img'][..., 0] > 180)
        if len(sample['gt_bboxes']) and len(xs):
            x1, y1, x2, y2 = sample['gt_bboxes'][0]
            assert x1 - 1 <= xs.min() and xs.max() <= x2 + 1 and y1 - 1 <= ys.min() and ys.max() <= y2 + 1


def test_affine_filters_only_if_asked(make_boxes_only):
    arguments = {**STILL, 'border': (-14, -20)}  # 12 rows of 20 pixels are left: 7 of the 20 rows of the box
    assert len(RandomAffine(**arguments)(make_boxes_only())['gt_bboxes']) == 1
    strict = RandomAffine(**arguments, skip_filter=False, min_area_ratio=0.2)(make_boxes_only())
    assert len(strict['gt_bboxes']) == len(strict['gt_labels']) == 0
