"""Datasets of 3.x in the neutral spelling, and back."""

from __future__ import annotations

import pytest

from mmkit.config.config_dict import Origin, convert
from mmkit.dialects.spellings import DATASETS, TRANSFORMS, complete, read_v3, write_v3
from mmkit.errors import InvalidTypeError, InvalidValueError

TABLES = {**TRANSFORMS, **DATASETS}
V3 = [
    (
        dict(
            type='CocoDataset',
            data_root='data/coco/',
            ann_file='annotations/a.json',
            data_prefix=dict(img='train2017/', seg='maps/'),
            metainfo=dict(classes=('cat', 'dog'), palette=[(1, 2, 3), (4, 5, 6)]),
            filter_cfg=dict(filter_empty_gt=True, min_size=32),
            pipeline=[dict(type='RandomFlip', prob=0.5)],
            backend_args=None,
            indices=10,
            serialize_data=True,
        ),
        dict(
            type='CocoDataset',
            data_root='data/coco/',
            ann_file='annotations/a.json',
            img_prefix='train2017/',
            seg_prefix='maps/',
            classes=('cat', 'dog'),
            palette=[(1, 2, 3), (4, 5, 6)],
            filter_empty_gt=True,
            min_size=32,
            pipeline=[dict(type='RandomFlip', flip_ratio=0.5)],
            file_client_args=None,
            indices=10,
        ),
    ),
    (
        dict(type='CocoDataset', ann_file='a.json', data_prefix=dict(img_path='b/'), test_mode=True),
        dict(type='CocoDataset', ann_file='a.json', img_prefix='b/', test_mode=True, filter_empty_gt=False, min_size=0),
    ),
    (
        dict(
            type='RepeatDataset',
            times=3,
            dataset=dict(
                type='ConcatDataset',
                ignore_keys=['dataset_type'],
                datasets=[
                    dict(
                        type='VOCDataset',
                        ann_file='VOC2007/x.txt',
                        data_prefix=dict(sub_data_root='VOC2007/'),
                        filter_cfg=dict(filter_empty_gt=True, min_size=32, bbox_min_size=8),
                    )
                ],
            ),
        ),
        dict(
            type='RepeatDataset',
            times=3,
            dataset=dict(
                type='ConcatDataset',
                separate_eval=False,
                datasets=[
                    dict(
                        type='VOCDataset',
                        ann_file='VOC2007/x.txt',
                        img_prefix='VOC2007/',
                        filter_empty_gt=True,
                        min_image_size=32,
                        min_size=8,
                    )
                ],
            ),
        ),
    ),
]


@pytest.mark.parametrize(('v3', 'neutral'), V3)
def test_rows_are_read_and_written(v3, neutral):
    assert read_v3(v3, TABLES) == neutral
    assert read_v3(write_v3(neutral, TABLES), TABLES) == neutral


def test_what_2x_leaves_out_is_written_and_read_back():
    neutral = dict(type='XMLDataset', ann_file='a.txt', img_prefix='b', classes='names.txt', max_refetch=7)
    assert write_v3(neutral, TABLES) == dict(
        type='XMLDataset',
        ann_file='a.txt',
        data_prefix=dict(sub_data_root='b'),
        metainfo=dict(classes='names.txt'),
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        max_refetch=7,
    )
    assert read_v3(write_v3(neutral, TABLES), TABLES) == complete(neutral, TABLES)


def test_what_has_no_meaning_is_refused():
    for wrong, reason in (
        (dict(data_prefix=dict(image='b')), "data_prefix has no 'image', expected some of img"),
        (dict(metainfo=dict(names=['a'])), "metainfo has no 'names'"),
        (dict(caption_prompt=dict(cat='a cat')), 'caption_prompt'),
    ):
        with pytest.raises(InvalidValueError, match=reason):
            read_v3(dict(type='CocoDataset', ann_file='a.json', **wrong), TABLES)
    with pytest.raises(InvalidTypeError, match="filter_cfg is 'all', expected a dict"):
        read_v3(dict(type='CocoDataset', filter_cfg='all'), TABLES)
    with pytest.raises(InvalidTypeError, match='one ann_file'):
        write_v3(dict(type='VOCDataset', ann_file=['a', 'b']), TABLES)


def test_messages_show_the_keys_of_the_file():
    cfg = convert(
        {'type': 'CocoDataset', 'metainfo': {'classes': ('cat',)}, 'data_prefix': {'img': 'a/'}},
        'data',
        Origin('a.py', 3),
    )
    neutral = read_v3(cfg, DATASETS)
    assert neutral._locate('classes') == 'data.metainfo.classes at a.py:3'
    assert neutral._locate('img_prefix') == 'data.data_prefix.img at a.py:3'
