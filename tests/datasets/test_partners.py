"""Transforms that mix images in a dataset's own pipeline."""

from __future__ import annotations

import numpy as np
import pytest

from mmkit.datasets import ConcatDataset, CustomDataset
from mmkit.datasets.build import build_dataloader
from mmkit.structures import Sample

MIXED = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='CachedMosaic', img_scale=(32, 48), pad_val=114.0),
    dict(type='RandomFlip', flip_ratio=0.5),
    dict(type='Resize', img_scale=(48, 32), keep_ratio=False),
    dict(type='CachedMixUp', img_scale=(32, 48), ratio_range=(1.0, 1.0), pad_val=(114, 114, 114)),
    dict(type='PackDetInputs'),
]


@pytest.fixture
def make_dataset(make_images, write_json):
    def make(pipeline=MIXED, num_images=6, **more):
        sizes = [(32, 48)] * num_images
        folder = make_images(*sizes)
        images = [
            dict(
                id=number,
                filename=f'{number}.png',
                width=48,
                height=32,
                ann=dict(bboxes=[[4.0 + number, 4, 30, 28]], labels=[number]),
            )
            for number in range(num_images)
        ]
        classes = [str(number) for number in range(num_images)]
        ann_file = write_json(images, 'middle.json')
        return CustomDataset(ann_file, pipeline, classes=classes, img_prefix=str(folder), **more)

    return make


def test_samples_repeat_in_any_process(make_dataset):
    expected = [make_dataset()[index] for index in range(6)]
    assert all(isinstance(sample, Sample) and sample.img.shape == (3, 32, 48) for sample in expected)
    assert max(len(set(sample.gt.labels.tolist())) for sample in expected) > 2
    for num_workers in (0, 2):
        loader = build_dataloader(make_dataset(), 2, num_workers, shuffle=False, seed=0)
        imgs = [img for batch in loader for img in batch.imgs]
        assert all((img == sample.img).all() for img, sample in zip(imgs, expected, strict=True))


def test_other_images_have_gone_through_the_steps_before(make_dataset):
    seen = []

    class Pair:
        def get_indexes(self, dataset, rng):
            return [1, 2]

        def __call__(self, sample):
            seen.append([(other['steps'], int(other['gt_labels'][0])) for other in sample['mix_results']])
            return {**sample, 'steps': sample['steps'] + ['pair']}

    def note(sample):
        return {**sample, 'steps': ['noted']}

    load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), note]
    sample = make_dataset([*load, Pair(), Pair()])[0]
    assert sample['steps'] == ['noted', 'pair', 'pair']
    # the first step of the image, of both others of its second step, and that second step
    assert seen[0] == [(['noted'], 1), (['noted'], 2)] and len(seen) == 4
    assert seen[3] == [(['noted', 'pair'], 1), (['noted', 'pair'], 2)]


def test_broken_and_useless_partners_are_replaced(make_dataset, tmp_path):
    dataset = make_dataset([*MIXED[:2], lambda sample: sample if sample['gt_labels'][0] != 2 else None, *MIXED[2:]])
    (tmp_path / '3.png').write_bytes(b'')
    whole = ConcatDataset([dataset, dataset])
    labels = {label for index in range(12) for label in whole[index].gt.labels.tolist()}
    assert labels == {0, 1, 4, 5}


def test_a_subset_and_colours(make_dataset):
    assert make_dataset(indices=2).img_ids == [0, 1] and make_dataset(indices=-2).img_ids == [4, 5]
    chosen = make_dataset(indices=[5, 0], palette=[(1, 2, 3)] * 6, test_mode=True)
    assert chosen.img_ids == [5, 0] and chosen.PALETTE[0] == (1, 2, 3)
    assert chosen.truth().img_ids == [5, 0] and np.asarray(chosen.truth().labels).tolist() == [5, 0]
    with pytest.raises(ValueError, match=r'indices has \[6\], there are 6 images'):
        make_dataset(indices=[6])
