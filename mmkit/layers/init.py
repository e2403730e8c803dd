"""Weights of fresh modules: the `init_cfg` of configs and the functions behind it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.layers.pretrained import load_matching
from mmkit.registry import INITIALIZERS, build_from_cfg, located

InitCfg = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None


def _fill(module: nn.Module, fill_weight: Callable[[Tensor], object], bias: float) -> None:
    weight, own_bias = getattr(module, 'weight', None), getattr(module, 'bias', None)
    if isinstance(weight, Tensor):
        fill_weight(weight)
    if isinstance(own_bias, Tensor):
        nn.init.constant_(own_bias, bias)


def constant_init(module: nn.Module, val: float, bias: float = 0) -> None:
    """Set `module.weight` to `val` and `module.bias` to `bias`, where there are any."""
    _fill(module, lambda weight: nn.init.constant_(weight, val), bias)


def xavier_init(module: nn.Module, gain: float = 1, bias: float = 0, distribution: str = 'normal') -> None:
    """Glorot initialisation, `distribution` 'normal' or 'uniform'."""
    _check_distribution(distribution)
    fill = nn.init.xavier_uniform_ if distribution == 'uniform' else nn.init.xavier_normal_
    _fill(module, lambda weight: fill(weight, gain=gain), bias)


def normal_init(module: nn.Module, mean: float = 0, std: float = 1, bias: float = 0) -> None:
    """Weights from a normal distribution."""
    _fill(module, lambda weight: nn.init.normal_(weight, mean, std), bias)


def trunc_normal_init(
    module: nn.Module, mean: float = 0, std: float = 1, a: float = -2, b: float = 2, bias: float = 0
) -> None:
    """Weights from a normal distribution cut off at the absolute values `a` and `b`."""
    _fill(module, lambda weight: nn.init.trunc_normal_(weight, mean, std, a, b), bias)


def uniform_init(module: nn.Module, a: float = 0, b: float = 1, bias: float = 0) -> None:
    """Weights evenly from [a, b]."""
    _fill(module, lambda weight: nn.init.uniform_(weight, a, b), bias)


def kaiming_init(
    module: nn.Module,
    a: float = 0,
    mode: str = 'fan_out',
    nonlinearity: str = 'relu',
    bias: float = 0,
    distribution: str = 'normal',
) -> None:
    """He initialisation (arXiv:1502.01852), `distribution` 'normal' or 'uniform'."""
    _check_distribution(distribution)
    fill: Any = nn.init.kaiming_uniform_ if distribution == 'uniform' else nn.init.kaiming_normal_
    _fill(module, lambda weight: fill(weight, a=a, mode=mode, nonlinearity=nonlinearity), bias)


def caffe2_xavier_init(module: nn.Module, bias: float = 0) -> None:
    """What Caffe2 calls Xavier: uniform with variance 1 / (3 fan_in)."""
    kaiming_init(module, a=1, mode='fan_in', nonlinearity='leaky_relu', bias=bias, distribution='uniform')


def bias_init_with_prob(prior_prob: float) -> float:
    """Bias for which a sigmoid answers `prior_prob`."""
    return -math.log((1 - prior_prob) / prior_prob)


def _check_distribution(distribution: str) -> None:
    if distribution not in ('normal', 'uniform'):
        raise ValueError(f"distribution is 'normal' or 'uniform', got {distribution!r}")


class Initializer:
    """Fills the submodules whose class (or a base of it) is named in `layer`; without `layer`, none.

    Args:
        layer: a class name or a list of them, e.g. 'Conv2d', '_BatchNorm'.
        bias: value of every bias.
        bias_prob: instead of `bias`, the probability a sigmoid of the bias should answer.
    """

    def __init__(
        self, layer: str | Sequence[str] | None = None, bias: float = 0, bias_prob: float | None = None
    ) -> None:
        if isinstance(bias, bool) or not isinstance(bias, (int, float)):
            raise TypeError(f'{type(self).__name__}: bias is a number, got {bias!r}')
        if bias_prob is not None and not isinstance(bias_prob, float):
            raise TypeError(f'{type(self).__name__}: bias_prob is a float, got {bias_prob!r}')
        if layer is not None and not isinstance(layer, (str, list, tuple)):
            raise TypeError(f'{type(self).__name__}: layer is a class name or a list of them, got {layer!r}')
        self.layers = {layer} if isinstance(layer, str) else set(layer or ())
        self.bias = bias if bias_prob is None else bias_init_with_prob(bias_prob)

    def fill(self, module: nn.Module) -> None:
        raise NotImplementedError

    def __call__(self, module: nn.Module, everything: bool = False) -> None:
        """Fill the chosen submodules of `module`; all of them when `everything`."""
        for child in module.modules():
            if everything or self.layers & {base.__name__ for base in type(child).__mro__}:
                self.fill(child)


@INITIALIZERS.register_module(name='Constant')
class ConstantInit(Initializer):
    """Weights `val`, see `Initializer` for the rest."""

    def __init__(
        self, val: float, layer: str | Sequence[str] | None = None, bias: float = 0, bias_prob: float | None = None
    ) -> None:
        super().__init__(layer, bias, bias_prob)
        self.val = val

    def fill(self, module: nn.Module) -> None:
        constant_init(module, self.val, self.bias)


@INITIALIZERS.register_module(name='Xavier')
class XavierInit(Initializer):
    """`xavier_init`, see `Initializer` for the rest."""

    def __init__(
        self,
        gain: float = 1,
        distribution: str = 'normal',
        layer: str | Sequence[str] | None = None,
        bias: float = 0,
        bias_prob: float | None = None,
    ) -> None:
        super().__init__(layer, bias, bias_prob)
        self.gain, self.distribution = gain, distribution

    def fill(self, module: nn.Module) -> None:
        xavier_init(module, self.gain, self.bias, self.distribution)


@INITIALIZERS.register_module(name='Normal')
class NormalInit(Initializer):
    """`normal_init`, see `Initializer` for the rest."""

    def __init__(
        self,
        mean: float = 0,
        std: float = 1,
        layer: str | Sequence[str] | None = None,
        bias: float = 0,
        bias_prob: float | None = None,
    ) -> None:
        super().__init__(layer, bias, bias_prob)
        self.mean, self.std = mean, std

    def fill(self, module: nn.Module) -> None:
        normal_init(module, self.mean, self.std, self.bias)


@INITIALIZERS.register_module(name='TruncNormal')
class TruncNormalInit(Initializer):
    """`trunc_normal_init`, see `Initializer` for the rest."""

    def __init__(
        self,
        mean: float = 0,
        std: float = 1,
        a: float = -2,
        b: float = 2,
        layer: str | Sequence[str] | None = None,
        bias: float = 0,
        bias_prob: float | None = None,
    ) -> None:
        super().__init__(layer, bias, bias_prob)
        self.mean, self.std, self.a, self.b = mean, std, a, b

    def fill(self, module: nn.Module) -> None:
        trunc_normal_init(module, self.mean, self.std, self.a, self.b, self.bias)


@INITIALIZERS.register_module(name='Uniform')
class UniformInit(Initializer):
    """`uniform_init`, see `Initializer` for the rest."""

    def __init__(
        self,
        a: float = 0.0,
        b: float = 1.0,
        layer: str | Sequence[str] | None = None,
        bias: float = 0,
        bias_prob: float | None = None,
    ) -> None:
        super().__init__(layer, bias, bias_prob)
        self.a, self.b = a, b

    def fill(self, module: nn.Module) -> None:
        uniform_init(module, self.a, self.b, self.bias)


@INITIALIZERS.register_module(name='Kaiming')
class KaimingInit(Initializer):
    """`kaiming_init`, see `Initializer` for the rest."""

    def __init__(
        self,
        a: float = 0,
        mode: str = 'fan_out',
        nonlinearity: str = 'relu',
        distribution: str = 'normal',
        layer: str | Sequence[str] | None = None,
        bias: float = 0,
        bias_prob: float | None = None,
    ) -> None:
        super().__init__(layer, bias, bias_prob)
        self.a, self.mode, self.nonlinearity, self.distribution = a, mode, nonlinearity, distribution

    def fill(self, module: nn.Module) -> None:
        kaiming_init(module, self.a, self.mode, self.nonlinearity, self.bias, self.distribution)


@INITIALIZERS.register_module(name='Caffe2Xavier')
class Caffe2XavierInit(Initializer):
    """`caffe2_xavier_init`, see `Initializer` for the rest."""

    def fill(self, module: nn.Module) -> None:
        caffe2_xavier_init(module, self.bias)


@INITIALIZERS.register_module(name='Pretrained')
class PretrainedInit:
    """Weights from a checkpoint.

    Args:
        checkpoint: a path, URL or scheme such as 'torchvision://resnet50'.
        prefix: take only the keys below it, e.g. 'backbone.'.
        map_location: device of the tensors read; None is the CPU.
    """

    def __init__(self, checkpoint: str, prefix: str | None = None, map_location: str | None = None) -> None:
        self.checkpoint, self.prefix, self.map_location = checkpoint, prefix, map_location

    def __call__(self, module: nn.Module, everything: bool = False) -> None:
        load_matching(module, self.checkpoint, self.prefix, self.map_location)


def is_pretrained(init_cfg: InitCfg) -> bool:
    """Whether `init_cfg` (a dict or a list of them) loads a checkpoint."""
    cfgs = [init_cfg] if isinstance(init_cfg, Mapping) else list(init_cfg or ())
    return any(cfg.get('type') in ('Pretrained', PretrainedInit) for cfg in cfgs)


@torch.no_grad()
def initialize(module: nn.Module, init_cfg: InitCfg) -> None:
    """Apply one `init_cfg`, or several in turn, to `module`.

    An initializer's dict holds its arguments and, under `override`, one dict or a list of them: `name` of a submodule,
    and a whole initializer for it (none: the same as for the module), which then fills everything in that submodule.

    Raises:
        TypeError: `init_cfg` is neither a dict nor a list.
        ValueError: an override without `name`, with arguments but no `type`, or naming no submodule.
    """
    if not isinstance(init_cfg, (Mapping, list, tuple)):
        raise TypeError(f'init_cfg is a dict or a list of dicts, got {init_cfg!r}')
    for cfg in [init_cfg] if isinstance(init_cfg, Mapping) else init_cfg:
        own = {key: value for key, value in cfg.items() if key != 'override'}
        with located(cfg, 'checkpoint'):
            build_from_cfg(own, INITIALIZERS)(module)
        overrides = cfg.get('override') or []
        for override in [overrides] if isinstance(overrides, Mapping) else overrides:
            _apply_override(module, override, own)


def _apply_override(module: nn.Module, override: Mapping[str, Any], base: Mapping[str, Any]) -> None:
    where = f'init_cfg of {type(module).__name__}'
    cfg = dict(override)
    name = cfg.pop('name', None)
    if name is None:
        raise ValueError(f"{where}: an override needs the 'name' of a submodule, got {dict(override)}")
    if not cfg:
        cfg = {key: value for key, value in base.items() if key != 'layer'}
    elif 'type' not in cfg:
        raise ValueError(f"{where}: the override of {name!r} has arguments but no 'type': {dict(override)}")
    if not hasattr(module, name):
        known = [child for child, _ in module.named_children()]
        raise ValueError(f'{where}: the override names {name!r}, but the submodules are {known}')
    build_from_cfg(cfg, INITIALIZERS)(getattr(module, name), everything=True)
