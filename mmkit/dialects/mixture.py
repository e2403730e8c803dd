"""The dialect of a config, found by its keys; a mixture of both is refused."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Literal

from mmkit.config import ConfigDict
from mmkit.dialects.sections import find_origin
from mmkit.dialects.spellings import DATASETS, TRANSFORMS
from mmkit.dialects.spellings.datasets import GROUPED
from mmkit.dialects.spellings.models import is_v3_model
from mmkit.errors import ConfigError
from mmkit.utils.names import unscoped

Dialect = Literal[2, 3]

# Top-level keys that one dialect has and the other doesn't.
KEYS: Mapping[Dialect, Collection[str]] = {
    2: (
        *('data', 'optimizer', 'optimizer_config', 'lr_config', 'momentum_config', 'runner', 'total_epochs'),
        *('checkpoint_config', 'log_config', 'evaluation', 'workflow', 'fp16', 'resume_from', 'auto_resume'),
        *('dist_params', 'gpu_ids'),
    ),
    3: (
        *('train_dataloader', 'val_dataloader', 'test_dataloader', 'optim_wrapper', 'param_scheduler'),
        *('val_evaluator', 'test_evaluator', 'val_cfg', 'default_hooks', 'default_scope', 'env_cfg', 'vis_backends'),
        *('visualizer', 'log_processor', 'randomness', 'tta_model', 'tta_pipeline', 'model_wrapper_cfg'),
    ),
}
# Where pipelines are.
_DATA: Mapping[Dialect, Collection[str]] = {
    2: ('data',),
    3: ('train_dataloader', 'val_dataloader', 'test_dataloader', 'tta_pipeline'),
}
# Transforms that the other dialect spells differently, among those that nearly every pipeline has one of.
_TRANSFORMS: Mapping[Dialect, Collection[str]] = {
    2: ('Collect', 'DefaultFormatBundle', 'ImageToTensor', 'MultiScaleFlipAug'),
    3: ('PackDetInputs', 'TestTimeAug', 'RandomResize', 'RandomChoiceResize'),
}


def find_dialect(cfg: ConfigDict) -> Dialect:
    """The dialect of a merged config: 2 or 3, for mmdetection 2.x and 3.x.

    Raises:
        ConfigError: it has keys of both, or data in the spelling of the other one; naming both and their places.
    """
    present = {dialect: [key for key in keys if cfg.get(key) is not None] for dialect, keys in KEYS.items()}
    of_2 = [key for key in present[2] if not _is_part(cfg, key, present[3])]
    of_3 = [key for key in present[3] if not _is_part(cfg, key, present[2])]
    if of_2 and of_3:
        raise _mixed(cfg, of_2[0], of_3[0])
    model = cfg.get('model')
    is_v3 = bool(of_3) or (not of_2 and isinstance(model, Mapping) and is_v3_model(model))
    dialect: Dialect = 3 if is_v3 else 2
    for key in _DATA[dialect]:
        for part, name in _foreign(cfg.get(key), dialect):
            raise _foreign_error(cfg, dialect, (of_3 if is_v3 else of_2)[0], part, name)
    return dialect


def _is_part(cfg: ConfigDict, key: str, others: Collection[str]) -> bool:
    """True if `cfg[key]` is a building block of other keys, as `optimizer` may be of `optim_wrapper`."""
    value = cfg[key]
    return isinstance(value, Mapping) and 'type' in value and any(_contains(cfg[other], value) for other in others)


def _contains(value: object, part: object) -> bool:
    """True if `part` is `value`, or somewhere in it."""
    if value == part:
        return True
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    return any(_contains(item, part) for item in parts)


def _foreign(value: object, dialect: Dialect) -> Iterator[tuple[ConfigDict, str]]:
    """Configs, and the key of each, that are in the spelling of the other dialect."""
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _foreign(item, dialect)
    elif isinstance(value, ConfigDict):
        kind = unscoped(str(value.get('type')))
        if kind in _TRANSFORMS[_other(dialect)]:
            yield value, 'type'
        spelling = TRANSFORMS.get(kind)
        if spelling is not None:
            old, new = set(spelling.renamed.values()), set(spelling.renamed)
            yield from ((value, key) for key in value if key in (new - old if dialect == 2 else old - new))
        if dialect == 3 and kind in DATASETS:
            yield from ((value, key) for key in value if key in GROUPED)
        for item in value.values():
            yield from _foreign(item, dialect)


def _other(dialect: Dialect) -> Dialect:
    return 2 if dialect == 3 else 3


def _mixed(cfg: ConfigDict, key_of_2: str, key_of_3: str) -> ConfigError:
    message = (
        f'{_place(cfg, key_of_2)} is a key of mmdetection 2.x and {_place(cfg, key_of_3)} one of 3.x: '
        'a config is written in one of the two dialects'
    )
    return ConfigError(message, key_of_2, find_origin(cfg, key_of_2))


def _foreign_error(cfg: ConfigDict, dialect: Dialect, key: str, part: ConfigDict, name: str) -> ConfigError:
    what = f'type={part["type"]!r}' if name == 'type' else f'{name!r} of {part["type"]}'
    message = (
        f'{what} is the spelling of mmdetection {_other(dialect)}.x, and {_place(cfg, key)} a key of {dialect}.x: '
        'a config is written in one of the two dialects'
    )
    return ConfigError(message, part._path_of(name), part._origin_of(name))


def _place(cfg: ConfigDict, key: str) -> str:
    origin = find_origin(cfg, key)
    return f'{key!r} (at {origin})' if origin else repr(key)
