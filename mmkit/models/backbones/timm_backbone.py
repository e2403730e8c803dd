"""Backbones of timm (PyTorch Image Models)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.layers import BaseModule, InitCfg, initialize
from mmkit.registry import BACKBONES, NORM_LAYERS, Cfg
from mmkit.utils.names import nearest
from mmkit.utils.weights import resolve

REFUSED = {
    'num_classes': 'the classifier is removed',
    'global_pool': 'maps are returned before pooling',
    'in_chans': 'it is called in_channels here',
}


@BACKBONES.register_module()
class TIMMBackbone(BaseModule):
    """A model of timm without its classifier. timm is optional: `pip install timm`.

    Args:
        model_name: as in `timm.list_models()`, also with a tag for its weights: 'resnet50.tv_in1k'.
        features_only: return the maps of several stages, as a pyramid needs them, instead of the last map.
        pretrained: start from timm's weights, which it downloads.
        checkpoint_path: start from a file of the whole timm model, classifier included: a path, URL or scheme. Only
            without `features_only`.
        in_channels: channels of the image.
        init_cfg: initial weights; None for timm's own initialisation.
        out_indices: with `features_only`, the stages whose maps are returned; None for all. 0 is at stride 2 in most
            networks of convolutions, and at stride 4 in most transformers.
        **timm_args: further arguments of the chosen model (`drop_path_rate`, `output_stride`, `img_size`, ...). They
            are passed on unchecked: timm has more than a thousand models, each with arguments of its own, and their
            constructors refuse unknown ones by name. `norm_layer` may be the `type` of a norm_cfg.

    Raises:
        ImportError: timm is not installed.
        OSError: the weights of `pretrained` cannot be downloaded.
        TypeError: the model has no such argument.
        InvalidValueError: there is no such model, or arguments exclude one another.
    """

    def __init__(
        self,
        model_name: str,
        features_only: bool = False,
        pretrained: bool = False,
        checkpoint_path: str = '',
        in_channels: int = 3,
        init_cfg: InitCfg = None,
        out_indices: Sequence[int] | None = None,
        **timm_args: Any,
    ) -> None:
        super().__init__(init_cfg)
        timm = _import_timm()
        if not isinstance(pretrained, bool):
            raise InvalidTypeError(
                f'pretrained is True or False, got {pretrained!r}; a file is checkpoint_path', key='pretrained'
            )
        if bool(init_cfg) + pretrained + bool(checkpoint_path) > 1:
            raise InvalidValueError('give only one of pretrained, checkpoint_path and init_cfg', key='init_cfg')
        if ':' not in model_name and not timm.is_model(model_name):  # with a colon it is the name of a source
            near = ', '.join(nearest(model_name, timm.list_models()))
            raise InvalidValueError(
                f'timm {timm.__version__} has no model {model_name!r}; the nearest: {near}', key='model_name'
            )
        _check(features_only, checkpoint_path, out_indices, timm_args)
        if timm_args.get('norm_layer') in NORM_LAYERS:
            timm_args['norm_layer'] = NORM_LAYERS.get(timm_args['norm_layer'])
        if features_only:
            timm_args['features_only'] = True
            if out_indices is not None:
                timm_args['out_indices'] = tuple(out_indices)
        if checkpoint_path:
            timm_args['checkpoint_path'] = str(resolve(checkpoint_path))
        try:
            self.timm_model = timm.create_model(model_name, pretrained=pretrained, in_chans=in_channels, **timm_args)
        except TypeError:
            raise  # an argument that the model does not have
        except IndexError as error:
            if out_indices is None:
                raise
            raise InvalidValueError(f'{model_name} has no stages out_indices={out_indices!r}', 'out_indices') from error
        except Exception as error:  # the hub, its HTTP client and torch raise different classes in different versions
            if not pretrained:
                raise
            raise OSError(
                f'TIMMBackbone: pretrained=True, but the weights of {model_name} cannot be downloaded: '
                f'{type(error).__name__} {str(error).rstrip(".")}. Without network, get the file in another way '
                "and add pretrained_cfg_overlay=dict(file='its path'), or start randomly with pretrained=False"
            ) from error
        if not features_only:
            self.timm_model.reset_classifier(0, '')
        self.model_name = model_name
        self.channels_last = getattr(self.timm_model, 'output_fmt', 'NCHW') == 'NHWC'

    def init_weights(self) -> None:
        """Apply `init_cfg`. timm's constructors initialise by themselves; once more would overwrite `pretrained`."""
        if self.init_cfg:
            initialize(self, self.init_cfg)
        self._is_init = True

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (B, C, H, W) -> the maps of `out_indices`, or only the last map, (B, C_i, H_i, W_i) each.

        Raises:
            InvalidValueError: the model returns tokens, as transformers without stages do.
        """
        outs = self.timm_model(x)
        outs = tuple(outs) if isinstance(outs, (list, tuple)) else (outs,)
        if any(out.dim() != 4 for out in outs):
            raise InvalidValueError(
                f'{self.model_name} returns {[tuple(out.shape) for out in outs]}, which are no feature maps; '
                'with features_only=True it may return some',
                key='features_only',
            )
        return tuple(out.permute(0, 3, 1, 2).contiguous() for out in outs) if self.channels_last else outs


def _import_timm() -> Any:
    try:
        import timm
    except ImportError as error:
        raise ImportError('TIMMBackbone needs timm: pip install timm') from error
    return timm


def _check(features_only: bool, checkpoint_path: str, out_indices: Sequence[int] | None, timm_args: Cfg) -> None:
    """Refuse arguments that timm does not understand, or silently ignores."""
    if features_only and checkpoint_path:
        raise InvalidValueError(
            'with features_only=True timm loads checkpoint_path into the reduced model, whose names differ; '
            "use pretrained=True, pretrained_cfg_overlay=dict(file='the path') instead",
            key='checkpoint_path',
        )
    if out_indices is not None and not features_only:
        raise InvalidValueError(
            'out_indices needs features_only=True; else only the last map is returned', 'out_indices'
        )
    for name, value in timm_args.items():
        if name in REFUSED:
            raise InvalidValueError(f'TIMMBackbone takes no {name}: {REFUSED[name]}', key=name)
        if value is None:
            raise InvalidValueError(f'timm does not pass {name}=None on to the model: leave it out', key=name)
