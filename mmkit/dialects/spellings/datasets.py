"""Spellings of datasets: 3.x keeps folders, names of classes and filters in dicts of their own."""

from __future__ import annotations

from collections.abc import Mapping

from mmkit.config import ConfigDict
from mmkit.dialects.spellings.spelling import Rewrite, Spelling, show_as
from mmkit.dialects.spellings.transforms import BACKEND, without
from mmkit.errors import InvalidTypeError, InvalidValueError

# By the key in 3.x: neutral arguments; the first of several keys with the same argument is the one that is written.
_PREFIXES = {
    'img': 'img_prefix',
    'img_path': 'img_prefix',
    'seg': 'seg_prefix',
    'seg_map_path': 'seg_prefix',
    'sub_data_root': '',  # of Pascal VOC's format, left over where a config changes its dataset to COCO's
}
_METAINFO = {'classes': 'classes', 'palette': 'palette'}
_FILTERS = {'filter_empty_gt': 'filter_empty_gt', 'min_size': 'min_size'}
# Those of Pascal VOC's format, in which `min_size` is about objects.
_XML_PREFIXES = {'sub_data_root': 'img_prefix', 'img': 'img_prefix'}
_XML_FILTERS = {'filter_empty_gt': 'filter_empty_gt', 'min_size': 'min_image_size', 'bbox_min_size': 'min_size'}

# What a dataset of 3.x has in these dicts alone.
GROUPED = frozenset(
    name for names in (_PREFIXES, _METAINFO, _FILTERS, _XML_PREFIXES, _XML_FILTERS) for name in names.values() if name
)

_Groups = Mapping[str, Mapping[str, str]]  # by the name of a dict in 3.x: neutral arguments by its keys


def _read_groups(groups: _Groups) -> Rewrite:
    """A step that takes the dicts apart."""

    def read(cfg: ConfigDict) -> ConfigDict:
        for group, names in groups.items():
            origin, values = cfg._origins.get(group), cfg.pop(group, None) or ConfigDict()
            if not isinstance(values, ConfigDict):
                message = f'{cfg["type"]}: {group} is {values!r}, expected a dict with some of {", ".join(names)}'
                raise InvalidTypeError(message, cfg._path_of(group), origin)
            for key, value in values.items():
                if key not in names:
                    message = f'{cfg["type"]}: {group} has no {key!r}, expected some of {", ".join(names)}'
                    raise InvalidValueError(message, cfg._path_of(f'{group}.{key}'), values._origins.get(key))
                if names[key]:
                    cfg._put(names[key], value, values._origins.get(key))
                    show_as(cfg, {names[key]: f'{group}.{key}'})
        return cfg

    return read


def _write_groups(groups: _Groups) -> Rewrite:
    """A step that makes the dicts."""

    def write(cfg: ConfigDict) -> ConfigDict:
        if isinstance(cfg.get('ann_file'), (list, tuple)):
            message = 'in 3.x a dataset has one ann_file: write a ConcatDataset of several datasets'
            raise InvalidTypeError(message, cfg._path_of('ann_file'), cfg._origins.get('ann_file'))
        cfg.pop('max_broken', None)
        for group, names in groups.items():
            values = ConfigDict()
            for key, name in names.items():
                if cfg.get(name) is not None:
                    values._put(key, cfg[name], cfg._origins.get(name))
                cfg.pop(name, None)
            if values:
                cfg._put(group, values, None)
        return cfg

    return write


def _dataset(groups: _Groups, **min_size: tuple[int, int]) -> Spelling:
    return Spelling(
        renamed={'backend_args': 'file_client_args', 'seg_map_suffix': 'seg_suffix'},
        converted={'file_client_args': BACKEND},
        defaults={'filter_empty_gt': (False, True), **min_size},
        unused={
            'serialize_data': (True, False),  # annotations are kept in one piece of memory in any case
            'lazy_init': (False, True),
            'return_classes': (False,),
            'caption_prompt': (None,),
        },
        refine=_read_groups(groups),
        restore=_write_groups(groups),
    )


_COCO = _dataset({'data_prefix': _PREFIXES, 'metainfo': _METAINFO, 'filter_cfg': _FILTERS}, min_size=(0, 32))
_XML = _dataset(
    {'data_prefix': _XML_PREFIXES, 'metainfo': _METAINFO, 'filter_cfg': _XML_FILTERS}, min_image_size=(0, 32)
)
_LAZY = {'lazy_init': (False, True)}

DATASETS: Mapping[str, Spelling] = {
    **dict.fromkeys(
        (
            *('CocoDataset', 'BaseDetDataset', 'CityscapesDataset', 'CrowdHumanDataset', 'DeepFashionDataset'),
            *(
                'LVISDataset',
                'LVISV05Dataset',
                'LVISV1Dataset',
                'Objects365V1Dataset',
                'Objects365V2Dataset',
                'V3DetDataset',
            ),
        ),
        _COCO,
    ),
    **dict.fromkeys(('VOCDataset', 'XMLDataset', 'WIDERFaceDataset'), _XML),
    # 3.x evaluates all parts together, and asks whether they agree in more than their classes
    'ConcatDataset': Spelling(
        defaults={'separate_eval': (False, True)},
        unused=_LAZY,
        refine=without('ignore_keys'),
        restore=without('separate_eval'),
    ),
    **dict.fromkeys(('RepeatDataset', 'ClassBalancedDataset'), Spelling(unused=_LAZY)),
    'MultiImageMixDataset': Spelling(unused=_LAZY, restore=without('dynamic_scale')),
}
