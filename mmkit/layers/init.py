"""Initial weights: the `init_cfg` of configs and the functions behind it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.layers.pretrained import load_matching
from mmkit.registry import INITIALIZERS, Cfg, build_from_cfg, located

InitCfg = Cfg | Sequence[Cfg] | None
Distribution = Literal['normal', 'uniform']
FanMode = Literal['fan_in', 'fan_out']
Nonlinearity = Literal['relu', 'leaky_relu']


def _fill(module: nn.Module, fill_weight: Callable[[Tensor], object], bias: float) -> None:
    weight, own_bias = getattr(module, 'weight', None), getattr(module, 'bias', None)
    if isinstance(weight, Tensor):
        fill_weight(weight)
    if isinstance(own_bias, Tensor):
        nn.init.constant_(own_bias, bias)


def constant_init(module: nn.Module, val: float, bias: float = 0) -> None:
    """Set `module.weight` to `val` and `module.bias` to `bias`, where the module has them."""
    _fill(module, lambda weight: nn.init.constant_(weight, val), bias)


def xavier_init(module: nn.Module, gain: float = 1, bias: float = 0, distribution: Distribution = 'normal') -> None:
    """Glorot initialisation from a normal or a uniform distribution."""
    _check_distribution(distribution)
    fill = nn.init.xavier_uniform_ if distribution == 'uniform' else nn.init.xavier_normal_
    _fill(module, lambda weight: fill(weight, gain=gain), bias)


def normal_init(module: nn.Module, mean: float = 0, std: float = 1, bias: float = 0) -> None:
    """Normally distributed weights."""
    _fill(module, lambda weight: nn.init.normal_(weight, mean, std), bias)


def trunc_normal_init(
    module: nn.Module, mean: float = 0, std: float = 1, a: float = -2, b: float = 2, bias: float = 0
) -> None:
    """Weights from a normal distribution truncated to [a, b]."""
    _fill(module, lambda weight: nn.init.trunc_normal_(weight, mean, std, a, b), bias)


def uniform_init(module: nn.Module, a: float = 0, b: float = 1, bias: float = 0) -> None:
    """Weights distributed uniformly in [a, b]."""
    _fill(module, lambda weight: nn.init.uniform_(weight, a, b), bias)


def kaiming_init(
    module: nn.Module,
    a: float = 0,
    mode: FanMode = 'fan_out',
    nonlinearity: Nonlinearity = 'relu',
    bias: float = 0,
    distribution: Distribution = 'normal',
) -> None:
    """He initialisation (arXiv:1502.01852) from a normal or a uniform distribution."""
    _check_distribution(distribution)
    fill = nn.init.kaiming_uniform_ if distribution == 'uniform' else nn.init.kaiming_normal_
    _fill(module, lambda weight: fill(weight, a=a, mode=mode, nonlinearity=nonlinearity), bias)


def caffe2_xavier_init(module: nn.Module, bias: float = 0) -> None:
    """Xavier initialisation as Caffe2 defines it: uniform with variance 1 / (3 fan_in)."""
    kaiming_init(module, a=1, mode='fan_in', nonlinearity='leaky_relu', bias=bias, distribution='uniform')


def bias_init_with_prob(prior_prob: float) -> float:
    """The bias at which a sigmoid gives `prior_prob`."""
    return -math.log((1 - prior_prob) / prior_prob)


def _check_distribution(distribution: str) -> None:
    if distribution not in ('normal', 'uniform'):
        raise InvalidValueError(f"distribution is 'normal' or 'uniform', got {distribution!r}", key='distribution')


@dataclass(kw_only=True)
class Initializer:
    """Fills the submodules whose class, or a base class of it, is named in `layer`; without `layer`, none.

    Args:
        layer: a class name or a list of them, e.g. 'Conv2d', '_BatchNorm'.
        bias: value of every bias.
        bias_prob: instead of `bias`, the probability that a sigmoid of the bias gives.
    """

    layer: str | Sequence[str] | None = None
    bias: float = 0
    bias_prob: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.bias, bool) or not isinstance(self.bias, (int, float)):
            raise InvalidTypeError(f'bias is a number, got {self.bias!r}', key='bias')
        if self.bias_prob is not None and not isinstance(self.bias_prob, float):
            raise InvalidTypeError(f'bias_prob is a float, got {self.bias_prob!r}', key='bias_prob')
        if self.layer is not None and not isinstance(self.layer, (str, list, tuple)):
            raise InvalidTypeError(f'layer is a class name or a list of them, got {self.layer!r}', key='layer')
        if self.bias_prob is not None:
            self.bias = bias_init_with_prob(self.bias_prob)

    def fill(self, module: nn.Module) -> None:
        raise NotImplementedError

    def __call__(self, module: nn.Module, everything: bool = False) -> None:
        """Fill the chosen submodules of `module`; all of them when `everything`."""
        layers = {self.layer} if isinstance(self.layer, str) else set(self.layer or ())
        for child in module.modules():
            if everything or layers & {base.__name__ for base in type(child).__mro__}:
                self.fill(child)


@INITIALIZERS.register_module(name='Constant')
@dataclass
class ConstantInit(Initializer):
    """`constant_init` of the submodules that `Initializer` chooses."""

    val: float

    def fill(self, module: nn.Module) -> None:
        constant_init(module, self.val, self.bias)


@INITIALIZERS.register_module(name='Xavier')
@dataclass
class XavierInit(Initializer):
    """`xavier_init` of the submodules that `Initializer` chooses."""

    gain: float = 1
    distribution: Distribution = 'normal'

    def fill(self, module: nn.Module) -> None:
        xavier_init(module, self.gain, self.bias, self.distribution)


@INITIALIZERS.register_module(name='Normal')
@dataclass
class NormalInit(Initializer):
    """`normal_init` of the submodules that `Initializer` chooses."""

    mean: float = 0
    std: float = 1

    def fill(self, module: nn.Module) -> None:
        normal_init(module, self.mean, self.std, self.bias)


@INITIALIZERS.register_module(name='TruncNormal')
@dataclass
class TruncNormalInit(Initializer):
    """`trunc_normal_init` of the submodules that `Initializer` chooses."""

    mean: float = 0
    std: float = 1
    a: float = -2
    b: float = 2

    def fill(self, module: nn.Module) -> None:
        trunc_normal_init(module, mean=self.mean, std=self.std, a=self.a, b=self.b, bias=self.bias)


@INITIALIZERS.register_module(name='Uniform')
@dataclass
class UniformInit(Initializer):
    """`uniform_init` of the submodules that `Initializer` chooses."""

    a: float = 0.0
    b: float = 1.0

    def fill(self, module: nn.Module) -> None:
        uniform_init(module, self.a, self.b, self.bias)


@INITIALIZERS.register_module(name='Kaiming')
@dataclass
class KaimingInit(Initializer):
    """`kaiming_init` of the submodules that `Initializer` chooses."""

    a: float = 0
    mode: FanMode = 'fan_out'
    nonlinearity: Nonlinearity = 'relu'
    distribution: Distribution = 'normal'

    def fill(self, module: nn.Module) -> None:
        kaiming_init(
            module,
            a=self.a,
            mode=self.mode,
            nonlinearity=self.nonlinearity,
            bias=self.bias,
            distribution=self.distribution,
        )


@INITIALIZERS.register_module(name='Caffe2Xavier')
@dataclass
class Caffe2XavierInit(Initializer):
    """`caffe2_xavier_init` of the submodules that `Initializer` chooses."""

    def fill(self, module: nn.Module) -> None:
        caffe2_xavier_init(module, self.bias)


@INITIALIZERS.register_module(name='Pretrained')
@dataclass
class PretrainedInit:
    """Weights from a checkpoint.

    Args:
        checkpoint: a path, URL or scheme such as 'torchvision://resnet50'.
        prefix: take only the keys below it, e.g. 'backbone.'.
        map_location: device of the tensors read; None is the CPU.
    """

    checkpoint: str
    prefix: str | None = None
    map_location: str | None = None

    def __call__(self, module: nn.Module, everything: bool = False) -> None:
        load_matching(module, self.checkpoint, self.prefix, self.map_location)


def is_pretrained(init_cfg: InitCfg) -> bool:
    """True if `init_cfg` (a dict or a list of them) loads a checkpoint."""
    cfgs = [init_cfg] if isinstance(init_cfg, Mapping) else list(init_cfg or ())
    return any(cfg.get('type') in ('Pretrained', PretrainedInit) for cfg in cfgs)


@torch.no_grad()
def initialize(module: nn.Module, init_cfg: InitCfg) -> None:
    """Apply one `init_cfg`, or several in turn, to `module`.

    An initializer's dict holds its arguments and, under `override`, one dict or a list of them: `name` of a submodule,
    and a whole initializer for it (none: the same as for the module), which then fills everything in that submodule.

    Raises:
        InvalidTypeError: `init_cfg` is neither a dict nor a list.
        InvalidValueError: an override without `name`, with arguments but no `type`, or naming no submodule.
    """
    if not isinstance(init_cfg, (Mapping, list, tuple)):
        raise InvalidTypeError(f'init_cfg is a dict or a list of dicts, got {init_cfg!r}', key='init_cfg')
    for cfg in [init_cfg] if isinstance(init_cfg, Mapping) else init_cfg:
        own = {key: value for key, value in cfg.items() if key != 'override'}
        overrides = cfg.get('override') or []
        with located(cfg, 'checkpoint' if 'checkpoint' in cfg else None):
            build_from_cfg(own, INITIALIZERS)(module)
            for override in [overrides] if isinstance(overrides, Mapping) else overrides:
                _apply_override(module, override, own)


def _apply_override(module: nn.Module, override: Cfg, base: Cfg) -> None:
    where = f'init_cfg of {type(module).__name__}'
    cfg = dict(override)
    name = cfg.pop('name', None)
    if name is None:
        raise InvalidValueError(f"{where}: an override needs the 'name' of a submodule, got {dict(override)}")
    if not cfg:
        cfg = {key: value for key, value in base.items() if key != 'layer'}
    elif 'type' not in cfg:
        raise InvalidValueError(f"{where}: the override of {name!r} has arguments but no 'type': {dict(override)}")
    child = getattr(module, name, None)  # may be a property: a residual block's `norm2` is the submodule 'bn2'
    if not isinstance(child, nn.Module):
        known = [known for known, _ in module.named_children()]
        raise InvalidValueError(f'{where}: the override names {name!r}, but the submodules are {known}', key='override')
    build_from_cfg(cfg, INITIALIZERS)(child, everything=True)
