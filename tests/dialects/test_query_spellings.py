"""Costs of matching, a list in 3.x and three arguments in 2.x."""

import pytest

from mmkit.dialects.spellings import MODELS, read_v3, write_v3
from mmkit.errors import InvalidValueError

CLS, REG, IOU = dict(type='FocalLossCost', weight=2.0), dict(type='BBoxL1Cost', weight=5.0), dict(type='IoUCost')


def matcher(**arguments):
    return dict(type='HungarianAssigner', **arguments)


def test_a_list_of_costs_is_read_and_written():
    neutral = matcher(cls_cost=CLS, reg_cost=REG, iou_cost=IOU)
    assert read_v3(matcher(match_costs=[IOU, CLS, REG]), MODELS) == neutral
    assert write_v3(neutral, MODELS) == matcher(match_costs=[CLS, REG, IOU])


def test_a_cost_that_is_not_in_the_list_weighs_nothing():
    neutral = read_v3(matcher(match_costs=CLS), MODELS)
    assert neutral['cls_cost'] == CLS and neutral['reg_cost']['weight'] == neutral['iou_cost']['weight'] == 0
    assert write_v3(neutral, MODELS) == matcher(match_costs=[CLS])
    assert read_v3(matcher(), MODELS) == write_v3(matcher(), MODELS) == matcher()


@pytest.mark.parametrize('costs', [[dict(type='DiceCost')], [CLS, dict(type='ClassificationCost')]])
def test_costs_without_a_place_are_named(costs):
    with pytest.raises(InvalidValueError, match=f"match_costs: expected one of a class.*got '{costs[-1]['type']}'"):
        read_v3(matcher(match_costs=costs), MODELS)
