from __future__ import annotations

import numpy as np
import pytest

from mmkit.evaluation import Boxes, recall_values, voc_eval
from mmkit.evaluation.voc import average_precision, class_ap


def boxes(*rows: list[float], scores: list[float] | None = None, ignored: list[bool] | None = None) -> Boxes:
    """Of class 0."""
    return Boxes(
        bboxes=np.array(rows, np.float32).reshape(-1, 4),
        labels=np.zeros(len(rows), np.int64),
        scores=None if scores is None else np.array(scores),
        ignored=None if ignored is None else np.array(ignored, bool),
    )


A, B = [0.0, 0, 20, 20], [40.0, 40, 60, 60]
NOWHERE = [80.0, 80, 90, 90]


def test_average_precision_by_hand() -> None:
    # right, wrong, right of two objects
    recall, precision = np.array([0.5, 0.5, 1.0]), np.array([1.0, 0.5, 2 / 3])
    assert average_precision(recall, precision) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    # points 0 ... 0.5 see precision 1, points 0.6 ... 1 see 2/3
    assert average_precision(recall, precision, '11points') == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)
    assert average_precision(np.zeros(0), np.zeros(0)) == 0
    with pytest.raises(ValueError, match='area, 11points'):
        average_precision(recall, precision, '12points')


def test_right_wrong_right() -> None:
    values = voc_eval([boxes(A, NOWHERE, B, scores=[0.9, 0.8, 0.7])], [boxes(A, B)], ['thing'])
    assert values == {'mAP': pytest.approx(5 / 6), 'AP50': pytest.approx(5 / 6)}


def test_an_object_is_found_once() -> None:
    counted = class_ap([boxes(A, A, scores=[0.9, 0.8])], [boxes(A)], 0)
    np.testing.assert_allclose(counted.precision, [1.0, 0.5])
    np.testing.assert_allclose(counted.recall, [1.0, 1.0])


def test_difficult_objects_neither_count_nor_punish() -> None:
    values = voc_eval([boxes(A, B, scores=[0.9, 0.8])], [boxes(A, B, ignored=[False, True])], ['thing'])
    assert values['mAP'] == 1.0
    values = voc_eval([boxes(A, scores=[0.9])], [boxes(A, B, ignored=[False, True])], ['thing'])
    assert values['mAP'] == 1.0


def test_several_thresholds() -> None:
    shifted = [0.0, 0, 20, 14]  # IoU 0.7 with A
    values = voc_eval([boxes(shifted, scores=[0.9])], [boxes(A)], ['thing'], iou_thr=[0.5, 0.75])
    assert values == {'mAP': 0.5, 'AP50': 1.0, 'AP75': 0.0}


def test_ranges_of_size() -> None:
    big = [0.0, 0, 100, 100]
    values = voc_eval([boxes(A, scores=[0.9])], [boxes(A, big)], ['thing'], scale_ranges=[(0, 32), (32, 1000)])
    assert values == {'mAP': 0.5, 'AP50': 0.5, 'AP50_0_32': 1.0, 'AP50_32_1000': 0.0}


def test_classes_without_objects_do_not_count() -> None:
    assert voc_eval([boxes(A, scores=[0.9])], [boxes(A)], ['thing', 'other'])['mAP'] == 1.0
    assert voc_eval([boxes(scores=[])], [boxes()], ['thing'])['mAP'] == 0.0


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match='1 images, ground truth of 0'):
        voc_eval([boxes(A, scores=[0.9])], [], ['thing'])
    with pytest.raises(ValueError, match="unknown mode 'voc07'"):
        voc_eval([], [], ['thing'], mode='voc07')


def test_recall_names() -> None:
    gts, proposals = [np.array([A, B])], [np.array([[*A, 0.9]])]
    assert recall_values(gts, proposals, (10,), 0.5) == {'recall@10@0.5': 0.5}
    assert recall_values(gts, proposals, (10,), (0.5, 0.75)) == {
        'recall@10@0.5': 0.5,
        'recall@10@0.75': 0.5,
        'AR@10': 0.5,
    }
