from __future__ import annotations

import numpy as np
import pytest
import torch

from mmkit.structures import BitmapMasks, ClassScores, Instances
from mmkit.visualization import draw_class, draw_detections, make_palette

RED = (0, 0, 255)


def one(score: float | None = 0.9, masks: BitmapMasks | None = None) -> Instances:
    return Instances(
        bboxes=torch.tensor([[20.0, 40, 80, 90]]),
        labels=torch.tensor([0]),
        scores=None if score is None else torch.tensor([score]),
        masks=masks,
    )


def test_box_and_label_are_drawn_on_a_copy() -> None:
    image = np.zeros((100, 120, 3), np.uint8)
    drawn = draw_detections(image, one(), ['cell'], palette=[RED])
    assert not image.any()
    assert tuple(drawn[90, 50]) == RED  # lower edge
    assert not drawn[70, 50].any()  # inside
    assert drawn[30:40, 22:60].any()  # the name above


def test_weak_detections_are_left_out_ground_truth_is_not() -> None:
    image = np.zeros((100, 120, 3), np.uint8)
    assert not draw_detections(image, one(0.2)).any()
    assert draw_detections(image, one(0.2), score_thr=0.1).any()
    assert draw_detections(image, one(None)).any()


def test_masks_are_blended() -> None:
    mask = np.zeros((1, 100, 120), np.uint8)
    mask[0, 50:80, 30:70] = 1
    image = np.full((100, 120, 3), 100, np.uint8)
    drawn = draw_detections(image, one(masks=BitmapMasks(mask, 100, 120)), palette=[RED], mask_alpha=0.5)
    assert tuple(drawn[65, 50]) == (50, 50, 177)
    with pytest.raises(ValueError, match='mask'):
        draw_detections(image[:50], one(masks=BitmapMasks(mask, 100, 120)))


def test_nothing_to_draw() -> None:
    image = np.full((30, 30, 3), 7, np.uint8)
    assert (draw_detections(image, Instances.empty(), ['cell']) == 7).all()


@pytest.mark.parametrize('shape', [(30, 30), (30, 30, 4)])
def test_other_images_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r'\(H, W, 3\) uint8'):
        draw_detections(np.zeros(shape, np.uint8), Instances.empty())


def test_a_class_keeps_its_colour() -> None:
    assert make_palette(80)[:3] == make_palette(3)
    assert len(set(make_palette(80))) == 80


def test_the_best_class_is_written_into_the_corner() -> None:
    image = np.zeros((100, 120, 3), np.uint8)
    scores = ClassScores(torch.tensor([0.2, 0.8]))
    drawn = draw_class(image, scores, ['cat', 'dog'], palette=[(0, 255, 0), RED])
    assert not image.any() and not drawn[50:].any()
    assert tuple(drawn[0, 0]) == RED
    assert not np.array_equal(drawn, draw_class(image, scores, ['cat', 'ox'], palette=[(0, 255, 0), RED]))
    with pytest.raises(ValueError, match='uint8'):
        draw_class(image.astype(np.float32), scores)
