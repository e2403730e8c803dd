"""Spellings of transforms. 3.x gives sizes as (width, height) where the neutral spelling has (height, width)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mmkit.config import ConfigDict
from mmkit.dialects.spellings.spelling import Rewrite, Spelling, rename
from mmkit.errors import InvalidValueError
from mmkit.utils.names import unscoped

_Size = float | Sequence[float]  # of a square, or of both edges
_Chain = Sequence[Mapping[str, Any]]


def _pair(size: _Size) -> Sequence[float]:
    """The size as it is; a number is the edge of a square."""
    return (size, size) if isinstance(size, (int, float)) else size


def _swapped(size: _Size | str | None) -> Sequence[float] | str | None:
    """(height, width) from (width, height), and back."""
    return size if size is None or isinstance(size, str) else _pair(size)[::-1]  # a text is refused later


def _read_backend(backend: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return {'backend': 'disk'} if backend == {'backend': 'local'} else backend


def _write_backend(backend: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return {'backend': 'local'} if backend == {'backend': 'disk'} else backend


def without(*keys: str) -> Rewrite:
    """A step that drops arguments which the other dialect neither has nor needs."""

    def drop(cfg: ConfigDict) -> ConfigDict:
        for key in keys:
            cfg.pop(key, None)
        return cfg

    return drop


_SWAPPED = (_swapped, _swapped)
BACKEND = (_read_backend, _write_backend)

# ------------------------------------------------------------------ resizing


def _read_resizes(cfg: ConfigDict) -> ConfigDict:
    """`resize_type` of RandomResize and RandomChoiceResize."""
    kind = unscoped(str(cfg.pop('resize_type', 'Resize')))
    if kind not in ('Resize', 'FixScaleResize'):
        raise InvalidValueError(f'resize_type is Resize or FixScaleResize, got {kind!r}', cfg._path_of('resize_type'))
    if kind == 'FixScaleResize':
        cfg._put('round_down', True, None)
    return cfg


def _read_random_resize(cfg: ConfigDict) -> ConfigDict:
    scales = cfg.get('img_scale')
    pairs = [scale for scale in scales or () if isinstance(scale, (list, tuple))]
    if not cfg['keep_ratio'] and any(width < height for width, height in pairs):
        message = 'RandomResize(keep_ratio=False) draws from scales that are wider than high'
        raise InvalidValueError(message, cfg._path_of('img_scale'), cfg._origin_of('img_scale'))
    return _read_resizes(cfg)


def _read_choice(cfg: ConfigDict) -> ConfigDict:
    cfg._put('multiscale_mode', 'value', None)
    return _read_resizes(cfg)


def _write_resizes(cfg: ConfigDict) -> ConfigDict:
    if cfg.pop('round_down', False):
        cfg._put('resize_type', 'FixScaleResize', None)
    return without('multiscale_mode', 'override')(cfg)


def _read_scales(scales: Sequence[_Size]) -> list[Sequence[float]]:
    return [_pair(scale) for scale in scales]


def _write_scales(scales: Sequence[Any]) -> Sequence[Any]:
    return scales if isinstance(scales[0], (list, tuple)) else [scales]


def _is_choice(cfg: ConfigDict) -> bool:
    return cfg.get('multiscale_mode') == 'value' and cfg.get('ratio_range') is None


def _is_random(cfg: ConfigDict) -> bool:
    scales = cfg.get('img_scale')
    return cfg.get('ratio_range') is not None or (scales is not None and isinstance(scales[0], (list, tuple)))


def _round_down(cfg: ConfigDict) -> ConfigDict:
    cfg._put('round_down', True, None)
    return cfg


def _write_one_resize(cfg: ConfigDict) -> ConfigDict:
    return without('round_down', 'multiscale_mode', 'override')(cfg)


_RESIZE_NAMES = {'scale': 'img_scale', 'clip_object_border': 'bbox_clip_border'}
_KEEP_RATIO = {'keep_ratio': (False, True)}
_PAIR = (_pair, lambda scale: scale)

RESIZING: Mapping[str, Spelling] = {
    'RandomChoiceResize': Spelling(
        name='Resize',
        renamed={'scales': 'img_scale', 'clip_object_border': 'bbox_clip_border'},
        defaults=_KEEP_RATIO,
        converted={'img_scale': (_read_scales, _write_scales)},
        refine=_read_choice,
        restore=_write_resizes,
        applies=_is_choice,
    ),
    'RandomResize': Spelling(
        name='Resize',
        renamed=_RESIZE_NAMES,
        defaults=_KEEP_RATIO,
        refine=_read_random_resize,
        restore=_write_resizes,
        applies=_is_random,
    ),
    'FixScaleResize': Spelling(
        name='Resize',
        renamed=_RESIZE_NAMES,
        defaults=_KEEP_RATIO,
        converted={'img_scale': _PAIR},
        refine=_round_down,
        restore=_write_one_resize,
        applies=lambda cfg: bool(cfg.get('round_down')),
    ),
    'Resize': Spelling(
        renamed=_RESIZE_NAMES, defaults=_KEEP_RATIO, converted={'img_scale': _PAIR}, restore=_write_one_resize
    ),
}

# ------------------------------------------------------------------ operations of AutoAugment


def _operation(name: str | None = None) -> Spelling:
    """A colour operation with a level, or a drawn one."""
    return Spelling(name=name, defaults={'prob': (1.0, 0.5), 'level': (None, None)})


_NO_LEVEL = without('level', 'min_mag', 'max_mag')  # 3.x's operations accept them, whether they need them or not


def _no_steps(cfg: ConfigDict) -> ConfigDict:
    cfg = _NO_LEVEL(cfg)
    cfg.pop('prob', None)
    cfg._put('transforms', [], None)
    return cfg


def _warp(limit: str, default: float, name: str | None = None, direction: str | None = None) -> Spelling:
    """A geometric operation.

    Args:
        limit: neutral argument of the magnitude at level 10.
        default: that of 3.x.
        name: neutral type.
        direction: of the neutral type, where 3.x has a type for each.
    """

    def refine(cfg: ConfigDict) -> ConfigDict:
        if direction is not None:
            cfg._put('direction', direction, None)
        return cfg

    def restore(cfg: ConfigDict) -> ConfigDict:
        if cfg.get(limit) is None:
            message = f'{cfg["type"]} without {limit} has no equal in 3.x'
            raise InvalidValueError(message, cfg._path_of(limit), cfg._origin_of())
        return without('direction')(cfg)

    return Spelling(
        name=name,
        renamed={'max_mag': limit, 'reversal_prob': 'random_negative_prob', 'img_border_value': 'img_fill_val'},
        defaults={'prob': (1.0, 0.5), 'level': (None, None), limit: (default, default if name is None else None)},
        unused={'min_mag': (0.0,), 'mask_border_value': (0,)},
        refine=refine,
        restore=restore,
        applies=lambda cfg: direction is None or cfg.get('direction', 'horizontal') == direction,
    )


OPERATIONS: Mapping[str, Spelling] = {
    'Color': _operation('ColorTransform'),
    'Brightness': _operation('BrightnessTransform'),
    'Contrast': _operation('ContrastTransform'),
    'ColorTransform': Spelling(  # the base of the others, which does nothing
        name='Compose', refine=_no_steps, restore=without('transforms'), applies=lambda cfg: cfg.get('transforms') == []
    ),
    'Equalize': Spelling(name='EqualizeTransform', defaults={'prob': (1.0, 0.5)}, refine=_NO_LEVEL),
    **dict.fromkeys(('AutoContrast', 'Invert'), Spelling(refine=_NO_LEVEL)),
    'Rotate': _warp('max_rotate_angle', 30.0),
    'ShearX': _warp('max_shear_degree', 30.0, 'Shear', 'horizontal'),
    'ShearY': _warp('max_shear_degree', 30.0, 'Shear', 'vertical'),
    'TranslateX': _warp('max_translate_ratio', 0.1, 'Translate', 'horizontal'),
    'TranslateY': _warp('max_translate_ratio', 0.1, 'Translate', 'vertical'),
}

# ------------------------------------------------------------------ all others


def _read_pad_val(value: float | Mapping[str, Any]) -> Mapping[str, Any]:
    return {'img': value} if isinstance(value, (int, float)) else value


def _write_pad_val(value: float | Mapping[str, Any]) -> Mapping[str, Any]:
    return {'img': value, 'masks': value} if isinstance(value, (int, float)) else value


def _read_chains(chains: Sequence[_Chain | Mapping[str, Any]]) -> list[_Chain]:
    return [chain if isinstance(chain, Sequence) else [chain] for chain in chains]


def _read_labels(params: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """`label_fields` of Albu: the names of fields that go with boxes."""
    return _with_labels(params, {'gt_bboxes_labels': ['gt_labels'], 'gt_ignore_flags': []})


def _write_labels(params: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return _with_labels(params, {'gt_labels': ['gt_bboxes_labels', 'gt_ignore_flags']})


def _with_labels(params: Mapping[str, Any] | None, names: Mapping[str, Sequence[str]]) -> Mapping[str, Any] | None:
    if params is None or 'label_fields' not in params:
        return params
    return {**params, 'label_fields': [new for name in params['label_fields'] for new in names.get(name, [name])]}


def _write_flip(cfg: ConfigDict) -> ConfigDict:
    if 'flip_prob' in cfg:
        cfg.pop('flip_ratio', None)
    return rename(cfg, {'flip_prob': 'flip_ratio'})


_LOAD = Spelling(
    renamed={'backend_args': 'file_client_args'},
    converted={'file_client_args': BACKEND},
    unused={'ignore_empty': (False,)},
)

TRANSFORMS: Mapping[str, Spelling] = {
    **RESIZING,
    **OPERATIONS,
    'LoadImageFromFile': _LOAD,
    'LoadImageFromNDArray': replace(_LOAD, name='LoadImageFromWebcam'),
    'LoadAnnotations': Spelling(
        renamed={'backend_args': 'file_client_args'},
        converted={'file_client_args': BACKEND},
        unused={
            'box_type': ('hbox',),
            'reduce_zero_label': (False,),
            'with_keypoints': (False,),
            'ignore_index': (255,),
            'imdecode_backend': ('cv2', 'pillow'),  # maps are read losslessly by either
        },
    ),
    'RandomFlip': Spelling(
        renamed={'prob': 'flip_ratio'},
        defaults={'flip_ratio': (0.0, 0.0)},
        unused={'swap_seg_labels': (None,)},
        restore=_write_flip,
    ),
    **dict.fromkeys(('RandomCrop', 'RandomCenterCropPad'), Spelling(converted={'crop_size': _SWAPPED})),
    'Pad': Spelling(
        converted={'size': _SWAPPED, 'pad_val': (_read_pad_val, _write_pad_val)},
        unused={'padding_mode': ('constant',)},
    ),
    'RandomChoice': Spelling(
        name='AutoAugment', renamed={'transforms': 'policies'}, converted={'policies': (_read_chains, list)}
    ),
    'Albu': Spelling(converted={'bbox_params': (_read_labels, _write_labels)}),
    'RandomAffine': Spelling(converted={'border': _SWAPPED}),
    **dict.fromkeys(('Mosaic', 'MixUp'), Spelling(converted={'img_scale': _SWAPPED})),
    **dict.fromkeys(
        ('CachedMosaic', 'CachedMixUp'),  # mmkit has no cache: see mmkit/transforms/mixup.py
        Spelling(converted={'img_scale': _SWAPPED}, refine=without('max_cached_images', 'random_pop')),
    ),
}
