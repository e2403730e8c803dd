"""Norm layers by the `type` of a `norm_cfg`, and freezing."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.registry import NORM_LAYERS, Cfg, build_from_cfg, located


class SyncBN(nn.SyncBatchNorm):
    """Batch norm over all processes on GPUs, and over the own process on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x) if x.is_cuda else _BatchNorm.forward(self, x)
        return x


class MMSyncBN(SyncBN):
    """mmcv's own SyncBN; the same as SyncBN where all processes have batches of one size.

    Args:
        num_features, eps, momentum, affine, track_running_stats: see nn.BatchNorm2d.
        group: must be None, which is all processes.
        stats_mode: 'default' or 'N'; has no effect, all elements of all processes weigh the same.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        group: None = None,
        stats_mode: str = 'default',
    ) -> None:
        if group is not None:
            raise InvalidValueError(f'MMSyncBN: group must be None, all processes, got {group!r}', key='group')
        if stats_mode not in ('default', 'N'):
            raise InvalidValueError(f"MMSyncBN: stats_mode is 'default' or 'N', got {stats_mode!r}", key='stats_mode')
        super().__init__(
            num_features, eps=eps, momentum=momentum, affine=affine, track_running_stats=track_running_stats
        )


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of each cell of (B, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


for _name, _layer in dict(
    BN=nn.BatchNorm2d,
    BN1d=nn.BatchNorm1d,
    BN2d=nn.BatchNorm2d,
    BN3d=nn.BatchNorm3d,
    SyncBN=SyncBN,
    MMSyncBN=MMSyncBN,
    GN=nn.GroupNorm,
    LN=nn.LayerNorm,
    LN2d=LayerNorm2d,
    IN=nn.InstanceNorm2d,
    IN1d=nn.InstanceNorm1d,
    IN2d=nn.InstanceNorm2d,
    IN3d=nn.InstanceNorm3d,
).items():
    NORM_LAYERS.register_module(_name, module=_layer)


def norm_abbreviation(layer_class: type) -> str:
    """The name of such a layer in its module, as mmcv infers it: 'bn', 'gn', 'ln', 'in' or 'norm_layer'."""
    own = getattr(layer_class, '_abbr_', None)
    if own:
        return str(own)
    for base, word in ((_InstanceNorm, 'in'), (_BatchNorm, 'bn'), (nn.GroupNorm, 'gn'), (nn.LayerNorm, 'ln')):
        if issubclass(layer_class, base):
            return word
    for part, word in (('batch', 'bn'), ('group', 'gn'), ('layer', 'ln'), ('instance', 'in')):
        if part in layer_class.__name__.lower():
            return word
    return 'norm_layer'


def build_norm_layer(cfg: Cfg, num_features: int, postfix: int | str = '') -> tuple[str, nn.Module]:
    """Build the norm layer of a `norm_cfg`.

    Args:
        cfg: `type`, its arguments, and `requires_grad` (True) of its parameters.
        num_features: channels.
        postfix: appended to the abbreviation of the layer.

    Returns:
        The layer's name in checkpoints, e.g. 'bn1', and the layer.
    """
    if not isinstance(cfg, Mapping):
        raise InvalidTypeError(f"norm_cfg is a dict such as dict(type='BN'), got {cfg!r}", key='norm_cfg')
    arguments = {key: value for key, value in cfg.items() if key != 'requires_grad'}
    with located(cfg):
        kind = arguments.get('type')
        layer_class = NORM_LAYERS.get(kind) if isinstance(kind, str) else kind
        if layer_class is nn.SyncBatchNorm:  # as configs that import their types name it; SyncBN runs on a CPU, too
            arguments['type'] = SyncBN
        if isinstance(layer_class, type) and issubclass(layer_class, nn.GroupNorm):  # whose groups come first
            layer = build_from_cfg(arguments, NORM_LAYERS, dict(num_channels=num_features, eps=1e-5))
        else:
            layer = build_from_cfg(arguments, NORM_LAYERS, dict(eps=1e-5), positional=(num_features,))
    for parameter in layer.parameters():
        parameter.requires_grad = cfg.get('requires_grad', True)
    return norm_abbreviation(type(layer)) + str(postfix), layer


def synchronise_batch_norm(module: nn.Module) -> None:
    """Put a `SyncBN` in the place of every `BatchNorm2d` below `module`, with its weights and statistics."""
    for parent in list(module.modules()):
        for name, norm in parent.named_children():
            if type(norm) is not nn.BatchNorm2d:
                continue
            synchronised = SyncBN(
                norm.num_features,
                eps=norm.eps,
                momentum=norm.momentum,
                affine=norm.affine,
                track_running_stats=norm.track_running_stats,
            )
            synchronised.load_state_dict(norm.state_dict())
            synchronised.train(norm.training)
            for own, old in zip(synchronised.parameters(), norm.parameters(), strict=True):
                own.requires_grad = old.requires_grad
            setattr(parent, name, synchronised)


def freeze_batch_norm(module: nn.Module) -> None:
    """Put every batch norm in `module` into eval mode, in which its statistics stay as they are."""
    for child in module.modules():
        if isinstance(child, _BatchNorm):
            child.eval()


def freeze(module: nn.Module) -> None:
    """Eval mode, and no gradient for any parameter."""
    module.eval()
    for parameter in module.parameters():
        parameter.requires_grad = False
