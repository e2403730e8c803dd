"""Transforms of 3.x in the neutral spelling, and back."""

from __future__ import annotations

from contextlib import suppress

import pytest

from mmkit.dialects.spellings import TRANSFORMS, complete, read_v3, write_v3
from mmkit.errors import InvalidValueError, MissingPackageError
from mmkit.registry import TRANSFORMS as REGISTRY
from mmkit.transforms import Resize

V3 = [
    (
        dict(type='Resize', scale=(1333, 800), keep_ratio=True),
        dict(type='Resize', img_scale=(1333, 800), keep_ratio=True),
    ),
    (dict(type='Resize', scale=640), dict(type='Resize', img_scale=(640, 640), keep_ratio=False)),
    (
        dict(type='Resize', scale_factor=0.5, clip_object_border=False, keep_ratio=False),
        dict(type='Resize', scale_factor=0.5, bbox_clip_border=False, keep_ratio=False),
    ),
    (
        dict(type='FixScaleResize', scale=(800, 1333), keep_ratio=True, backend='pillow'),
        dict(type='Resize', img_scale=(800, 1333), keep_ratio=True, backend='pillow', round_down=True),
    ),
    (
        dict(type='RandomResize', scale=[(1333, 640), (1333, 800)], keep_ratio=True),
        dict(type='Resize', img_scale=[(1333, 640), (1333, 800)], keep_ratio=True),
    ),
    (
        dict(type='RandomResize', scale=(640, 640), ratio_range=(0.1, 2.0), resize_type='FixScaleResize'),
        dict(type='Resize', img_scale=(640, 640), ratio_range=(0.1, 2.0), keep_ratio=False, round_down=True),
    ),
    (
        dict(type='RandomChoiceResize', scales=[(480, 1333), 512], keep_ratio=True),
        dict(type='Resize', img_scale=[(480, 1333), (512, 512)], multiscale_mode='value', keep_ratio=True),
    ),
    (
        dict(type='LoadImageFromNDArray', backend_args=None),
        dict(type='LoadImageFromWebcam', file_client_args=None),
    ),
    (
        dict(type='LoadImageFromFile', backend_args=dict(backend='local'), ignore_empty=False),
        dict(type='LoadImageFromFile', file_client_args=dict(backend='disk')),
    ),
    (
        dict(type='LoadAnnotations', with_mask=True, poly2mask=False, box_type='hbox', backend_args=None),
        dict(type='LoadAnnotations', with_mask=True, poly2mask=False, file_client_args=None),
    ),
    (
        dict(type='RandomFlip', prob=[0.3, 0.2], direction=['horizontal', 'vertical']),
        dict(type='RandomFlip', flip_ratio=[0.3, 0.2], direction=['horizontal', 'vertical']),
    ),
    (
        dict(type='RandomCenterCropPad', crop_size=(512, 384)),
        dict(type='RandomCenterCropPad', crop_size=(384, 512)),
    ),
    (dict(type='RandomCrop', crop_size=(600, 384)), dict(type='RandomCrop', crop_size=(384, 600))),
    (dict(type='Pad', size=(640, 480), pad_val=114), dict(type='Pad', size=(480, 640), pad_val=dict(img=114))),
    (dict(type='Pad', size_divisor=32), dict(type='Pad', size_divisor=32)),
    (
        dict(type='RandomChoice', transforms=[[dict(type='Resize', scale=(4, 3))], dict(type='Pad', size=(6, 5))]),
        dict(
            type='AutoAugment',
            policies=[
                [dict(type='Resize', img_scale=(4, 3), keep_ratio=False)],
                [dict(type='Pad', size=(5, 6))],
            ],
        ),
    ),
    (
        dict(
            type='Albu',
            transforms=[],
            bbox_params=dict(type='BboxParams', label_fields=['gt_bboxes_labels', 'gt_ignore_flags']),
        ),
        dict(type='Albu', transforms=[], bbox_params=dict(type='BboxParams', label_fields=['gt_labels'])),
    ),
    (dict(type='RandomAffine', border=(-320, -100)), dict(type='RandomAffine', border=(-100, -320))),
    (
        dict(type='Mosaic', img_scale=(1440, 800), pad_val=114.0),
        dict(type='Mosaic', img_scale=(800, 1440), pad_val=114.0),
    ),
    (
        dict(type='CachedMixUp', img_scale=(1440, 800), max_cached_images=20, random_pop=False, prob=0.5),
        dict(type='CachedMixUp', img_scale=(800, 1440), prob=0.5),
    ),
    (dict(type='MixUp', img_scale=(4, 3)), dict(type='MixUp', img_scale=(3, 4))),
    (dict(type='Invert', level=2), dict(type='Invert')),
    (
        dict(type='ShearX', level=4),
        dict(type='Shear', direction='horizontal', max_shear_degree=30.0, prob=1.0, level=4),
    ),
    (
        dict(type='TranslateY', level=4, max_mag=0.2),
        dict(type='Translate', direction='vertical', max_translate_ratio=0.2, prob=1.0, level=4),
    ),
    (dict(type='CachedMosaic', max_cached_images=10), dict(type='CachedMosaic')),
    (dict(type='Color'), dict(type='ColorTransform', prob=1.0, level=None)),
    (
        dict(type='Brightness', level=3, max_mag=1.5),
        dict(type='BrightnessTransform', level=3, max_mag=1.5, prob=1.0),
    ),
    (dict(type='Contrast', prob=0.1), dict(type='ContrastTransform', prob=0.1, level=None)),
    (dict(type='Equalize', level=5), dict(type='EqualizeTransform', prob=1.0)),
    (dict(type='AutoContrast', level=5, prob=0.5), dict(type='AutoContrast', prob=0.5)),
    (dict(type='ColorTransform', prob=0.5, level=2), dict(type='Compose', transforms=[])),
    (
        dict(type='Rotate', level=2, reversal_prob=0.1, img_border_value=(1, 2, 3)),
        dict(
            type='Rotate',
            level=2,
            random_negative_prob=0.1,
            img_fill_val=(1, 2, 3),
            prob=1.0,
            max_rotate_angle=30.0,
        ),
    ),
    (
        dict(type='ShearY', max_mag=20.0),
        dict(type='Shear', direction='vertical', max_shear_degree=20.0, prob=1.0, level=None),
    ),
    (
        dict(type='TranslateX', prob=0.5),
        dict(type='Translate', direction='horizontal', max_translate_ratio=0.1, prob=0.5, level=None),
    ),
]


@pytest.mark.parametrize(('v3', 'neutral'), V3)
def test_rows_are_read_built_and_written(v3, neutral):
    assert read_v3(v3, TRANSFORMS) == neutral
    with suppress(MissingPackageError):
        REGISTRY.build(neutral)
    assert read_v3(write_v3(neutral, TRANSFORMS), TRANSFORMS) == neutral


def test_every_row_is_tested():
    assert {v3['type'] for v3, _ in V3} == set(TRANSFORMS)


@pytest.mark.parametrize(
    'neutral',
    [
        dict(type='Resize', img_scale=(1333, 800)),
        dict(type='Resize', img_scale=[(1333, 640), (1333, 800)], multiscale_mode='value'),
        dict(type='Resize', img_scale=[(1333, 640), (1333, 800)]),
        dict(type='RandomFlip'),
        dict(type='Pad', size=(480, 640), pad_val=3),
    ],
)
def test_what_2x_leaves_out_is_written_and_read_back(neutral):
    written = write_v3([neutral], TRANSFORMS)
    complete_neutral = complete([neutral], TRANSFORMS)
    if isinstance(neutral.get('pad_val'), int):
        complete_neutral[0]['pad_val'] = dict(img=3, masks=3)
    assert read_v3(written, TRANSFORMS) == complete_neutral


def test_a_choice_of_one_scale_and_a_second_resize():
    one = dict(type='RandomChoiceResize', scales=[(400, 600)], keep_ratio=True)
    assert write_v3(read_v3(one, TRANSFORMS), TRANSFORMS) == one
    assert write_v3(dict(type='Resize', img_scale=(4, 3), override=True), TRANSFORMS) == dict(
        type='Resize', scale=(4, 3), keep_ratio=True
    )


def test_what_has_no_meaning_is_refused():
    with pytest.raises(InvalidValueError, match='wider than high'):
        read_v3(dict(type='RandomResize', scale=[(300, 400), (500, 600)]), TRANSFORMS)
    with pytest.raises(InvalidValueError, match="FixScaleResize, got 'Shrink'"):
        read_v3(dict(type='RandomResize', scale=(3, 4), resize_type='Shrink'), TRANSFORMS)
    with pytest.raises(InvalidValueError, match='scale_factor=2 excludes img_scale'):
        Resize((3, 4), scale_factor=2)
    with pytest.raises(InvalidValueError, match='Shear without max_shear_degree has no equal'):
        write_v3(dict(type='Shear', level=3), TRANSFORMS)
