"""Optimizer and training step: `optim_wrapper` and `auto_scale_lr`."""

from __future__ import annotations

from collections.abc import Mapping

from mmkit.config import ConfigDict
from mmkit.dialects.optimizer_config import CLIP_KEYS, read_loss_scale
from mmkit.dialects.recipe import OptimizerRecipe, StepSettings
from mmkit.dialects.sections import check_keys, check_numbers, read_lr_scaling, read_section, require_whole, wrong
from mmkit.errors import InvalidTypeError
from mmkit.utils.names import unscoped

WRAPPERS = ('OptimWrapper', 'AmpOptimWrapper')
CONSTRUCTOR = 'DefaultOptimWrapperConstructor'
CONSTRUCTOR_OF_2X = 'DefaultOptimizerConstructor'
# Of paramwise_cfg: without these the constructors of both dialects do the same.
RULES_OF_DECAY = {'bias_decay_mult', 'dwconv_decay_mult', 'flat_decay_mult'}
_KEYS = ('type', 'optimizer', 'constructor', 'paramwise_cfg', 'clip_grad', 'accumulative_counts')
_AMP_KEYS = ('loss_scale', 'dtype', 'use_fsdp')


def read_optimizer(cfg: ConfigDict) -> OptimizerRecipe:
    """The optimizer and its rules for single parameters.

    Raises:
        UserError: for a value that makes no sense.
    """
    wrapper = _wrapper(cfg)
    optimizer = read_section(wrapper, 'optimizer')
    if optimizer is None or 'type' not in optimizer:
        message = "optim_wrapper.optimizer has no type: expected one such as dict(type='SGD', lr=0.01)"
        raise wrong(cfg, 'optim_wrapper.optimizer', message, InvalidTypeError)
    constructor, paramwise = unscoped(wrapper.get('constructor') or CONSTRUCTOR), read_section(wrapper, 'paramwise_cfg')
    if constructor == CONSTRUCTOR and not RULES_OF_DECAY & set(paramwise or ()):
        constructor = CONSTRUCTOR_OF_2X
    return OptimizerRecipe(optimizer, constructor, paramwise, *read_lr_scaling(cfg))


def read_step(cfg: ConfigDict) -> StepSettings:
    """Clipping, accumulation and precision of the step.

    Raises:
        UserError: for a value that makes no sense.
    """
    wrapper = _wrapper(cfg)
    is_half = is_mixed_precision(cfg)
    dtype = wrapper.get('dtype') or 'float16'
    if dtype not in ('float16', 'bfloat16'):
        message = f"optim_wrapper.dtype is {dtype!r}, expected 'float16' or 'bfloat16'"
        raise wrong(cfg, 'optim_wrapper.dtype', message)
    counts = require_whole(cfg, 'optim_wrapper.accumulative_counts', wrapper.get('accumulative_counts', 1))
    scale = wrapper.get('loss_scale', 'dynamic')
    return StepSettings(
        grad_clip=_clip(cfg, wrapper.get('clip_grad')),
        cumulative_iters=counts,
        fp16=read_loss_scale(cfg, 'optim_wrapper.loss_scale', scale) if is_half else None,
        amp_dtype='float16' if dtype == 'float16' else 'bfloat16',
    )


def is_mixed_precision(cfg: ConfigDict) -> bool:
    """True for a training with AmpOptimWrapper."""
    return bool(_wrapper(cfg)['type'] == 'AmpOptimWrapper')


def _wrapper(cfg: ConfigDict) -> ConfigDict:
    wrapper = check_numbers(read_section(cfg, 'optim_wrapper')) or ConfigDict()
    wrapper['type'] = unscoped(str(wrapper.get('type', 'OptimWrapper')))
    if wrapper['type'] not in WRAPPERS:
        message = f'optim_wrapper.type is {wrapper["type"]!r}, expected {" or ".join(WRAPPERS)}'
        raise wrong(cfg, 'optim_wrapper.type', message)
    is_half = wrapper['type'] == 'AmpOptimWrapper'
    check_keys(cfg, 'optim_wrapper', wrapper, (*_KEYS, *(_AMP_KEYS if is_half else ())))
    if wrapper.get('use_fsdp', False):
        raise wrong(cfg, 'optim_wrapper.use_fsdp', 'optim_wrapper.use_fsdp=True is not available: models fit a GPU')
    return wrapper


def _clip(cfg: ConfigDict, clip: object) -> Mapping[str, object] | None:
    if clip is None:
        return None
    if not isinstance(clip, ConfigDict):
        message = f'optim_wrapper.clip_grad is {clip!r}, expected a dict such as dict(max_norm=35, norm_type=2)'
        raise wrong(cfg, 'optim_wrapper.clip_grad', message, InvalidTypeError)
    kept = clip.copy()
    kind = kept.pop('type', 'norm')
    if kind != 'norm':
        message = f"optim_wrapper.clip_grad.type is {kind!r}, expected 'norm'"
        raise wrong(cfg, 'optim_wrapper.clip_grad.type', message)
    check_keys(cfg, 'optim_wrapper.clip_grad', kept, CLIP_KEYS)
    return kept
