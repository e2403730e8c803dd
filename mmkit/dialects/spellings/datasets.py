"""Spellings of datasets."""

from __future__ import annotations

from collections.abc import Mapping

from mmkit.config import ConfigDict
from mmkit.dialects.spellings.spelling import Spelling, rename

_FOLDERS = {'img': 'img_prefix', 'seg': 'seg_prefix'}


def _read_prefixes(cfg: ConfigDict) -> ConfigDict:
    prefixes = cfg.pop('data_prefix', None) or ConfigDict()
    for key in prefixes:
        name = _FOLDERS[key]
        cfg._put(name, prefixes[key], prefixes._origins.get(key))
    for key, value in (cfg.pop('filter_cfg', None) or {}).items():
        cfg[key] = value
    metainfo = cfg.pop('metainfo', None) or ConfigDict()
    return rename(cfg | {'classes': metainfo['classes']} if 'classes' in metainfo else cfg, {})


DATASETS: Mapping[str, Spelling] = {
    'CocoDataset': Spelling(unused={'backend_args': (None,)}, refine=_read_prefixes),
}
