"""Optimizers from configs: every class of torch.optim, with a learning rate and a weight decay for each parameter."""

from __future__ import annotations

import difflib
import inspect
import logging
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mmkit.registry import OPTIMIZER_BUILDERS, OPTIMIZERS, build_from_cfg

logger = logging.getLogger('mmkit.engine.optim')

for _name, _optimizer in vars(torch.optim).items():
    if inspect.isclass(_optimizer) and issubclass(_optimizer, Optimizer) and _optimizer is not Optimizer:
        OPTIMIZERS.register_module(name=_name, module=_optimizer)

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm, nn.GroupNorm, nn.LayerNorm)
_FUSED = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.Adagrad)  # those that have `fused`
_IMPLEMENTATION = ('foreach', 'fused', 'capturable', 'differentiable')  # arguments that leave the numbers as they are
_PARAMWISE_KEYS = (
    'bias_lr_mult',
    'bias_decay_mult',
    'norm_decay_mult',
    'dwconv_decay_mult',
    'dcn_offset_lr_mult',
    'bypass_duplicate',
    'custom_keys',
)


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
        raise TypeError(f'{constructor} gave a {type(optimizer).__name__}, expected a torch.optim.Optimizer')
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
        TypeError: for an unknown key or multiplier.
        ValueError: if a decay multiplier is given and the optimizer has no weight_decay.
    """

    def __init__(self, optimizer_cfg: Mapping[str, Any], paramwise_cfg: Mapping[str, Any] | None = None) -> None:
        self.optimizer_cfg = dict(optimizer_cfg)
        self.paramwise = dict(paramwise_cfg or {})
        if self.optimizer_cfg.get('type') == 'LBFGS':
            raise ValueError('optimizer LBFGS evaluates the model several times a step, which no runner here does')
        unknown = sorted(set(self.paramwise) - set(_PARAMWISE_KEYS))
        if unknown:
            raise TypeError(
                f'optimizer.paramwise_cfg has no {unknown[0]!r}, expected some of {", ".join(_PARAMWISE_KEYS)}'
            )
        for key, multipliers in self.paramwise.get('custom_keys', {}).items():
            if not isinstance(multipliers, Mapping) or set(multipliers) - {'lr_mult', 'decay_mult'}:
                raise TypeError(
                    f'optimizer.paramwise_cfg.custom_keys[{key!r}] is {multipliers!r}, '
                    'expected a dict with lr_mult, decay_mult or both'
                )
        self.base_lr: float | None = self.optimizer_cfg.get('lr', _default_lr(self.optimizer_cfg))
        self.base_decay: float | None = self.optimizer_cfg.get('weight_decay')
        needs_decay = [key for key in self.paramwise if 'decay' in key]
        if needs_decay and self.base_decay is None:
            raise ValueError(
                f'optimizer.paramwise_cfg.{needs_decay[0]} multiplies weight_decay, which the optimizer lacks'
            )

    def __call__(self, model: nn.Module) -> Optimizer:
        module = getattr(model, 'module', model)
        params: Any = self.groups(module) if self.paramwise else [p for p in module.parameters() if p.requires_grad]
        if not params:
            raise ValueError(f'{type(module).__name__} has no trainable parameter')
        return build_from_cfg(self.optimizer_cfg, OPTIMIZERS, {'params': params, **self._implementation(module)})

    def _implementation(self, model: nn.Module) -> dict[str, bool]:
        """On a GPU, the optimizer's fused kernels: no step waits there for the check of its gradient."""
        kind = self.optimizer_cfg.get('type')
        made_by = OPTIMIZERS.get(kind) if isinstance(kind, str) else kind
        on_gpu = all(param.is_cuda and param.is_floating_point() for param in model.parameters())
        is_chosen = any(key in self.optimizer_cfg for key in _IMPLEMENTATION)
        return {'fused': True} if made_by in _FUSED and on_gpu and not is_chosen else {}

    def groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """One parameter group for each trainable parameter, in the order of the modules."""
        self._warn_of_idle_keys(model)
        groups: list[dict[str, Any]] = []
        seen: set[int] = set()
        for prefix, module, parent in _walk(model):
            for name, param in module.named_parameters(recurse=False):
                full_name = f'{prefix}.{name}' if prefix else name
                if not param.requires_grad:
                    continue
                if id(param) in seen:
                    if not self.paramwise.get('bypass_duplicate', False):
                        raise ValueError(
                            f'{full_name} is shared with another module: '
                            'optimizer.paramwise_cfg.bypass_duplicate=True uses the settings of the first'
                        )
                    logger.warning('%s is shared with another module, whose optimizer settings count', full_name)
                    continue
                seen.add(id(param))
                groups.append({'params': [param], **self._options(full_name, name, module, parent)})
        return groups

    def _warn_of_idle_keys(self, model: nn.Module) -> None:
        names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
        parts = {part for name in names for part in name.split('.')}
        for key in self.paramwise.get('custom_keys', {}):
            if not any(key in name for name in names):
                near = difflib.get_close_matches(key, parts, 1, cutoff=0.8)
                hint = f', did you mean {near[0]!r}?' if near else ''
                # Without a near name it is for a part that this model lacks, as in the configs of a whole family.
                level = logging.WARNING if near else logging.INFO
                logger.log(level, 'optimizer.paramwise_cfg.custom_keys: no parameter has %r in its name%s', key, hint)

    def _options(self, full_name: str, name: str, module: nn.Module, parent: nn.Module | None) -> dict[str, float]:
        """The lr and weight_decay of one parameter, where they differ from the optimizer's."""
        lr_mult, decay_mult = self._multipliers(full_name, name, module, parent)
        options: dict[str, float] = {}
        if lr_mult is not None and self.base_lr is not None:
            options['lr'] = self.base_lr * lr_mult
        if decay_mult is not None and self.base_decay is not None:
            options['weight_decay'] = self.base_decay * decay_mult
        return options

    def _multipliers(
        self, full_name: str, name: str, module: nn.Module, parent: nn.Module | None
    ) -> tuple[float | None, float | None]:
        """(lr, decay), None where nothing was asked for."""
        custom: Mapping[str, Mapping[str, float]] = self.paramwise.get('custom_keys', {})
        for key in sorted(sorted(custom), key=len, reverse=True):
            if key in full_name:
                return custom[key].get('lr_mult', 1.0), custom[key].get('decay_mult', 1.0)
        ask = self.paramwise.get
        is_norm = isinstance(module, _NORMS)
        is_dcn_offset = parent is not None and 'DeformConv' in type(parent).__name__
        lr_mult = ask('bias_lr_mult') if name == 'bias' and not is_norm and not is_dcn_offset else None
        if is_dcn_offset and 'conv_offset' in full_name:
            lr_mult = ask('dcn_offset_lr_mult')
        if is_norm:
            return lr_mult, ask('norm_decay_mult')
        if isinstance(module, nn.Conv2d) and module.groups > 1 and module.groups == module.in_channels:
            return lr_mult, ask('dwconv_decay_mult')
        return lr_mult, ask('bias_decay_mult') if name == 'bias' and not is_dcn_offset else None


def _default_lr(optimizer_cfg: Mapping[str, Any]) -> float | None:
    kind = optimizer_cfg['type']
    made_by = OPTIMIZERS.get(kind) if isinstance(kind, str) else kind
    parameter = inspect.signature(made_by).parameters.get('lr')
    return parameter.default if parameter and isinstance(parameter.default, (int, float)) else None


def _walk(
    module: nn.Module, prefix: str = '', parent: nn.Module | None = None
) -> list[tuple[str, nn.Module, nn.Module | None]]:
    """(name, module, the module it is in) of all modules; one that is used twice comes twice."""
    found: list[tuple[str, nn.Module, nn.Module | None]] = [(prefix, module, parent)]
    for name, child in module.named_children():
        found += _walk(child, f'{prefix}.{name}' if prefix else name, module)
    return found


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


def step_if(condition: Tensor, optimizer: Optimizer) -> bool | None:
    """A step of the optimizer if the condition, a boolean on the device, is true.

    Returns:
        True if the step was taken; None if the device decides, without waiting, as with torch's fused optimizers.
    """
    if isinstance(optimizer, _FUSED) and all(group.get('fused') for group in optimizer.param_groups):
        vars(optimizer)['found_inf'] = (~condition).float()  # as torch's GradScaler tells them of an overflow
        optimizer.step()
        del vars(optimizer)['found_inf']
        return None
    if condition:
        optimizer.step()
    return bool(condition)


def load_optimizer_state(optimizer: Optimizer, state: Mapping[str, Any], model: nn.Module) -> None:
    """Continue with the state in a checkpoint.

    An optimizer over all parameters of the model, frozen ones included, as mmdetection makes it, is cut down to the
    trainable ones.

    Raises:
        ValueError: if the parameter groups differ.
    """
    groups = [dict(group) for group in state['param_groups']]
    saved = [index for group in groups for index in group['params']]
    everything = list(model.parameters())
    if len(saved) == len(everything) != sum(len(group['params']) for group in optimizer.param_groups):
        kept = {index for index, param in zip(saved, everything) if param.requires_grad}
        for group in groups:
            group['params'] = [index for index in group['params'] if index in kept]
        groups = [group for group in groups if group['params']]
    for group, own in zip(groups, optimizer.param_groups):
        group.update({key: own[key] for key in _IMPLEMENTATION if key in own})
    optimizer.load_state_dict({'state': state['state'], 'param_groups': groups})
