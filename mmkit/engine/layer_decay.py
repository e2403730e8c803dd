"""Learning rates that fall from the head to the first layers of a backbone."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

from mmkit.engine.checkpoint import unwrap
from mmkit.engine.optim import DefaultOptimizerConstructor
from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.registry import OPTIMIZER_BUILDERS, OPTIMIZERS, check_arguments

_TOKENS = ('backbone.cls_token', 'backbone.mask_token', 'backbone.pos_embed', 'backbone.patch_embed.')
_BLOCKS_IN_LAYER = 3  # of ConvNeXt's long third stage


@OPTIMIZER_BUILDERS.register_module()
class LearningRateDecayOptimizerConstructor:
    """Builds an optimizer whose rate falls by a factor from layer to layer, as for ConvNeXt (arXiv:2201.03545).

    The backbone has `downsample_layers` and `stages` like ConvNeXt, or `blocks` (or `layers`) like a vision
    transformer. Biases, norms and other parameters of one dimension get no weight decay.

    Args:
        optimizer_cfg: `type` and arguments of the optimizer.
        paramwise_cfg: `decay_rate`, the factor between two layers; `num_layers` of the backbone; `decay_type`,
            'layer_wise', or 'stage_wise' for one factor a stage. `norm_decay_mult` and `bias_decay_mult` may be 0, as
            they are here; `bypass_duplicate` changes nothing, as a shared parameter is of its first module.

    Raises:
        InvalidTypeError: for an unknown key.
        InvalidValueError: for a value that makes no sense, or a backbone without such layers.
    """

    def __init__(self, optimizer_cfg: Mapping[str, Any], paramwise_cfg: Mapping[str, Any] | None = None) -> None:
        DefaultOptimizerConstructor(optimizer_cfg)  # checks the optimizer
        if 'lr' not in optimizer_cfg:
            raise InvalidTypeError('the optimizer has no lr, which falls from layer to layer', key='lr')
        self.optimizer_cfg = optimizer_cfg
        self._read(**_checked(paramwise_cfg or {}, self._read))

    def _read(
        self,
        decay_rate: float,
        num_layers: int,
        decay_type: str = 'layer_wise',
        norm_decay_mult: float = 0.0,
        bias_decay_mult: float = 0.0,
        bypass_duplicate: bool = False,
    ) -> None:
        if norm_decay_mult or bias_decay_mult:
            message = 'norm_decay_mult and bias_decay_mult are 0 where the rate falls from layer to layer'
            raise InvalidValueError(message, key='paramwise_cfg')
        if decay_type not in ('layer_wise', 'stage_wise'):
            message = f"decay_type is {decay_type!r}, expected 'layer_wise' or 'stage_wise'"
            raise InvalidValueError(message, key='paramwise_cfg.decay_type')
        self.decay_rate = decay_rate
        self.num_layers = num_layers
        self.by_stage = decay_type == 'stage_wise'

    def __call__(self, model: nn.Module) -> Optimizer:
        model = unwrap(model)
        weight_decay = self.optimizer_cfg.get('weight_decay', 0.0)
        groups: dict[tuple[int, bool], dict[str, Any]] = {}
        depths = set()
        for name, param in model.named_parameters():
            if not param.requires_grad:
                continue
            layer = stage_of(name, self.num_layers) if self.by_stage else layer_of(name, self.num_layers)
            depths.add(layer)
            is_decayed = param.ndim > 1 and not name.endswith(('.bias', 'pos_embed', 'cls_token'))
            scale = self.decay_rate ** (self.num_layers + 1 - layer)
            settings = {'lr': self.optimizer_cfg['lr'] * scale, 'weight_decay': weight_decay if is_decayed else 0.0}
            groups.setdefault((layer, is_decayed), {'params': [], **settings})['params'].append(param)
        if len(depths) < 2:
            message = 'the backbone has neither stages like ConvNeXt nor blocks like a vision transformer'
            raise InvalidValueError(f'{message}: its layers are not known', key='constructor')
        return OPTIMIZERS.build(self.optimizer_cfg, params=list(groups.values()))


def layer_of(name: str, num_layers: int) -> int:
    """The layer of a parameter: 0 for the first of the backbone, to `num_layers`; one more for neck and heads."""
    if name.startswith(_TOKENS):
        return 0
    stage = re.match(r'backbone\.downsample_layers\.(\d+)\.', name)
    if stage:
        return (0, 2, 3, num_layers)[int(stage[1])]
    block = re.match(r'backbone\.stages\.(\d+)\.(\d+)\.', name)
    if block:
        return (1, 2, 3 + int(block[2]) // _BLOCKS_IN_LAYER, num_layers)[int(block[1])]
    block = re.match(r'backbone\.(?:blocks|layers)\.(\d+)\.', name)
    return int(block[1]) + 1 if block else num_layers + 1


def stage_of(name: str, num_stages: int) -> int:
    """The stage of a parameter: 0 for the stem, 1 to `num_stages` for the stages; one more for neck and heads."""
    if name.startswith((*_TOKENS, 'backbone.downsample_layers.')):
        return 0
    stage = re.match(r'backbone\.stages\.(\d+)\.', name)
    return int(stage[1]) + 1 if stage else num_stages + 1


def _checked(arguments: Mapping[str, Any], reader: Callable[..., None]) -> dict[str, Any]:
    try:
        check_arguments(reader, arguments, name='paramwise_cfg')
    except InvalidTypeError as error:
        error.key = f'paramwise_cfg.{error.key}' if error.key else 'paramwise_cfg'
        raise
    return dict(arguments)
