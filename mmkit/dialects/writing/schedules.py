"""Schedules in either dialect.

A policy of 2.x applies its warm-up to the value of the policy at each step; schedulers of 3.x change the value that the
step before left. Both give the same rates where all they do is multiply: that is, unless a curve that ends above zero
meets a warm-up. A scheduler's last step has its end value, a policy's one comes one step later, so an `end` of 3.x is
one more than the length of 2.x.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmkit.config import ConfigDict
from mmkit.dialects.writing.notes import Notes
from mmkit.schedules import Curve, Schedule, Segment, curves
from mmkit.schedules.curves import Falling, WarmUp


@dataclass(frozen=True)
class Length:
    """Length of a training: epochs or iterations."""

    number: int
    by_epoch: bool


def length_of(loop: Mapping[str, Any]) -> Length:
    """The length of a recipe's loop."""
    if 'max_epochs' in loop:
        return Length(loop['max_epochs'], by_epoch=True)
    return Length(loop.get('max_iters', 0), by_epoch=False)


# ------------------------------------------------------------------ 3.x


def to_param_scheduler(schedule: Schedule, quantity: str, length: Length, notes: Notes) -> list[ConfigDict]:
    """The schedulers of a schedule of 'lr' or 'momentum'."""
    suffix = 'LR' if quantity == 'lr' else 'Momentum'
    if quantity == 'lr' and _is_yolox(schedule):
        notes.add(
            'param_scheduler: the policy YOLOX is half an iteration ahead of its schedulers: not to the last digit'
        )
        return _yolox_schedulers(schedule, length)
    written = []
    for segment in schedule.segments:
        parts = _scheduler(segment, length) if schedule.recursive else _from_policy(segment, length)
        if parts is None:
            kind = type(segment.curve).__name__
            notes.add(f'param_scheduler cannot say what {quantity} does: {kind} has no scheduler and is left out')
            continue
        kind, arguments = parts
        _note_restarts(segment.curve, 'param_scheduler', notes)
        written.append(ConfigDict(type=f'{kind}{suffix}', **arguments))
    if not schedule.recursive and len(schedule.segments) > 1 and _meets_warm_up(schedule):
        notes.add(
            f'param_scheduler: the warm-up of {quantity} meets a curve that ends above zero: not to the last digit'
        )
    return written


def _note_restarts(curve: Curve, key: str, notes: Notes) -> None:
    """A restart of 2.x weighs what is above the end value, one of 3.x the whole value."""
    if isinstance(curve, curves.CosineRestarts) and set(curve.weights) != {1} and (curve.end or curve.end_ratio):
        notes.add(f'{key}: restarts with weights meet an end value above zero: not to the last digit')


def _is_yolox(schedule: Schedule) -> bool:
    return isinstance(schedule.segments[0].curve if schedule.segments else None, curves.CosineBeforeLastEpochs)


def _yolox_schedulers(schedule: Schedule, length: Length) -> list[ConfigDict]:
    """A warm-up by the square of the steps, half a cosine, and the end value for the last epochs."""
    main, *warm = schedule.segments
    curve = main.curve
    assert isinstance(curve, curves.CosineBeforeLastEpochs)
    span = {'by_epoch': length.by_epoch, **({'convert_to_iter_based': True} if length.by_epoch else {})}
    begin, end = main.begin, length.number - curve.num_last_epochs
    written = [ConfigDict(type='QuadraticWarmupLR', **span, begin=0, end=each.end) for each in warm]
    cosine = ConfigDict(type='CosineAnnealingLR', **span, begin=begin, end=end, T_max=end - begin, **_end(curve))
    flat = {'by_epoch': length.by_epoch, 'begin': end, 'end': length.number}
    return [*written, cosine, ConfigDict(type='ConstantLR', factor=1.0, **flat)]


def _meets_warm_up(schedule: Schedule) -> bool:
    """True if a curve falls to more than zero from the beginning on, where a warm-up may be going on."""
    falling = [
        segment.curve for segment in schedule.segments if isinstance(segment.curve, Falling) and not segment.begin
    ]
    return any((curve.end or curve.end_ratio) and not isinstance(curve, curves.FlatCosine) for curve in falling)


def _scheduler(segment: Segment, length: Length) -> tuple[str, dict[str, Any]] | None:
    """Kind and arguments of a scheduler that is one already."""
    found = _curve(segment.curve)
    if found is None:
        return None
    kind, arguments = found
    if isinstance(segment.curve, curves.Poly) and not segment.curve.arrives:
        return None
    return kind, arguments | _span(segment, segment.end)


def _from_policy(segment: Segment, length: Length) -> tuple[str, dict[str, Any]] | None:
    """Kind and arguments of the scheduler that does what a policy or its warm-up does."""
    curve = segment.curve
    if isinstance(curve, WarmUp):
        return _warm_up(curve, segment)
    if isinstance(curve, curves.Steps) and curve.lowest is not None:
        return None
    is_long = segment.unit == 'iteration' and length.by_epoch  # nobody knows the number of iterations
    span = _span(Segment(curve, 'epoch', stepping='iteration') if is_long else segment, None)
    if isinstance(curve, curves.Cosine):
        return 'CosineAnnealing', {'T_max': length.number, **_end(curve), **span}
    if isinstance(curve, curves.Poly) and curve.end_ratio is None and not is_long:
        return 'Poly', {'power': curve.power, 'eta_min': curve.end, **span, 'end': length.number + 1}
    if isinstance(curve, curves.FlatCosine) and not is_long:
        begin = round(length.number * curve.flat)
        return 'CosineAnnealing', {'T_max': length.number - begin, **_end(curve), **span, 'begin': begin}
    if is_long or isinstance(curve, (curves.Poly, curves.FlatCosine)):
        return None
    found = _curve(curve)
    return None if found is None else (found[0], found[1] | span)


def _warm_up(curve: WarmUp, segment: Segment) -> tuple[str, dict[str, Any]] | None:
    if curve.inverse or segment.unit == 'epoch' or segment.end is None or curve.kind not in ('linear', 'constant'):
        return None
    span = {'by_epoch': False, 'begin': segment.begin, 'end': segment.end + 1}
    if curve.kind == 'linear':
        return 'Linear', {'start_factor': curve.ratio, **span}
    return 'Constant', {'factor': curve.ratio, **span}


def _curve(curve: Curve) -> tuple[str, dict[str, Any]] | None:
    """Kind and arguments of the scheduler with a curve; None if there is none."""
    match curve:
        case curves.Constant():
            return 'Constant', {'factor': curve.factor}
        case curves.Linear():
            return 'Linear', {'start_factor': curve.start, 'end_factor': curve.end}
        case curves.Exponential():
            return 'Exponential', {'gamma': curve.gamma}
        case curves.Steps(milestones=int(size)):
            return 'Step', {'step_size': size, 'gamma': curve.gamma}
        case curves.Steps(milestones=milestones) if not isinstance(milestones, int):
            return 'MultiStep', {'milestones': list(milestones), 'gamma': curve.gamma}
        case curves.Poly(end_ratio=None):
            return 'Poly', {'power': curve.power, 'eta_min': curve.end}
        case curves.Cosine():
            return 'CosineAnnealing', ({'T_max': curve.half_period} if curve.half_period else {}) | _end(curve)
        case curves.CosineRestarts():
            weights = {'periods': list(curve.periods), 'restart_weights': list(curve.weights)}
            return 'CosineRestart', weights | _end(curve)
        case curves.QuadraticWarmUp():
            return 'QuadraticWarmup', {}
        case curves.OneCycle(start=float(start)):
            return 'OneCycle', {
                'eta_max': start * curve.peak,
                'total_steps': curve.total_steps,
                'pct_start': curve.up,
                'anneal_strategy': curve.strategy,
                'div_factor': curve.peak,
                'final_div_factor': 1 / curve.end,
                'three_phase': curve.three_phase,
            }
    return None


def _end(curve: Falling) -> dict[str, Any]:
    return {'eta_min': curve.end} if curve.end_ratio is None else {'eta_min_ratio': curve.end_ratio}


def _span(segment: Segment, end: int | None) -> dict[str, Any]:
    span: dict[str, Any] = {'by_epoch': segment.unit == 'epoch', 'begin': segment.begin}
    if end is not None:
        span['end'] = end
    if segment.unit == 'epoch' and segment.step_unit == 'iteration':
        span['convert_to_iter_based'] = True
    return span


# ------------------------------------------------------------------ 2.x


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
    _note_restarts(main.curve, f'{quantity}_config', notes)
    if main.unit == 'iteration' and length.by_epoch and policy['policy'] not in ('cyclic', 'OneCycle'):
        policy['by_epoch'] = False
    if schedule.recursive and warm is not None and _meets_warm_up(schedule):
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
            found = _curve(curve)
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
