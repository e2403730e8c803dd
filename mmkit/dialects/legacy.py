"""Spellings of early mmdetection 2.x, rewritten into those of 2.28."""

from __future__ import annotations

import warnings
from typing import TypeVar

from mmkit.config import ConfigDict
from mmkit.config.config_dict import convert
from mmkit.errors import ConfigError

AnyConfig = TypeVar('AnyConfig', bound=ConfigDict)


def upgrade(cfg: AnyConfig) -> AnyConfig:
    """The config in today's spelling, with a FutureWarning for each old one; `cfg` stays as it is.

    `train_cfg` and `test_cfg` beside `model` move into it, `data.imgs_per_gpu` becomes `samples_per_gpu`,
    `total_epochs` becomes `runner`, and `pretrained` becomes the `init_cfg` of the backbone. Parts without an old
    spelling are shared with `cfg`.

    Raises:
        ConfigError: the old and the new spelling are both there and disagree.
    """
    cfg = cfg.copy()
    model = _own_copy(cfg, 'model')
    if model is not None:
        for key in ('train_cfg', 'test_cfg'):
            if key in cfg:
                _move(cfg, key, model, key, cfg[key], f'model.{key}')
        _upgrade_pretrained(model)
    data = _own_copy(cfg, 'data')
    if data is not None and 'imgs_per_gpu' in data:
        data.pop('samples_per_gpu', None)  # usually of a base: the old spelling always won
        _move(data, 'imgs_per_gpu', data, 'samples_per_gpu', data['imgs_per_gpu'], 'data.samples_per_gpu')
    if 'total_epochs' in cfg:
        runner = _own_copy(cfg, 'runner')
        if runner is None:
            wanted = {'type': 'EpochBasedRunner', 'max_epochs': cfg['total_epochs']}
            _move(cfg, 'total_epochs', cfg, 'runner', wanted, f'runner={wanted}')
        else:
            _move(cfg, 'total_epochs', runner, 'max_epochs', cfg['total_epochs'], 'runner.max_epochs')
    return cfg


def _own_copy(cfg: ConfigDict, key: str) -> ConfigDict | None:
    """Replace `cfg[key]` by a copy, which may be changed, and return that; None if it is no dict."""
    value = cfg.get(key)
    if not isinstance(value, ConfigDict):
        return None
    copied = value.copy()
    cfg._put(key, copied, cfg._origins.get(key))
    return copied


def _upgrade_pretrained(model: ConfigDict) -> None:
    backbone = _own_copy(model, 'backbone')
    if backbone is None:
        return
    for owner in (model, backbone):
        if 'pretrained' not in owner:
            continue
        checkpoint = owner['pretrained']
        if checkpoint is None:
            del owner['pretrained']  # the default
        elif isinstance(checkpoint, str):
            wanted = {'type': 'Pretrained', 'checkpoint': checkpoint}
            if (backbone.get('init_cfg') or {}).get('type') == 'Pretrained':
                del backbone['init_cfg']  # of a base: who names other weights means those
            _move(owner, 'pretrained', backbone, 'init_cfg', wanted, f'model.backbone.init_cfg={wanted}')


def _move(owner: ConfigDict, old: str, target: ConfigDict, new: str, value: object, better: str) -> None:
    """Drop `owner[old]` and set `target[new]`, which must not have another value already."""
    where = owner._locate(old)
    present = target.get(new)
    if present is not None and present != value:
        raise ConfigError(f'{where} is the old spelling of {better}, which is there too: {present!r}')
    warnings.warn(f'{where} is an old spelling, write {better}', FutureWarning, stacklevel=4)
    origin = owner._origins.get(old)
    del owner[old]
    target._put(new, convert(value, target._path_of(new)), origin)
