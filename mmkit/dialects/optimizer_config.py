"""The training step in 2.x's dialect: `optimizer_config` and `fp16`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmkit.config import ConfigDict
from mmkit.dialects.recipe import LossScale, StepSettings
from mmkit.dialects.sections import check_numbers, read_section, require_whole, wrong
from mmkit.errors import InvalidTypeError
from mmkit.utils.names import nearest

OPTIMIZER_HOOKS = (
    'OptimizerHook',
    'Fp16OptimizerHook',
    'GradientCumulativeOptimizerHook',
    'GradientCumulativeFp16OptimizerHook',
)
CLIP_KEYS = ('max_norm', 'norm_type', 'error_if_nonfinite', 'foreach')


def read_step(cfg: ConfigDict) -> StepSettings:
    """Clipping, accumulation and precision, as `optimizer_config` and `fp16` of a config say.

    Raises:
        UserError: for an unknown hook or key, or a value that makes no sense.
    """
    arguments = check_numbers(read_section(cfg, 'optimizer_config')) or ConfigDict()
    kind = arguments.pop('type', 'OptimizerHook')
    if kind not in OPTIMIZER_HOOKS:
        near = nearest(kind, OPTIMIZER_HOOKS, 1) or OPTIMIZER_HOOKS
        message = (
            f'optimizer_config.type {kind!r} is unknown, did you mean {near[0]!r}? '
            f'The step is part of the runner: expected one of {", ".join(OPTIMIZER_HOOKS)}'
        )
        raise wrong(cfg, 'optimizer_config.type', message)
    half = read_section(cfg, 'fp16')
    is_half = half is not None or 'Fp16' in kind
    if is_half:
        arguments = ConfigDict({'loss_scale': 512.0, **arguments, **(half or {})})
    _check_keys(cfg, arguments, kind, is_half)
    cumulative = require_whole(cfg, 'optimizer_config.cumulative_iters', arguments.get('cumulative_iters', 1))
    return StepSettings(
        grad_clip=arguments.get('grad_clip'),
        cumulative_iters=cumulative,
        fp16=read_loss_scale(cfg, 'fp16.loss_scale', arguments['loss_scale']) if is_half else None,
        detect_anomalous_params=arguments.get('detect_anomalous_params', False),
    )


def _check_keys(cfg: ConfigDict, arguments: ConfigDict, kind: str, is_half: bool) -> None:
    """Refuse keys that the kind of hook does not take; drop those that can have one value only."""
    for key, only in (('coalesce', True), ('bucket_size_mb', -1), ('distributed', True)):
        if arguments.pop(key, only) != only:
            message = f'optimizer_config.{key} can only be {only!r}: gradients travel through DistributedDataParallel'
            raise wrong(cfg, f'optimizer_config.{key}', message)
    allowed = {'grad_clip', 'detect_anomalous_params'}
    allowed |= {'cumulative_iters'} if 'Cumulative' in kind else set()
    allowed |= {'loss_scale'} if is_half else set()
    for key in sorted(set(arguments) - allowed):
        section = 'fp16' if key in (cfg.get('fp16') or {}) else 'optimizer_config'
        message = f'{section}: {kind} has no {key!r}, expected some of {", ".join(sorted(allowed))}'
        raise wrong(cfg, f'{section}.{key}', message, InvalidTypeError)
    clip = arguments.get('grad_clip') or {}
    if not isinstance(clip, Mapping):
        message = f'optimizer_config.grad_clip is {clip!r}, expected a dict such as dict(max_norm=35, norm_type=2)'
        raise wrong(cfg, 'optimizer_config.grad_clip', message, InvalidTypeError)
    for key in clip:
        if key not in CLIP_KEYS:
            message = f'optimizer_config.grad_clip has no {key!r}, expected {" or ".join(CLIP_KEYS)}'
            raise wrong(cfg, f'optimizer_config.grad_clip.{key}', message, InvalidTypeError)


def read_loss_scale(cfg: ConfigDict, path: str, value: float | str | Mapping[str, Any]) -> LossScale:
    """The loss scale at a dotted key: 'dynamic', a number, or arguments of `torch.amp.GradScaler`.

    Raises:
        UserError: it is anything else.
    """
    if value == 'dynamic':
        return LossScale()
    if isinstance(value, Mapping):
        unknown = set(value) - {'init_scale', 'growth_factor', 'backoff_factor', 'growth_interval', 'enabled'}
        if unknown or not value.get('enabled', True):
            message = (
                f'{path} is {dict(value)}, expected arguments of torch.amp.GradScaler: '
                'init_scale, growth_factor, backoff_factor, growth_interval'
            )
            raise wrong(cfg, path, message, InvalidTypeError)
        return LossScale(**{key: number for key, number in value.items() if key != 'enabled'})
    if isinstance(value, (int, float)) and value > 0:
        return LossScale(init_scale=float(value), dynamic=False)
    raise wrong(cfg, path, f"{path} is {value!r}, expected a positive number, 'dynamic' or a dict")
