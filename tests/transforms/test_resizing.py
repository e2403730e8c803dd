from __future__ import annotations

import numpy as np
import pytest

from mmkit.transforms import Pad, RandomFlip, Resize, SegRescale
from mmkit.transforms.coordinates import flip_bboxes


def test_resize_keeps_the_ratio_and_moves_everything(make_sample, check_agreement):
    sample = Resize((120, 70))(make_sample(ignored=[(0, 0, 60, 40)]))
    assert sample['img'].shape == (70, 105, 3) == sample['img_shape'] == sample['pad_shape']
    assert sample['scale_factor'].tolist() == [1.75] * 4 and sample['scale_factor'].dtype == np.float32
    assert sample['gt_bboxes'].tolist() == [[17.5, 8.75, 52.5, 43.75]]
    assert sample['gt_bboxes_ignore'].tolist() == [[0, 0, 105, 70]]
    assert sample['scale'] == (120, 70) and sample['keep_ratio']
    check_agreement(sample)


def test_resize_to_any_shape(make_sample, check_agreement):
    sample = Resize((120, 20), keep_ratio=False)(make_sample())
    assert sample['img'].shape == (20, 120, 3)
    assert sample['scale_factor'].tolist() == [2, 0.5, 2, 0.5]
    check_agreement(sample)


def test_resize_clips_boxes_if_wanted(make_sample):
    bboxes = [(50, 30, 70, 50)]
    assert Resize((120, 80))(make_sample(bboxes=bboxes))['gt_bboxes'].tolist() == [[100, 60, 120, 80]]
    free = Resize((120, 80), bbox_clip_border=False)(make_sample(bboxes=bboxes))
    assert free['gt_bboxes'].tolist() == [[100, 60, 140, 100]]


def drawn(step, make_sample):
    return {step(make_sample(seed=seed))['scale'] for seed in range(40)}


def test_scales_are_drawn(make_sample):
    scales = [(60, 40), (90, 60)]
    assert drawn(Resize(scales, multiscale_mode='value'), make_sample) == set(scales)
    ranged = drawn(Resize([list(scale) for scale in scales]), make_sample)
    assert len(ranged) > 20
    assert all(60 <= long <= 90 and 40 <= short <= 60 for long, short in ranged)
    ratios = drawn(Resize([60, 40], ratio_range=(0.5, 2)), make_sample)
    assert all(30 <= long <= 120 and abs(long / 1.5 - short) <= 1 for long, short in ratios) and len(ratios) > 20


def test_a_scale_that_is_there_is_obeyed(make_sample):
    assert Resize()({**make_sample(), 'scale': (30, 20)})['img'].shape == (20, 30, 3)
    assert Resize()({**make_sample(), 'scale_factor': 0.5})['img'].shape == (20, 30, 3)
    with pytest.raises(ValueError, match='no img_scale'):
        Resize()(make_sample())


def test_a_second_resize_draws_a_scale_of_its_own(make_sample):
    once = Resize((30, 20))(make_sample())
    assert Resize((60, 40))(once)['img'].shape == (40, 60, 3)
    view = {**make_sample(), 'scale': (30, 20)}
    assert Resize((60, 40), override=True)(view)['img'].shape == (40, 60, 3)


def test_a_factor_in_place_of_a_scale(make_sample, check_agreement):
    check_agreement(half := Resize(scale_factor=0.5)(make_sample()))
    assert half['img'].shape == (20, 30, 3) and half['scale_factor'].tolist() == [0.5] * 4
    assert Resize(scale_factor=(2, 1), keep_ratio=False)(make_sample())['img'].shape == (40, 120, 3)


def test_sizes_may_be_rounded_down(make_sample):
    sizes = [Resize((59, 25), round_down=down)(make_sample())['img'].shape[:2] for down in (False, True)]
    assert sizes == [(25, 38), (25, 37)]  # 60 * 25 / 40 = 37.5


@pytest.mark.parametrize('interpolation', ['nearest', 'bilinear', 'bicubic', 'area', 'lanczos'])
@pytest.mark.parametrize('backend', ['cv2', 'pillow'])
def test_backends(make_sample, check_agreement, backend, interpolation):
    check_agreement(Resize((30, 20), backend=backend, interpolation=interpolation)(make_sample()))


def test_wrong_arguments_of_resize(make_sample):
    for arguments, message in (
        (dict(img_scale=(1, 2, 3)), 'two numbers'),
        (dict(img_scale=3), 'two numbers'),
        (dict(img_scale=[(30, 20), (60, 40)], ratio_range=(1, 2)), 'exactly one img_scale'),
        (dict(ratio_range=(1, 2)), 'exactly one img_scale'),
        (dict(img_scale=(3, 2), multiscale_mode='some'), 'some'),
        (dict(img_scale=(3, 2), backend='jpeg'), 'jpeg'),
        (dict(img_scale=(3, 2), interpolation='linear'), 'linear'),
    ):
        with pytest.raises(ValueError, match=message):
            Resize(**arguments)
    with pytest.raises(TypeError, match='uint8'):
        Resize((30, 20), backend='pillow')({**make_sample(), 'img': np.zeros((40, 60, 3), np.float32)})


@pytest.mark.parametrize('direction', ['horizontal', 'vertical', 'diagonal'])
def test_a_flip_moves_everything(make_sample, check_agreement, direction):
    sample = RandomFlip(1.0, direction)(make_sample())
    expected = {'horizontal': [30, 5, 50, 25], 'vertical': [10, 15, 30, 35], 'diagonal': [30, 15, 50, 35]}
    assert sample['gt_bboxes'].tolist() == [expected[direction]]
    assert sample['flip'] and sample['flip_direction'] == direction
    assert sample['img'].flags['C_CONTIGUOUS']
    check_agreement(sample)


def test_flips_keep_scores_of_proposals():
    flipped = flip_bboxes(np.array([[1, 2, 3, 4, 0.9]], np.float32), (10, 20), 'diagonal')
    assert flipped.round(1).tolist() == [[17, 6, 19, 8, np.float32(0.9).round(1)]]


def shares(step, make_sample, num=400):
    seen = [step(make_sample(4, 4, (), seed=seed))['flip_direction'] for seed in range(num)]
    return {direction: seen.count(direction) / num for direction in set(seen)}


def test_flip_ratios(make_sample):
    assert shares(RandomFlip(), make_sample) == {None: 1}
    assert shares(RandomFlip(0.5), make_sample) == pytest.approx({'horizontal': 0.5, None: 0.5}, abs=0.08)
    both = RandomFlip(0.5, ['horizontal', 'vertical'])
    expected = {'horizontal': 0.25, 'vertical': 0.25, None: 0.5}
    assert shares(both, make_sample) == pytest.approx(expected, abs=0.08)
    each = RandomFlip([0.2, 0.3], ['horizontal', 'diagonal'])
    expected = {'horizontal': 0.2, 'diagonal': 0.3, None: 0.5}
    assert shares(each, make_sample) == pytest.approx(expected, abs=0.08)
    for arguments in ((0.5, 'sideways'), ([0.5], ['horizontal', 'vertical']), (1.5,), ([0.6, 0.6], ['vertical'] * 2)):
        with pytest.raises(ValueError):
            RandomFlip(*arguments)


def test_a_flip_that_is_decided_is_obeyed(make_sample):
    still = RandomFlip(1.0)({**make_sample(), 'flip': False})
    assert still['gt_bboxes'].tolist() == [[10, 5, 30, 25]] and still['flip_direction'] is None
    moved = RandomFlip()({**make_sample(), 'flip': True, 'flip_direction': 'vertical'})
    assert moved['gt_bboxes'].tolist() == [[10, 15, 30, 35]]


def test_seg_rescale_touches_the_map_alone(make_sample):
    sample = SegRescale(0.5)(make_sample())
    assert sample['gt_semantic_seg'].shape == (20, 30) and sample['img'].shape == (40, 60, 3)


def test_no_objects(make_sample, check_agreement):
    sample = make_sample(bboxes=())
    for step in (Resize((120, 70)), RandomFlip(1.0, 'diagonal'), Pad(size_divisor=1)):
        sample = step(sample)
    assert sample['gt_bboxes'].shape == (0, 4)
    check_agreement(sample)
