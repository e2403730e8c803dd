from __future__ import annotations

import numpy as np
import pytest

from mmkit.evaluation import Boxes
from mmkit.evaluation.crowd import crowd_eval, jaccard_index, log_average_miss_rate, match

LEFT, RIGHT, FAR = [0, 0, 10, 10], [6, 0, 16, 10], [100, 100, 110, 110]


def found(*boxes, scores=None):
    scores = np.linspace(0.9, 0.5, len(boxes)) if scores is None else np.array(scores)
    return Boxes(np.array(boxes, np.float32).reshape(-1, 4), np.zeros(len(boxes), int), scores=scores)


def people(*boxes, ignored=()):
    everything = np.array([*boxes, *ignored], np.float32).reshape(-1, 4)
    flags = np.arange(len(everything)) >= len(boxes)
    return Boxes(everything, np.zeros(len(everything), int), ignored=flags)


def test_each_detection_takes_the_best_object_that_is_left():
    truth = people(LEFT, RIGHT)
    assert match(found(LEFT, LEFT, RIGHT), truth, 0.5).tolist() == [1, 0, 1]
    near = [1, 0, 11, 10]
    assert match(found(near, LEFT, scores=[0.5, 0.9]), truth, 0.5).tolist() == [1, 0]  # best first
    assert match(found(), truth, 0.5).tolist() == [] and match(found(LEFT), people(), 0.5).tolist() == [0]


def test_ignored_regions_excuse():
    truth = people(LEFT, ignored=[[90, 90, 200, 200], LEFT])
    # An object counts although it is in a region, a second one there is excused.
    assert match(found(LEFT, FAR, LEFT, [0, 0, 40, 40]), truth, 0.5).tolist() == [1, -1, -1, 0]


def test_miss_rates_are_read_where_false_detections_reach_a_reference():
    rates = log_average_miss_rate(np.array([0.8, 0.4, 0.2]), np.array([0, 0.5, 0.5]), np.array([0.01, 0.5, 1]))
    assert rates == pytest.approx((0.4 * 0.4 * 0.2) ** (1 / 3))
    assert log_average_miss_rate(np.zeros(0), np.zeros(0), np.array([0.01])) == 1


def test_figures_by_hand():
    detections, truth = [found(LEFT, FAR), found(RIGHT)], [people(LEFT, RIGHT), people(RIGHT)]
    figures = crowd_eval(detections, truth)
    # By score: right 0.9, right 0.9, wrong 0.5; precision 1, 1, 2/3 at recall 1/3, 2/3, 2/3.
    assert figures['mAP'] == pytest.approx(1 / 3)
    assert figures['mMR'] == pytest.approx(1 / 3)
    # Without the false one: 1 of 2 people in the first image, all in the second.
    assert figures['JI'] == pytest.approx((1 / 2 + 1) / 2)
    perfect = crowd_eval([found(LEFT, RIGHT), found(RIGHT)], truth)
    assert perfect['mAP'] == pytest.approx(2 / 3) and perfect['JI'] == 1 and perfect['mMR'] < 1e-9
    nothing = crowd_eval([found(), found()], truth)
    assert nothing == dict(mAP=0, mMR=1, JI=0)


def test_the_largest_matching_counts():
    wide = [0, 0, 13, 10]  # overlaps both, the left one more
    truth = people(LEFT, wide)
    assert jaccard_index([found([0, 0, 12, 10], LEFT)], [truth], 0.5) == 1
    assert jaccard_index([found(FAR)], [people(ignored=[[90, 90, 200, 200]])], 0.5) == 1
    assert jaccard_index([], [], 0.5) == 0
