"""A schedule as schedulers of 3.x."""

from __future__ import annotations

from typing import Any

from mmkit.config import ConfigDict
from mmkit.dialects.writing.notes import Notes
from mmkit.dialects.writing.schedules import Length, meets_warm_up, note_restarts
from mmkit.schedules import Curve, Schedule, Segment, curves
from mmkit.schedules.curves import Falling, WarmUp


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
        parts = _scheduler(segment) if schedule.recursive else _from_policy(segment, length)
        if parts is None:
            kind = type(segment.curve).__name__
            notes.add(f'param_scheduler cannot say what {quantity} does: {kind} has no scheduler and is left out')
            continue
        kind, arguments = parts
        note_restarts(segment.curve, 'param_scheduler', notes)
        written.append(ConfigDict(type=f'{kind}{suffix}', **arguments))
    if not schedule.recursive and len(schedule.segments) > 1 and meets_warm_up(schedule):
        notes.add(
            f'param_scheduler: the warm-up of {quantity} meets a curve that ends above zero: not to the last digit'
        )
    return written


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


def _scheduler(segment: Segment) -> tuple[str, dict[str, Any]] | None:
    """Kind and arguments of a scheduler that is one already."""
    found = curve_arguments(segment.curve)
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
    if isinstance(curve, curves.FlatCosine):
        begin = round(length.number * curve.flat)
        if is_long and begin != length.number * curve.flat:
            return None
        return 'CosineAnnealing', {'T_max': length.number - begin, **_end(curve), **span, 'begin': begin}
    if isinstance(curve, curves.Poly):
        if is_long or curve.end_ratio is not None:
            return None
        return 'Poly', {'power': curve.power, 'eta_min': curve.end, **span, 'end': length.number + 1}
    found = curve_arguments(curve)
    return None if found is None else (found[0], found[1] | _span(segment, None))


def _warm_up(curve: WarmUp, segment: Segment) -> tuple[str, dict[str, Any]] | None:
    if curve.inverse or segment.unit == 'epoch' or segment.end is None or curve.kind not in ('linear', 'constant'):
        return None
    span = {'by_epoch': False, 'begin': segment.begin, 'end': segment.end + 1}
    if curve.kind == 'linear':
        return 'Linear', {'start_factor': curve.ratio, **span}
    return 'Constant', {'factor': curve.ratio, **span}


def curve_arguments(curve: Curve) -> tuple[str, dict[str, Any]] | None:
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
