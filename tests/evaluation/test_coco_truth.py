from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mmkit.errors import UserError
from mmkit.evaluation import DetectionTruth, coco_truth
from mmkit.evaluation.coco_truth import as_flag, id_order, usable_segmentation

TRIANGLE = [0, 0, 9, 0, 9, 9]


@pytest.mark.parametrize('value', [1, 1.0, True, '1', ' True '])
def test_what_counts_as_true(value: Any) -> None:
    assert as_flag(value) is True


@pytest.mark.parametrize('value', [0, 0.0, False, None, '0', 'false', ''])
def test_what_counts_as_false(value: Any) -> None:
    assert as_flag(value) is False


@pytest.mark.parametrize('value', ['many', [1], {}])
def test_what_is_neither(value: Any) -> None:
    with pytest.raises(UserError, match='expected 0 or 1, got'):
        as_flag(value)


@pytest.mark.parametrize(
    ('ids', 'order'),
    [([3, -1, 2.5], [1, 2, 0]), (['b', 'a', '10'], [2, 1, 0]), (['b', 2, 10], [2, 1, 0]), ([], [])],
)
def test_the_order_of_ids(ids: list[Any], order: list[int]) -> None:
    assert id_order(ids) == order


@pytest.mark.parametrize(
    ('segmentation', 'usable'),
    [
        ([TRIANGLE], [TRIANGLE]),
        ([TRIANGLE, [1, 2, 3, 4]], [TRIANGLE]),  # two points are no polygon, four numbers no box
        ([[*TRIANGLE, 5]], [TRIANGLE]),
        ([[*TRIANGLE[:5], float('inf')]], None),
        ({'size': [9, 8], 'counts': 'abc'}, {'size': [9, 8], 'counts': 'abc'}),
        ({'size': [8, 9], 'counts': 'abc'}, None),
        ({'counts': 'abc'}, None),
        ({'size': [9, 8], 'counts': []}, None),
        ('polygon', None),
        (None, None),
    ],
)
def test_usable_segmentations(segmentation: Any, usable: Any) -> None:
    assert usable_segmentation(segmentation, 9, 8) == usable


def content() -> dict[str, Any]:
    """Two images, the first one last; three objects of the categories 7 and 3."""
    return dict(
        images=[dict(id='b', width=8, height=9), dict(id='a', width=6, height=5)],
        categories=[dict(id=7, name='cat'), dict(id=3, name=5)],
        annotations=[
            dict(image_id='a', category_id=3, bbox=[1, 2, 3, 4], iscrowd=1),
            dict(image_id='b', category_id=7, bbox=[0, 0, 2, 2], area=3, ignore=True),
            dict(image_id='a', category_id=7, bbox=[1, 1, 1, 1], segmentation=[TRIANGLE]),
        ],
    )


def test_objects_come_image_by_image() -> None:
    truth = coco_truth(content())
    assert truth.img_ids == ['b', 'a'] and truth.positions == {'b': 0, 'a': 1} and len(truth) == 2
    assert truth.classes == ('cat', '5') and truth.cat_ids == [7, 3]
    assert truth.sizes.tolist() == [[9, 8], [5, 6]]
    assert truth.images.tolist() == [0, 1, 1] and truth.labels.tolist() == [0, 1, 0]
    assert truth.areas.tolist() == [3, 12, 1]
    assert truth.is_crowd.tolist() == [False, True, False] and truth.is_ignored.tolist() == [True, True, False]
    assert truth.segmentations == [None, None, [TRIANGLE]]
    first, second = truth.boxes()
    assert first.bboxes.tolist() == [[0, 0, 2, 2]]
    assert second.bboxes.tolist() == [[1, 2, 4, 6], [1, 1, 2, 2]] and second.ignored is not None
    assert second.ignored.tolist() == [True, False]


def test_chosen_categories_and_images() -> None:
    truth = coco_truth(content(), cat_ids=[3], img_ids=['a'], classes=('five',))
    assert truth.classes == ('five',) and truth.labels.tolist() == [0] and truth.images.tolist() == [0]
    assert truth.segmentations is None


def test_one_after_the_other() -> None:
    truth = DetectionTruth.cat([coco_truth(content()), coco_truth(content(), cat_ids=[3, 7], img_ids=['a'])])
    assert len(truth) == 3 and truth.images.tolist() == [0, 1, 1, 2, 2] and truth.labels.tolist() == [0, 1, 0, 0, 1]
    assert truth.segmentations == [None, None, [TRIANGLE], None, [TRIANGLE]]
    assert [len(boxes.labels) for boxes in truth.boxes()] == [1, 2, 2]
    assert truth.bboxes.shape == (5, 4) and truth.bboxes.dtype == np.float64
