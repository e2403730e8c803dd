from __future__ import annotations

import numpy as np
import pytest

from mmkit.errors import InvalidTypeError
from mmkit.registry import PIPELINES
from mmkit.structures import Sample
from mmkit.transforms import Compose, MultiScaleFlipAug
from mmkit.transforms.randomness import rng_of

STEPS = [
    dict(type='Resize', keep_ratio=True),
    dict(type='RandomFlip'),
    dict(type='ImageToTensor', keys=['img']),
    dict(type='Collect', keys=['img']),
]


def test_steps_are_configs_or_callables_and_none_ends_the_chain():
    @PIPELINES.register_module(force=True)
    class Append:
        def __init__(self, text):
            self.text = text

        def __call__(self, sample):
            return {**sample, 'text': sample['text'] + self.text}

    chain = Compose([dict(type='Append', text='a'), Append('b')])
    assert chain(dict(text=''))['text'] == 'ab'
    assert repr(chain) == 'Compose(Append, Append)'
    assert Compose([lambda sample: None, Append('b')])({}) is None
    with pytest.raises(TypeError, match='transform 1 is neither'):
        Compose([Append('a'), 3])


def test_a_sample_without_a_generator_gets_one():
    sample = {}
    assert rng_of(sample) is rng_of(sample)


def image():
    return dict(img=np.arange(40 * 60 * 3, dtype=np.uint8).reshape(40, 60, 3), bbox_fields=[])


def test_one_view_is_a_sample():
    sample = MultiScaleFlipAug(STEPS, img_scale=(30, 20))(image())
    assert sample.img.shape == (3, 20, 30) and not sample.meta.flip


def test_views_of_every_scale_and_direction():
    views = MultiScaleFlipAug(STEPS, [(30, 20), (60, 40)], flip=True, flip_direction=['horizontal', 'vertical'])(
        image()
    )
    assert [(view.img.shape[1], view.meta.flip_direction) for view in views] == [
        (20, None),
        (20, 'horizontal'),
        (20, 'vertical'),
        (40, None),
        (40, 'horizontal'),
        (40, 'vertical'),
    ]
    assert views[3].img.flip(2).equal(views[4].img) and views[3].img.flip(1).equal(views[5].img)


def test_scale_factors():
    small, large = MultiScaleFlipAug(STEPS, scale_factor=[0.5, 2.0])(image())
    assert small.img.shape == (3, 20, 30) and large.img.shape == (3, 80, 120)
    assert large.meta.scale_factor.tolist() == [2] * 4
    assert MultiScaleFlipAug(STEPS, scale_factor=1)(image()).img.shape == (3, 40, 60)


def test_wrong_views():
    for arguments, message in (
        (dict(), 'exactly one'),
        (dict(img_scale=(3, 2), scale_factor=1.0), 'exactly one'),
        (dict(img_scale=(3, 2), flip=True, flip_direction='sideways'), 'sideways'),
    ):
        with pytest.raises(ValueError, match=message):
            MultiScaleFlipAug(STEPS, **arguments)
    with pytest.raises(ValueError, match='needs RandomFlip'):
        MultiScaleFlipAug([STEPS[0]], img_scale=(3, 2), flip=True)


def test_the_name_that_mmdetection_gives_to_the_room():
    from mmkit import transforms
    from mmkit.datasets import pipelines

    assert pipelines.__all__ == transforms.__all__
    assert pipelines.Compose is Compose and pipelines.LoadImageFromFile is transforms.LoadImageFromFile


def test_a_transform_after_collect_is_called_so():
    pipeline = Compose([lambda sample: Sample.__new__(Sample), dict(type='RandomFlip')])
    with pytest.raises(InvalidTypeError, match='RandomFlip comes after Collect, which gives a Sample: it takes a dict'):
        pipeline({})
