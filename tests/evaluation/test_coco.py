from __future__ import annotations

import json
from typing import Any

import numpy as np
import pycocotools.mask as mask_tools
import pytest

from mmkit.evaluation import coco_eval

ENGINES = ('hotcoco', 'pycocotools')
AP_NAMES = ['bbox_mAP', 'bbox_mAP_50', 'bbox_mAP_75', 'bbox_mAP_s', 'bbox_mAP_m', 'bbox_mAP_l']


def truth(*boxes: tuple[int, int, list[float]], crowd: int = 0) -> dict[str, Any]:
    """Ground truth of images 1 and 2, classes cat (5) and dog (9): (image, category, xywh) each."""
    annotations = [
        dict(id=i + 1, image_id=image, category_id=cat, bbox=bbox, area=bbox[2] * bbox[3], iscrowd=crowd)
        for i, (image, cat, bbox) in enumerate(boxes)
    ]
    return dict(
        images=[dict(id=i, width=200, height=200, file_name=f'{i}.jpg') for i in (1, 2)],
        categories=[dict(id=5, name='cat'), dict(id=9, name='dog')],
        annotations=annotations,
    )


def detected(image: int, cat: int, bbox: list[float], score: float) -> dict[str, Any]:
    return dict(image_id=image, category_id=cat, bbox=bbox, score=score)


@pytest.mark.parametrize('engine', ENGINES)
def test_perfect_boxes(engine: str) -> None:
    gt = truth((1, 5, [10, 10, 20, 20]), (2, 9, [0, 0, 120, 120]))
    values = coco_eval(
        gt, [detected(1, 5, [10, 10, 20, 20], 0.9), detected(2, 9, [0, 0, 120, 120], 0.8)], engine=engine
    )
    assert list(values) == [*AP_NAMES, 'bbox_mAP_copypaste']
    assert values['bbox_mAP'] == pytest.approx(1.0)
    assert values['bbox_mAP_s'] == pytest.approx(1.0)
    assert values['bbox_mAP_m'] == -1  # nothing of that size
    assert values['bbox_mAP_copypaste'] == '1.000 1.000 1.000 1.000 -1.000 1.000'


@pytest.mark.parametrize('engine', ENGINES)
def test_half_overlap_counts_at_low_thresholds_only(engine: str) -> None:
    gt = truth((1, 5, [0, 0, 100, 100]))
    # IoU 0.8: right at 0.5, 0.55 ... 0.75, and at 0.8 itself
    values = coco_eval(gt, [detected(1, 5, [0, 0, 100, 80], 0.9)], engine=engine)
    assert values['bbox_mAP_50'] == pytest.approx(1.0)
    assert values['bbox_mAP_75'] == pytest.approx(1.0)
    assert values['bbox_mAP'] == pytest.approx(0.7)


@pytest.mark.parametrize('engine', ENGINES)
def test_wrong_class_and_classwise(engine: str) -> None:
    gt = truth((1, 5, [0, 0, 50, 50]), (1, 9, [100, 100, 50, 50]))
    dets = [detected(1, 5, [0, 0, 50, 50], 0.9), detected(1, 5, [100, 100, 50, 50], 0.8)]
    values = coco_eval(gt, dets, classwise=True, engine=engine)
    assert values['bbox_mAP/cat'] == pytest.approx(1.0)
    assert values['bbox_mAP/dog'] == 0
    assert values['bbox_mAP'] == pytest.approx(0.5)


@pytest.mark.parametrize('engine', ENGINES)
def test_no_detections_are_zero_not_an_error(engine: str) -> None:
    assert coco_eval(truth((1, 5, [0, 0, 9, 9])), [], engine=engine)['bbox_mAP'] == 0
    assert coco_eval(truth(), [], engine=engine)['bbox_mAP'] == -1


@pytest.mark.parametrize('engine', ENGINES)
def test_proposals_know_no_class(engine: str) -> None:
    gt = truth((1, 9, [0, 0, 50, 50]), (2, 9, [0, 0, 50, 50]))
    values = coco_eval(gt, [detected(1, 1, [0, 0, 50, 50], 0.9)], 'proposal', engine=engine)
    assert list(values) == ['AR@100', 'AR@300', 'AR@1000', 'AR_s@1000', 'AR_m@1000', 'AR_l@1000']
    assert values['AR@100'] == pytest.approx(0.5)
    assert values['AR_s@1000'] == -1


def test_fast_proposals_leave_crowds_out() -> None:
    gt = truth((1, 5, [0, 0, 50, 50]), (1, 9, [100, 100, 50, 50]))
    gt['annotations'][1]['iscrowd'] = 1
    values = coco_eval(gt, [detected(1, 5, [0, 0, 50, 50], 0.9)], 'proposal_fast')
    assert values == {'AR@100': 1.0, 'AR@300': 1.0, 'AR@1000': 1.0}


def test_fast_proposals_count_objects_of_all_categories_as_mmdetection_does() -> None:
    gt = truth((1, 5, [0, 0, 50, 50]), (1, 9, [100, 100, 50, 50]), (2, 9, [0, 0, 50, 50]))
    detections = [detected(1, 5, [0, 0, 50, 50], 0.9), detected(1, 5, [100, 100, 50, 50], 0.8)]
    values = coco_eval(gt, detections, ['proposal_fast'], cat_ids=[5])
    assert values['AR@100'] == pytest.approx(2 / 3)
    assert coco_eval(gt, detections, ['proposal'], cat_ids=[5])['AR@100'] == 1.0


@pytest.mark.parametrize('engine', ENGINES)
def test_masks_are_compared_as_masks(engine: str) -> None:
    gt = truth((1, 5, [0, 0, 40, 40]))
    gt['annotations'][0]['segmentation'] = [[0, 0, 40, 0, 40, 40, 0, 40]]
    upper_half = np.zeros((200, 200), np.uint8, order='F')
    upper_half[:20, :40] = 1
    half = mask_tools.encode(upper_half)
    # the box says it is perfect, the mask covers half: IoU 0.5 exactly
    dets = [dict(detected(1, 5, [0, 0, 40, 40], 0.9), segmentation=half)]
    values = coco_eval(gt, dets, ['bbox', 'segm'], engine=engine)
    assert values['bbox_mAP'] == pytest.approx(1.0)
    assert values['segm_mAP'] == pytest.approx(0.1)
    assert values['segm_mAP_75'] == 0


def test_thresholds_items_and_numbers() -> None:
    gt = truth((1, 5, [0, 0, 100, 100]))
    dets = [detected(1, 5, [0, 0, 100, 80], 0.9)]
    values = coco_eval(gt, dets, iou_thrs=[0.5, 0.9], metric_items=['mAP', 'AR@5'], proposal_nums=(1, 5, 100))
    assert values['bbox_mAP'] == pytest.approx(0.5)
    assert values['bbox_AR@5'] == pytest.approx(0.5)
    assert 'bbox_mAP_50' not in values
    assert coco_eval(gt, dets, proposal_nums=(1, 10))['bbox_mAP'] == -1  # mAP is that of 100 detections


def test_only_some_classes_and_images_count() -> None:
    gt = truth((1, 5, [0, 0, 50, 50]), (2, 9, [0, 0, 50, 50]))
    dets = [detected(1, 5, [0, 0, 50, 50], 0.9)]
    assert coco_eval(gt, dets)['bbox_mAP'] == pytest.approx(0.5)
    assert coco_eval(gt, dets, cat_ids=[5])['bbox_mAP'] == pytest.approx(1.0)
    assert coco_eval(gt, dets, img_ids=[2])['bbox_mAP'] == pytest.approx(0.0)


def test_annotation_file(tmp_path: Any) -> None:
    path = tmp_path / 'gt.json'
    path.write_text(json.dumps(truth((1, 5, [0, 0, 50, 50]))))
    assert coco_eval(path, [detected(1, 5, [0, 0, 50, 50], 0.9)])['bbox_mAP'] == pytest.approx(1.0)


def test_both_engines_agree_on_random_detections() -> None:
    rng = np.random.default_rng(0)
    boxes = [(int(i), int(c), [*rng.uniform(0, 100, 2), *rng.uniform(5, 100, 2)]) for i, c in
             zip(rng.integers(1, 3, 40), rng.choice([5, 9], 40))]  # fmt: skip
    gt = truth(*boxes)
    dets = []
    for image, cat, box in boxes * 2:
        moved = [value + float(noise) for value, noise in zip(box, rng.normal(0, 4, 4))]
        dets.append(detected(image, cat, moved, round(rng.random(), 1)))
    first, second = (coco_eval(gt, dets, ['bbox', 'proposal'], classwise=True, engine=engine) for engine in ENGINES)
    assert first.keys() == second.keys()
    for key in first.keys() - {'bbox_mAP_copypaste'}:
        assert first[key] == pytest.approx(second[key], abs=1e-9), key


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (dict(metrics='bocks'), "unknown metric 'bocks'"),
        (dict(metric_items=['mAP_99']), "unknown metric item 'mAP_99'"),
        (dict(engine='mine'), "unknown engine 'mine'"),
    ],
)
def test_unknown_names(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        coco_eval(truth((1, 5, [0, 0, 9, 9])), [], **arguments)
