"""Schedules of 2.x's dialect: `lr_config` and `momentum_config`, a policy with its warm-up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmkit.errors import InvalidTypeError, InvalidValueError, UnknownNameError
from mmkit.registry import Registry, located
from mmkit.schedules import Clock, Curve, Schedule, Segment, Unit, curves, values_along
from mmkit.utils.names import nearest

LR_POLICIES: Registry[Curve] = Registry('learning-rate policy')
MOMENTUM_POLICIES: Registry[Curve] = Registry('momentum policy')

_WARMUP_KEYS = ('warmup', 'warmup_iters', 'warmup_ratio', 'warmup_by_epoch')
_WARM_UPS: dict[str, curves.WarmUpKind] = {'constant': 'constant', 'linear': 'linear', 'exp': 'exp'}
_IN_ITERATIONS = ('cyclic', 'OneCycle')  # by default, in every training


def read_lr_config(lr_config: Mapping[str, Any], by_epoch_runner: bool = True) -> Schedule:
    """The schedule of `lr_config=dict(policy='step', warmup='linear', ...)`.

    Args:
        lr_config: with `policy`, or `type` as mmcv's hooks are called, and its arguments.
        by_epoch_runner: the default of `by_epoch` (cyclic and OneCycle count iterations anyway).

    Raises:
        UserError: for an unknown policy or argument, or a value that makes no sense.
    """
    with located(lr_config, 'policy'):
        return _read(lr_config, LR_POLICIES, 'LrUpdaterHook', by_epoch_runner)


def read_momentum_config(momentum_config: Mapping[str, Any], by_epoch_runner: bool = True) -> Schedule:
    """The schedule of `momentum_config=dict(policy='cyclic', ...)`; as `read_lr_config`."""
    with located(momentum_config, 'policy'):
        return _read(momentum_config, MOMENTUM_POLICIES, 'MomentumUpdaterHook', by_epoch_runner)


def _read(cfg: Mapping[str, Any], policies: Registry[Curve], suffix: str, by_epoch_runner: bool) -> Schedule:
    arguments = dict(cfg)
    name = arguments.pop('policy', None) or str(arguments.pop('type', '')).removesuffix(suffix)
    if not name:
        raise UnknownNameError(f"no policy in {dict(cfg)}: expected one such as policy='step'")
    name = {known.lower(): known for known in policies.names()}.get(name.lower(), name)
    by_epoch = arguments.pop('by_epoch', by_epoch_runner and name not in _IN_ITERATIONS)
    if by_epoch and name == 'OneCycle':
        raise InvalidValueError('the OneCycle policy counts iterations: by_epoch=True is not possible', key='by_epoch')
    warmup = {key: arguments.pop(key) for key in _WARMUP_KEYS if key in arguments}
    for key in arguments:
        if key.startswith('warmup'):  # the policy, which knows nothing of a warm-up, would name its own arguments
            raise InvalidTypeError(f'there is no {key!r}; the nearest is {nearest(key, _WARMUP_KEYS, 1)[0]!r}', key=key)
    policy = policies.build({'type': name, **arguments})
    is_yolox = isinstance(policy, curves.CosineBeforeLastEpochs)
    warm = _warm_up(**warmup, inverse=policies is MOMENTUM_POLICIES, square=is_yolox)
    unit: Unit = 'epoch' if by_epoch else 'iteration'
    if warm is None:
        return Schedule((Segment(policy, unit),))
    if is_yolox:  # its cosine begins after the warm-up, the others run underneath
        return Schedule((Segment(policy, warm.unit, begin=warm.end or 0, stepping=unit), warm))
    return Schedule((Segment(policy, unit), warm))


def _warm_up(
    warmup: str | None = None,
    warmup_iters: int = 0,
    warmup_ratio: float = 0.1,
    warmup_by_epoch: bool = False,
    inverse: bool = False,
    square: bool = False,
) -> Segment | None:
    if warmup is None:
        return None
    if warmup not in _WARM_UPS:
        raise InvalidValueError(f"warmup is {warmup!r}, expected 'constant', 'linear', 'exp' or None", key='warmup')
    if warmup_iters <= 0:
        raise InvalidValueError(f'warmup_iters is {warmup_iters}, expected a positive number', key='warmup_iters')
    if not 0 < warmup_ratio <= 1:
        raise InvalidValueError(f'warmup_ratio is {warmup_ratio}, expected 0 < warmup_ratio <= 1', key='warmup_ratio')
    curve = curves.WarmUp('square' if square else _WARM_UPS[warmup], warmup_ratio, inverse)
    return Segment(curve, 'epoch' if warmup_by_epoch else 'iteration', end=warmup_iters, stepping='iteration')


def lr_curve(
    lr_config: Mapping[str, Any],
    base_lrs: Sequence[float],
    max_epochs: int,
    iters_per_epoch: int,
    by_epoch_runner: bool = True,
) -> list[list[float]]:
    """The learning rate of each parameter group at every iteration of a training.

    Args:
        lr_config: as in a config file.
        base_lrs: the optimizer's rate of each parameter group.
        max_epochs, iters_per_epoch: their product is the number of iterations.
        by_epoch_runner: an EpochBasedRunner trains; otherwise an IterBasedRunner.

    Returns:
        max_epochs * iters_per_epoch lists of len(base_lrs) numbers.
    """
    length = Clock(0, 0, max_epochs, max_epochs * iters_per_epoch, iters_per_epoch)
    return values_along(read_lr_config(lr_config, by_epoch_runner), base_lrs, length)


# ---------------------------------------------------------------------- policies


def _end(absolute: float | None, ratio: float | None, name: str) -> dict[str, Any]:
    """The end value of a falling curve."""
    if (absolute is None) == (ratio is None):
        raise InvalidValueError(
            f'give either {name} or {name}_ratio, got {name}={absolute}, {name}_ratio={ratio}', key=name
        )
    return {'end': absolute} if absolute is not None else {'end_ratio': ratio}


def check_share(name: str, value: float) -> float:
    """The value; an InvalidValueError unless it is from 0 to 1."""
    if not 0 <= value <= 1:
        raise InvalidValueError(f'{name} is {value}, expected 0 to 1', key=name)
    return value


def _strategy(anneal_strategy: str) -> str:
    if anneal_strategy not in ('cos', 'linear'):
        raise InvalidValueError(
            f"anneal_strategy is {anneal_strategy!r}, expected 'cos' or 'linear'", key='anneal_strategy'
        )
    return anneal_strategy


def _milestones(step: int | Sequence[int]) -> int | Sequence[int]:
    steps = [step] if isinstance(step, int) else list(step)
    if any(not isinstance(each, int) or each <= 0 for each in steps):
        raise InvalidValueError(f'step must be a positive number or a list of them, got {step!r}', key='step')
    return step


@LR_POLICIES.register_module(name='fixed')
@MOMENTUM_POLICIES.register_module(name='fixed')
def fixed() -> Curve:
    """Always the base value."""
    return curves.Constant()


@LR_POLICIES.register_module(name='step')
def step(step: int | Sequence[int], gamma: float = 0.1, min_lr: float | None = None) -> Curve:
    """Times `gamma` at each of the moments in `step`, or every `step` units."""
    return curves.Steps(_milestones(step), gamma, min_lr)


@LR_POLICIES.register_module(name='exp')
def exp(gamma: float) -> Curve:
    """Times `gamma` every unit."""
    return curves.Exponential(gamma)


@LR_POLICIES.register_module(name='poly')
def poly(power: float = 1.0, min_lr: float = 0.0) -> Curve:
    """Down to `min_lr` at the end, as the remaining share to the power of `power`."""
    return curves.Poly(power=power, end=min_lr)


@LR_POLICIES.register_module(name='inv')
def inv(gamma: float, power: float = 1.0) -> Curve:
    """base * (1 + gamma * done) ** -power."""
    return curves.Inverse(gamma, power)


@LR_POLICIES.register_module(name='CosineAnnealing')
def cosine_annealing(min_lr: float | None = None, min_lr_ratio: float | None = None) -> Curve:
    """Half a cosine from the base to the end value (arXiv:1608.03983)."""
    return curves.Cosine(**_end(min_lr, min_lr_ratio, 'min_lr'))


@LR_POLICIES.register_module(name='LinearAnnealing')
def linear_annealing(min_lr: float | None = None, min_lr_ratio: float | None = None) -> Curve:
    """A straight line from the base to the end value."""
    return curves.Poly(**_end(min_lr, min_lr_ratio, 'min_lr'))


@LR_POLICIES.register_module(name='FlatCosineAnnealing')
def flat_cosine_annealing(
    start_percent: float = 0.75, min_lr: float | None = None, min_lr_ratio: float | None = None
) -> Curve:
    """The base value for `start_percent` of the training, then half a cosine to the end value."""
    return curves.FlatCosine(flat=check_share('start_percent', start_percent), **_end(min_lr, min_lr_ratio, 'min_lr'))


@LR_POLICIES.register_module(name='CosineRestart')
def cosine_restart(
    periods: Sequence[int],
    restart_weights: Sequence[float] = (1,),
    min_lr: float | None = None,
    min_lr_ratio: float | None = None,
) -> Curve:
    """Half a cosine per period, each starting at its weight; the periods sum to the length of the training."""
    return cosine_restarts(periods, restart_weights, **_end(min_lr, min_lr_ratio, 'min_lr'))


def cosine_restarts(
    periods: Sequence[int], restart_weights: Sequence[float], end: float = 0.0, end_ratio: float | None = None
) -> Curve:
    """The curve of both dialects."""
    if len(periods) != len(restart_weights):
        raise InvalidValueError(
            f'{len(periods)} periods, but {len(restart_weights)} restart_weights: '
            f'{list(periods)}, {list(restart_weights)}',
            key='restart_weights',
        )
    return curves.CosineRestarts(periods=periods, weights=restart_weights, end=end, end_ratio=end_ratio)


@LR_POLICIES.register_module(name='cyclic')
def cyclic(
    target_ratio: float | Sequence[float] = (10, 1e-4),
    cyclic_times: int = 1,
    step_ratio_up: float = 0.4,
    anneal_strategy: str = 'cos',
    gamma: float = 1.0,
) -> Curve:
    """Up to a multiple of the base and down again, several times (arXiv:1506.01186).

    Args:
        target_ratio: (highest, lowest) as multiples of the base; a single number r means (r, r / 1e5).
        cyclic_times: number of cycles in the training.
        step_ratio_up: share of a cycle that goes up.
        anneal_strategy: 'cos' or 'linear'.
        gamma: every cycle's amplitude is `gamma` times that of the one before.
    """
    targets = [target_ratio] if isinstance(target_ratio, (int, float)) else list(target_ratio)
    if len(targets) not in (1, 2):
        raise InvalidValueError(f'target_ratio must be one or two numbers, got {target_ratio!r}', key='target_ratio')
    if not 0 <= step_ratio_up < 1:
        raise InvalidValueError(
            f'step_ratio_up is {step_ratio_up}, expected 0 <= step_ratio_up < 1', key='step_ratio_up'
        )
    if not 0 < gamma <= 1:
        raise InvalidValueError(f'gamma is {gamma}, expected 0 < gamma <= 1', key='gamma')
    high, low = targets if len(targets) == 2 else (targets[0], targets[0] / 1e5)
    strategy = _strategy(anneal_strategy)
    return curves.Cyclic(high, low, cycles=cyclic_times, up=step_ratio_up, strategy=strategy, gamma=gamma)


@LR_POLICIES.register_module(name='OneCycle')
def one_cycle(
    max_lr: float | Sequence[float],
    total_steps: int | None = None,
    pct_start: float = 0.3,
    anneal_strategy: str = 'cos',
    div_factor: float = 25,
    final_div_factor: float = 1e4,
    three_phase: bool = False,
) -> Curve:
    """Up to `max_lr` and far down, once (arXiv:1708.07120).

    Args:
        max_lr: the peak, one number or one for each parameter group; the optimizer's own rate plays no role.
        total_steps: iterations of the cycle; None is the whole training.
        pct_start: share of the cycle that goes up.
        anneal_strategy: 'cos' or 'linear'.
        div_factor: the start is max_lr / div_factor.
        final_div_factor: the end is the start / final_div_factor.
        three_phase: go down to the start symmetrically first, then to the end.
    """
    return curves.OneCycle(
        start=max_lr / div_factor if isinstance(max_lr, (int, float)) else [peak / div_factor for peak in max_lr],
        peak=div_factor,
        end=1 / final_div_factor,
        total_steps=total_steps,
        up=check_share('pct_start', pct_start),
        strategy=_strategy(anneal_strategy),
        three_phase=three_phase,
    )


@LR_POLICIES.register_module(name='YOLOX')
def yolox(num_last_epochs: int, min_lr: float | None = None, min_lr_ratio: float | None = None) -> Curve:
    """Cosine between the warm-up and the last epochs, which stay at the end value (arXiv:2107.08430).

    Its warm-up 'exp' grows with the square of the iterations.
    """
    return curves.CosineBeforeLastEpochs(num_last_epochs=num_last_epochs, **_end(min_lr, min_lr_ratio, 'min_lr'))


@MOMENTUM_POLICIES.register_module(name='step')
def step_momentum(step: int | Sequence[int], gamma: float = 0.5, min_momentum: float | None = None) -> Curve:
    """As for the learning rate."""
    return curves.Steps(_milestones(step), gamma, min_momentum)


@MOMENTUM_POLICIES.register_module(name='CosineAnnealing')
def cosine_annealing_momentum(min_momentum: float | None = None, min_momentum_ratio: float | None = None) -> Curve:
    """As for the learning rate."""
    return curves.Cosine(**_end(min_momentum, min_momentum_ratio, 'min_momentum'))


@MOMENTUM_POLICIES.register_module(name='LinearAnnealing')
def linear_annealing_momentum(min_momentum: float | None = None, min_momentum_ratio: float | None = None) -> Curve:
    """As for the learning rate."""
    return curves.Poly(**_end(min_momentum, min_momentum_ratio, 'min_momentum'))


@MOMENTUM_POLICIES.register_module(name='cyclic')
def cyclic_momentum(
    target_ratio: float | Sequence[float] = (0.85 / 0.95, 1.0),
    cyclic_times: int = 1,
    step_ratio_up: float = 0.4,
    anneal_strategy: str = 'cos',
    gamma: float = 1.0,
) -> Curve:
    """Down where the learning rate goes up; a single `target_ratio` holds for both ends."""
    targets = (target_ratio, target_ratio) if isinstance(target_ratio, (int, float)) else target_ratio
    return cyclic(targets, cyclic_times, step_ratio_up=step_ratio_up, anneal_strategy=anneal_strategy, gamma=gamma)


@MOMENTUM_POLICIES.register_module(name='OneCycle')
def one_cycle_momentum(
    base_momentum: float = 0.85,
    max_momentum: float = 0.95,
    pct_start: float = 0.3,
    anneal_strategy: str = 'cos',
    three_phase: bool = False,
) -> Curve:
    """From `max_momentum` down to `base_momentum` and back, opposite to the learning rate's one cycle."""
    return curves.OneCycle(
        start=max_momentum,
        peak=base_momentum / max_momentum,
        end=1.0,
        up=check_share('pct_start', pct_start),
        strategy=_strategy(anneal_strategy),
        three_phase=three_phase,
    )
