"""Schedules of 3.x's dialect: `param_scheduler`, a list of segments for learning rate, momentum and others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from mmkit.dialects.lr_config import check_share, cosine_restarts
from mmkit.dialects.lr_config import one_cycle as one_cycle_2x
from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.registry import Registry, located
from mmkit.schedules import Clock, Curve, Schedule, Segment, Unit, curves, values_along
from mmkit.utils.logging import warn_once
from mmkit.utils.names import unscoped

PARAM_SCHEDULERS: Registry[Curve] = Registry('parameter scheduler')
Configs = Mapping[str, Any] | Sequence[Mapping[str, Any]]

_QUANTITIES = {'LR': 'lr', 'Momentum': 'momentum', 'ParamScheduler': None}
_SEGMENT_KEYS = ('begin', 'end', 'by_epoch', 'convert_to_iter_based', 'param_name', 'last_step', 'verbose')


def read_param_scheduler(param_scheduler: Configs) -> dict[str, Schedule]:
    """The schedules of a `param_scheduler`, by what they change: 'lr', 'momentum' or another `param_name`.

    Args:
        param_scheduler: a list of dicts with `type`, such as 'LinearLR', 'LinearMomentum' or 'LinearParamScheduler',
            its arguments, and begin, end, by_epoch (True) and convert_to_iter_based; or one such dict.

    Raises:
        UserError: for an unknown type or argument, or a value that makes no sense.
    """
    configs = [param_scheduler] if isinstance(param_scheduler, Mapping) else param_scheduler
    segments: dict[str, list[Segment]] = defaultdict(list)
    for cfg in configs:
        with located(cfg, 'type'):
            quantity, segment = _read(cfg)
            segments[quantity].append(segment)
    # Those that count iterations act first at the end of an epoch.
    ordered = {name: sorted(each, key=lambda segment: segment.step_unit == 'epoch') for name, each in segments.items()}
    return {name: Schedule(tuple(each), recursive=True) for name, each in ordered.items()}


def _read(cfg: Mapping[str, Any]) -> tuple[str, Segment]:
    kind = unscoped(str(cfg.get('type')))
    suffix = next((suffix for suffix in _QUANTITIES if kind.endswith(suffix)), None)
    curve = PARAM_SCHEDULERS.build({key: value for key, value in cfg.items() if key not in _SEGMENT_KEYS})
    quantity = (_QUANTITIES[suffix] if suffix else None) or cfg.get('param_name')
    if not isinstance(quantity, str):
        raise InvalidTypeError(f"{kind} needs param_name, such as 'lr' or 'weight_decay'", key='param_name')
    if cfg.get('last_step', -1) != -1:
        raise InvalidValueError('last_step is not supported: a resumed training knows its step', key='last_step')
    if cfg.get('verbose'):
        warn_once('param_scheduler: verbose has no effect, the log has the learning rate')
    by_epoch, begin, end = cfg.get('by_epoch', True), cfg.get('begin', 0), cfg.get('end')
    if end is not None and end <= begin:
        raise InvalidValueError(f'end is {end}, expected more than begin, which is {begin}', key='end')
    in_iterations = cfg.get('convert_to_iter_based', False)
    if in_iterations and not by_epoch:
        raise InvalidValueError(
            'convert_to_iter_based=True turns epochs into iterations, which by_epoch=False has already',
            key='convert_to_iter_based',
        )
    unit: Unit = 'epoch' if by_epoch else 'iteration'
    return quantity, Segment(curve, unit, begin, end, 'iteration' if in_iterations else unit)


def param_curve(
    param_scheduler: Configs,
    base_lrs: Sequence[float],
    max_epochs: int | None,
    max_iters: int | None,
    iters_per_epoch: int,
    at: Sequence[int] | None = None,
    quantity: str = 'lr',
) -> list[list[float]]:
    """The learning rate of each parameter group in the course of a training.

    Args:
        param_scheduler: as in a config file of 3.x.
        base_lrs: the optimizer's value of each parameter group.
        max_epochs: of a training that counts epochs, otherwise None.
        max_iters: of one that counts iterations, otherwise None; its epochs never end, as in mmengine, so segments by
            epoch stay at their first step.
        iters_per_epoch: batches of the loader.
        at: iterations, from 0; None: all.
        quantity: 'lr', 'momentum' or another `param_name`.

    Returns:
        A row of len(base_lrs) numbers for each iteration.
    """
    if (max_epochs is None) == (max_iters is None):
        raise ValueError(f'give either max_epochs or max_iters, got {max_epochs} and {max_iters}')
    if max_epochs is not None:
        length = Clock(0, 0, max_epochs, max_epochs * iters_per_epoch, iters_per_epoch)
    else:
        length = Clock(0, 0, 1, max_iters or 0, iters_per_epoch)
    schedule = read_param_scheduler(param_scheduler).get(quantity, Schedule(()))
    return values_along(schedule, base_lrs, length, at)


# ---------------------------------------------------------------------- schedulers


def _register(kind: str) -> Callable[[Callable[..., Curve]], Callable[..., Curve]]:
    """Under the names for the learning rate, the momentum and any other parameter."""
    names = [f'{kind}{suffix}' for suffix in _QUANTITIES]
    register: Callable[[Callable[..., Curve]], Callable[..., Curve]] = PARAM_SCHEDULERS.register_module(name=names)
    return register


def _end(eta_min: float | None, eta_min_ratio: float | None) -> dict[str, Any]:
    if eta_min is not None and eta_min_ratio is not None:
        raise InvalidValueError('give either eta_min or eta_min_ratio, not both', key='eta_min')
    return {'end': eta_min or 0.0, 'end_ratio': eta_min_ratio}


@_register('Constant')
def constant(factor: float = 1 / 3) -> Curve:
    """Times `factor`, until the last step undoes it."""
    return curves.Constant(check_share('factor', factor))


@_register('Linear')
def linear(start_factor: float = 1 / 3, end_factor: float = 1.0) -> Curve:
    """From `start_factor` to `end_factor`, which the last step has."""
    if start_factor == 0:
        raise InvalidValueError('start_factor is 0, from where no factor leads up: expected more', key='start_factor')
    return curves.Linear(check_share('start_factor', start_factor), check_share('end_factor', end_factor))


@_register('Exponential')
def exponential(gamma: float) -> Curve:
    """Times `gamma` in every step after the first."""
    return curves.Exponential(gamma)


@_register('Step')
def step(step_size: int, gamma: float = 0.1) -> Curve:
    """Times `gamma` every `step_size` steps."""
    if step_size < 1:
        raise InvalidValueError(f'step_size is {step_size}, expected a positive number', key='step_size')
    return curves.Steps(step_size, gamma)


@_register('MultiStep')
def multi_step(milestones: Sequence[int], gamma: float = 0.1) -> Curve:
    """Times `gamma` at each of the milestones, counted from `begin`."""
    if isinstance(milestones, int):
        raise InvalidTypeError(f'milestones is a list of numbers, got {milestones}', key='milestones')
    return curves.Steps(list(milestones), gamma)


@_register('Poly')
def poly(eta_min: float = 0.0, power: float = 1.0) -> Curve:
    """Down to `eta_min`, which the last step has, as the remaining share to the power of `power`."""
    return curves.Poly(power=power, end=eta_min, arrives=True)


@_register('CosineAnnealing')
def cosine_annealing(
    T_max: int | None = None,
    eta_min: float | None = None,
    eta_min_ratio: float | None = None,
) -> Curve:
    """Half a cosine down to `eta_min`, or to `eta_min_ratio` of the base, in `T_max` units (arXiv:1608.03983)."""
    return curves.Cosine(half_period=T_max, **_end(eta_min, eta_min_ratio))


@_register('CosineRestart')
def cosine_restart(
    periods: Sequence[int],
    restart_weights: Sequence[float] = (1,),
    eta_min: float | None = None,
    eta_min_ratio: float | None = None,
) -> Curve:
    """Half a cosine per period, each starting at its weight (arXiv:1608.03983)."""
    return cosine_restarts(periods, restart_weights, **_end(eta_min, eta_min_ratio))


@_register('QuadraticWarmup')
def quadratic_warmup() -> Curve:
    """From 0 up to the base with the square of the steps (arXiv:2107.08430)."""
    return curves.QuadraticWarmUp()


@_register('OneCycle')
def one_cycle(
    eta_max: float,
    total_steps: int | None = None,
    pct_start: float = 0.3,
    anneal_strategy: str = 'cos',
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
    three_phase: bool = False,
) -> Curve:
    """Up to `eta_max` and far down, once; the arguments of 2.x's policy (arXiv:1708.07120)."""
    return one_cycle_2x(
        max_lr=eta_max,
        total_steps=total_steps,
        pct_start=pct_start,
        anneal_strategy=anneal_strategy,
        div_factor=div_factor,
        final_div_factor=final_div_factor,
        three_phase=three_phase,
    )


@_register('ReduceOnPlateau')
def reduce_on_plateau(**arguments: object) -> NoReturn:
    """Not available: it looks at metrics, and a schedule knows iterations only."""
    raise InvalidValueError(
        'ReduceOnPlateau is not available: a schedule is known before the training. Use MultiStepLR or '
        'CosineAnnealingLR, or a hook of your own that sets the learning rate after an evaluation',
        key='type',
    )
