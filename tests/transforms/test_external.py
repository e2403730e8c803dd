"""Transforms of optional packages; small modules stand in for those."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest

from mmkit.errors import InvalidValueError, MissingPackageError
from mmkit.transforms import Albu, Corrupt


class BasicTransform:
    def __init__(self, p=1.0):
        self.p = p


class MirrorOrLose(BasicTransform):
    """Mirrors, and loses the boxes whose numbers are odd."""


class BaseCompose:
    def __init__(self, transforms):
        self.transforms = transforms


class Compose(BaseCompose):
    def __init__(self, transforms, bbox_params=None):
        super().__init__(transforms)
        self.bbox_params = bbox_params
        self.seeds = []

    def set_random_seed(self, seed):
        self.seeds.append(seed)

    def __call__(self, image, bboxes=None, numbers=None, masks=None):
        made = dict(image=image[:, ::-1])
        if bboxes is not None:
            kept = [number for number in numbers if number % 2 == 0]
            width = image.shape[1]
            made['bboxes'] = [[width - x2, y1, width - x1, y2] for x1, y1, x2, y2 in bboxes[kept]]
            made['numbers'] = [float(number) for number in kept]
        if masks is not None:
            made['masks'] = [mask[:, ::-1] for mask in masks]
        return made


@pytest.fixture
def albumentations(monkeypatch):
    package = ModuleType('albumentations')
    vars(package).update(
        BasicTransform=BasicTransform,
        BaseCompose=BaseCompose,
        MirrorOrLose=MirrorOrLose,
        OneOf=BaseCompose,
        Compose=Compose,
        BboxParams=lambda **arguments: arguments,
        helper=print,
    )
    monkeypatch.setitem(sys.modules, 'albumentations', package)
    return package


PARAMS = dict(type='BboxParams', format='pascal_voc', label_fields=['gt_labels'], min_visibility=0.1)
STEPS = [dict(type='OneOf', transforms=[dict(type='MirrorOrLose', p=0.5)])]


def test_objects_follow_their_boxes(albumentations, make_sample):
    step = Albu(STEPS, bbox_params=PARAMS)
    assert step.compose.transforms[0].transforms[0].p == 0.5
    assert step.compose.bbox_params == dict(format='pascal_voc', label_fields=['numbers'], min_visibility=0.1)
    sample = make_sample(bboxes=[(10, 5, 30, 25), (0, 0, 5, 5)], ignored=[(40, 30, 50, 40)])
    sample = step(sample)
    assert sample['gt_bboxes'].tolist() == [[30, 5, 50, 25]] and sample['gt_labels'].tolist() == [0]
    assert sample['gt_masks'].get_bboxes().tolist() == [[30, 5, 50, 25]]
    assert sample['gt_bboxes_ignore'].tolist() == [[10, 30, 20, 40]]
    assert (sample['img'][10, 35] == 200).all()


def test_colours_alone_and_images_without_objects(albumentations, make_sample):
    colours = Albu([dict(type='MirrorOrLose')])(make_sample())
    assert colours['gt_bboxes'].tolist() == [[10, 5, 30, 25]]
    assert Albu(STEPS, bbox_params=PARAMS, skip_img_without_anno=True)(make_sample(bboxes=())) is None
    assert len(Albu(STEPS, bbox_params=PARAMS)(make_sample(bboxes=()))['gt_bboxes']) == 0


def test_the_seed_is_that_of_the_sample(monkeypatch, albumentations, make_sample):
    step = Albu(STEPS)
    for seed in (1, 1, 2):
        step(make_sample(seed=seed))
    first, second, third = step.compose.seeds
    assert first == second != third
    monkeypatch.delattr(Compose, 'set_random_seed')  # as in older versions
    assert Albu(STEPS)(make_sample())['img'].shape == (40, 60, 3)


def test_wrong_arguments(albumentations):
    for transforms, more, reason in (
        ([dict(type='helper')], {}, "no transform 'helper'"),
        ([dict(type='OneOf', transforms=[dict(type='Blur')])], {}, "no transform 'Blur'"),
        ([], dict(keymap=dict(img='mask')), 'keymap has some of'),
        ([], dict(bbox_params=dict(format='coco')), 'pascal_voc'),
    ):
        with pytest.raises(InvalidValueError, match=reason):
            Albu(transforms, **more)


def test_missing_packages(monkeypatch, albumentations):
    monkeypatch.setitem(sys.modules, 'albumentations', None)
    monkeypatch.setitem(sys.modules, 'imagecorruptions', None)
    with pytest.raises(MissingPackageError, match='Albu needs albumentations: pip install albumentations'):
        Albu([])
    with pytest.raises(MissingPackageError, match='Corrupt needs imagecorruptions'):
        Corrupt('fog')


def test_corruptions(monkeypatch, make_sample):
    package = ModuleType('imagecorruptions')
    package.corrupt = lambda img, corruption_name, severity: img + np.uint8(severity if corruption_name == 'fog' else 0)
    monkeypatch.setitem(sys.modules, 'imagecorruptions', package)
    assert Corrupt('fog', 3)(make_sample())['img'][0, 0, 0] == 3
    with pytest.raises(InvalidValueError, match='between 1 and 5'):
        Corrupt('fog', 0)
