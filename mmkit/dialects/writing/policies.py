"""A schedule as a policy of 2.x and its warm-up."""

from __future__ import annotations

from typing import Any

from mmkit.config import ConfigDict
from mmkit.dialects.writing.notes import Notes
from mmkit.dialects.writing.schedulers import curve_arguments
from mmkit.dialects.writing.schedules import Length, meets_warm_up, note_restarts
from mmkit.schedules import Schedule, Segment, curves
from mmkit.schedules.curves import Falling, WarmUp


def to_policy(schedule: Schedule, quantity: str, length: Length, notes: Notes) -> ConfigDict | None:
    """`lr_config` or `momentum_config` of a schedule; None leaves the value constant."""
    segments = list(schedule.segments)
    if quantity == 'lr' and isinstance(segments[0].curve if segments else None, curves.QuadraticWarmUp):
        return _yolox_policy(schedule, length, notes)
    index = _index_of_warm_up(segments)
    warm = None if index is None else segments.pop(index)
    main = segments[0] if segments else Segment(curves.Constant())
    policy = _policy(main, length, quantity) if len(segments) <= 1 else None
    warm_up = {} if warm is None else _warm_up_keys(warm)
    if policy is None or warm_up is None:
        kinds = ', '.join(type(segment.curve).__name__ for segment in schedule.segments)
        notes.add(f'{quantity}_config cannot say what {quantity} does: {kinds} are no policy and are left out')
        return None
    note_restarts(main.curve, f'{quantity}_config', notes)
    if main.unit == 'iteration' and length.by_epoch and policy['policy'] not in ('cyclic', 'OneCycle'):
        policy['by_epoch'] = False
    if schedule.recursive and warm is not None and meets_warm_up(schedule):
        notes.add(f'{quantity}_config: the warm-up meets a curve that ends above zero: not to the last digit')
    return ConfigDict(policy | warm_up)


def _yolox_policy(schedule: Schedule, length: Length, notes: Notes) -> ConfigDict:
    """The policy YOLOX for the schedulers of 3.x's configs of YOLOX: see `_yolox_schedulers`."""
    notes.add('lr_config: the policy YOLOX is half an iteration ahead of the schedulers: not to the last digit')
    warm = schedule.segments[0]
    cosine = next(segment for segment in schedule.segments if isinstance(segment.curve, curves.Cosine))
    assert isinstance(cosine.curve, curves.Cosine)
    last = length.number - (cosine.end or length.number)
    keys = {'policy': 'YOLOX', 'num_last_epochs': last, **_least(cosine.curve, 'min_lr')}
    if cosine.step_unit == 'iteration':
        keys['by_epoch'] = False
    return ConfigDict(keys | {'warmup': 'exp', 'warmup_iters': warm.end, 'warmup_ratio': 1, 'warmup_by_epoch': True})


def _index_of_warm_up(segments: list[Segment]) -> int | None:
    for index, segment in enumerate(segments):
        curve = segment.curve
        rises = isinstance(curve, curves.Linear) and curve.end == 1.0
        if isinstance(curve, WarmUp) or ((rises or isinstance(curve, curves.Constant)) and segment.end is not None):
            return index
    return None


def _warm_up_keys(segment: Segment) -> dict[str, Any] | None:
    curve = segment.curve
    if isinstance(curve, WarmUp):
        kind = 'exp' if curve.kind == 'square' else curve.kind
        keys = {'warmup': kind, 'warmup_iters': segment.end, 'warmup_ratio': curve.ratio}
        return keys | ({'warmup_by_epoch': True} if segment.unit == 'epoch' else {})
    if segment.unit == 'epoch' or segment.begin or segment.end is None or segment.end < 2:
        return None
    kind = 'linear' if isinstance(curve, curves.Linear) else 'constant'
    ratio = curve.start if isinstance(curve, curves.Linear) else curve.shape(curves.Position(0, 2))
    return {'warmup': kind, 'warmup_iters': segment.end - 1, 'warmup_ratio': ratio}


def _policy(segment: Segment, length: Length, quantity: str) -> dict[str, Any] | None:
    """The policy that a segment is, without its warm-up."""
    curve, begin = segment.curve, segment.begin
    least = f'min_{quantity}'
    in_unit = length if (segment.unit == 'epoch') == length.by_epoch else None
    whole = segment.end is None or (in_unit is not None and segment.end >= in_unit.number)
    match curve:
        case curves.Constant(factor=1.0):
            return {'policy': 'fixed'}
        case curves.Steps(milestones=milestones):
            if isinstance(milestones, int):
                if begin or not whole:
                    return None
                step: int | list[int] = milestones
            else:  # nothing changes after the end
                step = [begin + each for each in milestones if segment.end is None or begin + each < segment.end]
            lowest = {} if curve.lowest is None else {least: curve.lowest}
            return {'policy': 'step', 'step': step, 'gamma': curve.gamma, **lowest}
        case curves.Exponential() if whole and not begin:
            return {'policy': 'exp', 'gamma': curve.gamma}
        case curves.Inverse():
            return {'policy': 'inv', 'gamma': curve.gamma, 'power': curve.power}
        case curves.Cosine(half_period=half):
            return _cosine_policy(segment, curve, half, in_unit, least)
        case curves.FlatCosine():
            return {'policy': 'FlatCosineAnnealing', 'start_percent': curve.flat, **_least(curve, least)}
        case curves.CosineBeforeLastEpochs():
            return {'policy': 'YOLOX', 'num_last_epochs': curve.num_last_epochs, **_least(curve, least)}
        case curves.CosineRestarts() if not begin:
            periods = {'periods': list(curve.periods), 'restart_weights': list(curve.weights)}
            return {'policy': 'CosineRestart', **periods, **_least(curve, least)}
        case curves.Poly() if not begin:
            is_exact = not curve.arrives or (in_unit is not None and segment.end == in_unit.number + 1)
            if not is_exact:
                return None
            if curve.power == 1:
                return {'policy': 'LinearAnnealing', **_least(curve, least)}
            if quantity == 'lr' and curve.end_ratio is None:
                return {'policy': 'poly', 'power': curve.power, least: curve.end}
        case curves.Cyclic():
            return {
                'policy': 'cyclic',
                'target_ratio': (curve.high, curve.low),
                'cyclic_times': curve.cycles,
                'step_ratio_up': curve.up,
                'anneal_strategy': curve.strategy,
                'gamma': curve.gamma,
            }
        case curves.OneCycle(start=float()) if quantity == 'lr':
            found = curve_arguments(curve)
            assert found is not None
            arguments = found[1]
            return {'policy': 'OneCycle', 'max_lr': arguments.pop('eta_max'), **arguments}
    return None


def _cosine_policy(
    segment: Segment, curve: curves.Cosine, half: int | None, length: Length | None, least: str
) -> dict[str, Any] | None:
    begin = segment.begin
    if half is None and not begin and segment.end is None:
        return {'policy': 'CosineAnnealing', **_least(curve, least)}
    if length is None or (half or length.number - begin) != length.number - begin:
        return None
    unit = {'by_epoch': False} if segment.step_unit != segment.unit else {}  # of a training that counts epochs
    if not begin:
        return {'policy': 'CosineAnnealing', **unit, **_least(curve, least)}
    return {'policy': 'FlatCosineAnnealing', 'start_percent': begin / length.number, **unit, **_least(curve, least)}


def _least(curve: Falling, name: str) -> dict[str, Any]:
    return {name: curve.end} if curve.end_ratio is None else {f'{name}_ratio': curve.end_ratio}
