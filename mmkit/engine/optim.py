"""Optimizers from configs: every class of torch.optim, with a learning rate and a weight decay for each parameter."""

from __future__ import annotations

import difflib
import logging
import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mmkit.engine.checkpoint import unwrap
from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.registry import OPTIMIZER_BUILDERS, OPTIMIZERS

logger = logging.getLogger('mmkit.engine.optim')

for _name, _optimizer in vars(torch.optim).items():
    if isinstance(_optimizer, type) and issubclass(_optimizer, Optimizer) and _optimizer is not Optimizer:
        OPTIMIZERS.register_module(name=_name, module=_optimizer)

NORMS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm, nn.GroupNorm, nn.LayerNorm)
_FUSED = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)  # those that have `fused` kernels for GPUs
IMPLEMENTATION = ('foreach', 'fused', 'capturable', 'differentiable')  # arguments that leave the numbers as they are
PARAMWISE_KEYS = (
    'bias_lr_mult',
    'bias_decay_mult',
    'norm_decay_mult',
    'dwconv_decay_mult',
    'dcn_offset_lr_mult',
    'bypass_duplicate',
    'custom_keys',
)


@runtime_checkable
class DeformableConv(Protocol):
    """A module with convolutions in it that predict offsets, for which `paramwise_cfg` has a rule."""

    is_deform_conv: bool


class Place(NamedTuple):
    """A parameter, the module that it is a part of, and the module around that."""

    full_name: str
    name: str
    param: nn.Parameter
    module: nn.Module
    parent: nn.Module | None

    @property
    def is_norm(self) -> bool:
        return isinstance(self.module, NORMS)

    @property
    def is_dcn_offset(self) -> bool:
        return isinstance(self.parent, DeformableConv) and self.parent.is_deform_conv

    @property
    def is_free_bias(self) -> bool:
        """A bias that is not one of a deformable convolution's offsets."""
        return self.name == 'bias' and not self.is_dcn_offset

    @property
    def is_depthwise(self) -> bool:
        module = self.module
        return isinstance(module, nn.Conv2d) and 1 < module.groups == module.in_channels


def build_optimizer(model: nn.Module, cfg: Mapping[str, Any]) -> Optimizer:
    """The optimizer of a config, over the trainable parameters of a model.

    Args:
        model: a detector, or its DistributedDataParallel.
        cfg: `type` and the arguments of a class of torch.optim, and `paramwise_cfg`, see
            `DefaultOptimizerConstructor`. `constructor` names another entry of OPTIMIZER_BUILDERS.
    """
    arguments = dict(cfg)
    constructor = arguments.pop('constructor', 'DefaultOptimizerConstructor')
    paramwise = arguments.pop('paramwise_cfg', None)
    builder = OPTIMIZER_BUILDERS.build({'type': constructor, 'optimizer_cfg': arguments, 'paramwise_cfg': paramwise})
    optimizer = builder(model)
    if not isinstance(optimizer, Optimizer):
        raise InvalidTypeError(
            f'{constructor} gave a {type(optimizer).__name__}, expected a torch.optim.Optimizer', key='constructor'
        )
    return optimizer


@OPTIMIZER_BUILDERS.register_module()
class DefaultOptimizerConstructor:
    """Builds an optimizer; with `paramwise_cfg` every parameter gets a group with a rate and a decay of its own.

    Parameters that are frozen (`requires_grad=False`) are left out.

    Args:
        optimizer_cfg: `type` and arguments of the optimizer.
        paramwise_cfg: multipliers of the optimizer's lr and weight_decay:
            `bias_lr_mult`, `bias_decay_mult` for biases other than those of norms and of the offsets of deformable
            convolutions, `norm_decay_mult` for norm layers, `dwconv_decay_mult` for depthwise convolutions,
            `dcn_offset_lr_mult` for the offset convolutions;
            `custom_keys`: {part of a parameter's name: dict(lr_mult=, decay_mult=)}, which goes before all others; of
            several keys that fit, the longest counts;
            `bypass_duplicate`: skip a parameter that several modules share, instead of an error.

    Raises:
        InvalidTypeError: for an unknown key or multiplier.
        InvalidValueError: for a decay multiplier where the optimizer has no weight_decay.
    """

    keys: ClassVar[tuple[str, ...]] = PARAMWISE_KEYS

    def __init__(self, optimizer_cfg: Mapping[str, Any], paramwise_cfg: Mapping[str, Any] | None = None) -> None:
        self.optimizer_cfg = optimizer_cfg
        self.paramwise = dict(paramwise_cfg or {})
        if self.optimizer_cfg.get('type') == 'LBFGS':
            raise InvalidValueError(
                'optimizer LBFGS evaluates the model several times a step, which no runner here does', key='type'
            )
        unknown = sorted(set(self.paramwise) - set(self.keys))
        if unknown:
            raise InvalidTypeError(
                f'optimizer.paramwise_cfg has no {unknown[0]!r}, expected some of {", ".join(self.keys)}',
                key=f'paramwise_cfg.{unknown[0]}',
            )
        self.custom_keys: dict[str, Mapping[str, float]] = dict(self.paramwise.get('custom_keys', {}))
        for key, multipliers in self.custom_keys.items():
            if not isinstance(multipliers, Mapping) or set(multipliers) - {'lr_mult', 'decay_mult'}:
                raise InvalidTypeError(
                    f'optimizer.paramwise_cfg.custom_keys[{key!r}] is {multipliers!r}, '
                    'expected a dict with lr_mult, decay_mult or both',
                    key='paramwise_cfg.custom_keys',
                )
        needs_decay = [key for key in self.paramwise if 'decay' in key]
        if needs_decay and self.optimizer_cfg.get('weight_decay') is None:
            raise InvalidValueError(
                f'optimizer.paramwise_cfg.{needs_decay[0]} multiplies weight_decay, which the optimizer lacks',
                key=f'paramwise_cfg.{needs_decay[0]}',
            )

    def __call__(self, model: nn.Module) -> Optimizer:
        model = unwrap(model)
        params = [param for param in model.parameters() if param.requires_grad]
        if not params:
            raise InvalidValueError(f'{type(model).__name__} has no trainable parameter', key='model')
        if not self.paramwise:
            return OPTIMIZERS.build(self.optimizer_cfg, params=params, **self._implementation(params))
        places = self._trainable(model)
        groups = [{'params': [place.param]} for place in places]
        optimizer = OPTIMIZERS.build(self.optimizer_cfg, params=groups, **self._implementation(params))
        for group, place in zip(optimizer.param_groups, places):
            for key, multiplier in zip(('lr', 'weight_decay'), self._multipliers(place)):
                if key in group and multiplier is not None:
                    group[key] *= multiplier
        return optimizer

    def _implementation(self, params: list[nn.Parameter]) -> dict[str, bool]:
        """On a GPU, the optimizer's fused kernels: no step waits there for the check of its gradient."""
        kind = self.optimizer_cfg.get('type')
        made_by = OPTIMIZERS.get(kind) if isinstance(kind, str) and kind in OPTIMIZERS else kind
        is_chosen = any(key in self.optimizer_cfg for key in IMPLEMENTATION)
        may_fuse = made_by in _FUSED and all(param.is_cuda and param.is_floating_point() for param in params)
        return {'fused': True} if may_fuse and not is_chosen else {}

    def _trainable(self, model: nn.Module) -> list[Place]:
        """Every trainable parameter once, in the order of the modules."""
        self._warn_of_idle_keys(model)
        places: list[Place] = []
        seen: set[int] = set()
        for place in _walk(model):
            if not place.param.requires_grad:
                continue
            if id(place.param) not in seen:
                seen.add(id(place.param))
                places.append(place)
            elif self.paramwise.get('bypass_duplicate', False):
                logger.warning('%s is shared with another module, whose optimizer settings count', place.full_name)
            else:
                raise InvalidValueError(
                    f'{place.full_name} is shared with another module: '
                    'optimizer.paramwise_cfg.bypass_duplicate=True uses the settings of the first',
                    key='paramwise_cfg',
                )
        return places

    def _warn_of_idle_keys(self, model: nn.Module) -> None:
        names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
        parts = {part for name in names for part in name.split('.')}
        for key in self.custom_keys:
            if not any(key in name for name in names):
                near = difflib.get_close_matches(key, parts, 1, cutoff=0.8)
                hint = f', did you mean {near[0]!r}?' if near else ''
                # Without a near name it is for a part that this model lacks, as in the configs of a whole family.
                level = logging.WARNING if near else logging.INFO
                logger.log(level, 'optimizer.paramwise_cfg.custom_keys: no parameter has %r in its name%s', key, hint)

    def _multipliers(self, place: Place) -> tuple[float | None, float | None]:
        """Multipliers of lr and weight_decay; None where no rule applies."""
        for key in sorted(sorted(self.custom_keys), key=len, reverse=True):
            if key in place.full_name:
                custom = self.custom_keys[key]
                return custom.get('lr_mult', 1.0), custom.get('decay_mult', 1.0)
        ask = self.paramwise.get
        lr_mult = ask('bias_lr_mult') if place.is_free_bias and not place.is_norm else None
        if place.is_dcn_offset and 'conv_offset' in place.full_name:
            lr_mult = ask('dcn_offset_lr_mult')
        return lr_mult, self._decay_multiplier(place)

    def _decay_multiplier(self, place: Place) -> float | None:
        """That of the kind of parameter; of several kinds, the first."""
        ask = self.paramwise.get
        if place.is_norm:
            return ask('norm_decay_mult')
        if place.is_depthwise:
            return ask('dwconv_decay_mult')
        return ask('bias_decay_mult') if place.is_free_bias else None


@OPTIMIZER_BUILDERS.register_module()
class DefaultOptimWrapperConstructor(DefaultOptimizerConstructor):
    """The rules of mmdetection 3.x: of several kinds that a parameter is of, the first with a multiplier decides.

    They are norm, bias, depthwise convolution, and parameters of one dimension (`flat_decay_mult`): without
    `norm_decay_mult`, biases of norms are biases.

    Args:
        optimizer_cfg, paramwise_cfg: as in `DefaultOptimizerConstructor`, with `flat_decay_mult` besides.
    """

    keys = (*PARAMWISE_KEYS, 'flat_decay_mult')

    def _decay_multiplier(self, place: Place) -> float | None:
        is_of = {
            'norm_decay_mult': place.is_norm,
            'bias_decay_mult': place.is_free_bias,
            'dwconv_decay_mult': place.is_depthwise,
            'flat_decay_mult': place.param.ndim == 1 and not place.is_dcn_offset,
        }
        return next((self.paramwise[key] for key, applies in is_of.items() if applies and key in self.paramwise), None)


def _walk(module: nn.Module, prefix: str = '', parent: nn.Module | None = None) -> Iterator[Place]:
    """All parameters, repeated where a module is used more than once."""
    for name, param in module.named_parameters(recurse=False):
        yield Place(prefix + name, name, param, module, parent)
    for name, child in module.named_children():
        yield from _walk(child, f'{prefix}{name}.', module)


def clip_gradient(optimizer: Optimizer, grad_clip: Mapping[str, Any] | None) -> Tensor:
    """Scale down a long gradient of the optimizer's parameters; others, which are frozen or unknown to it, don't count.

    Args:
        grad_clip: arguments of `torch.nn.utils.clip_grad_norm_`, such as max_norm; None leaves the gradient.

    Returns:
        The norm before.
    """
    params = [param for group in optimizer.param_groups for param in group['params'] if param.grad is not None]
    arguments = {'max_norm': math.inf, **(grad_clip or {}), 'error_if_nonfinite': False}
    return nn.utils.clip_grad_norm_(params, **arguments)


def init_momentum(optimizer: Optimizer) -> None:
    """Momentum 0 before the first step: fused SGD would leave it uninitialised if that one is skipped on the device."""
    if not isinstance(optimizer, torch.optim.SGD) or optimizer.state:
        return
    for group in optimizer.param_groups:
        if group.get('fused') and group['momentum'] and not group['dampening']:
            for param in group['params']:
                optimizer.state[param]['momentum_buffer'] = torch.zeros_like(param)


def step_if(condition: Tensor, optimizer: Optimizer) -> bool | None:
    """A step of the optimizer if the condition, a boolean on the device, is true.

    Returns:
        True if the step was taken; None if the device decides, without waiting, as with torch's fused optimizers.
    """
    is_fused = isinstance(optimizer, _FUSED) and all(group.get('fused') for group in optimizer.param_groups)
    if is_fused and not any(group.get('dampening') for group in optimizer.param_groups):  # see `init_momentum`
        vars(optimizer)['found_inf'] = (~condition).float()  # as torch's GradScaler tells them of an overflow
        optimizer.step()
        del vars(optimizer)['found_inf']
        return None
    if condition:
        optimizer.step()
    return bool(condition)
