"""Spellings of parts of detectors with queries."""

from __future__ import annotations

from collections.abc import Mapping

from mmkit.config import ConfigDict
from mmkit.config.config_dict import convert
from mmkit.dialects.spellings.spelling import Spelling
from mmkit.errors import InvalidValueError
from mmkit.utils.names import unscoped

# The argument of the neutral `HungarianAssigner`, by the type of the cost.
_PLACES = dict(ClassificationCost='cls_cost', FocalLossCost='cls_cost', BBoxL1Cost='reg_cost', IoUCost='iou_cost')
_NONE = dict(cls_cost='ClassificationCost', reg_cost='BBoxL1Cost', iou_cost='IoUCost')  # types, with the weight 0


def _by_place(assigner: ConfigDict) -> ConfigDict:
    """`match_costs` as three arguments; a cost that is not in the list weighs nothing."""
    costs = assigner.pop('match_costs', None)
    if costs is None:
        return assigner
    path, origin = assigner._path_of('match_costs'), assigner._origins.get('match_costs')
    for cost in [costs] if isinstance(costs, Mapping) else costs:
        place = _PLACES.get(unscoped(str(cost.get('type'))))
        if place is None or place in assigner:
            expected = 'one of a class, one of boxes and one of their overlap'
            raise InvalidValueError(f'match_costs: expected {expected}, got {cost.get("type")!r}', path, origin)
        assigner._put(place, cost, origin)
    for place, kind in _NONE.items():
        if place not in assigner:
            assigner._put(place, convert(dict(type=kind, weight=0.0), assigner._path_of(place)), None)
    return assigner


def _as_list(assigner: ConfigDict) -> ConfigDict:
    """The three arguments as `match_costs`."""
    costs = [assigner.pop(place) for place in _NONE if place in assigner]
    if costs:
        assigner._put('match_costs', [cost for cost in costs if cost.get('weight') != 0], None)
    return assigner


QUERIES: Mapping[str, Spelling] = {'HungarianAssigner': Spelling(refine=_by_place, restore=_as_list)}
