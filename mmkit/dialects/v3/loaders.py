"""Data loaders: `train_dataloader`, `val_dataloader`, `test_dataloader`."""

from __future__ import annotations

from collections.abc import Mapping

from mmkit.config import ConfigDict
from mmkit.dialects.recipe import DatasetConfig, LoaderRecipe
from mmkit.dialects.sections import check_keys, check_numbers, read_section, require_whole, without_keys, wrong
from mmkit.dialects.spellings import DATASETS, TRANSFORMS, read_v3
from mmkit.errors import InvalidTypeError
from mmkit.utils.names import unscoped

LOADER_KEYS = (
    *('batch_size', 'num_workers', 'persistent_workers', 'pin_memory', 'drop_last', 'prefetch_factor', 'collate_fn'),
    *('sampler', 'batch_sampler', 'dataset'),
)
# Batches are always made by `mmkit.datasets.collate`.
COLLATE_NAMES = ('pseudo_collate', 'default_collate')


def read_loader(cfg: ConfigDict, split: str) -> LoaderRecipe:
    """The loader of 'train', 'val' or 'test'; one without a dataset if the config has none.

    Raises:
        UserError: for an unknown key, or a value that makes no sense.
    """
    name = f'{split}_dataloader'
    section = read_section(cfg, name)
    if section is None:
        return LoaderRecipe(None)
    check_numbers(ConfigDict({key: value for key, value in section.items() if key != 'dataset'}))
    check_keys(cfg, name, section, LOADER_KEYS)
    _check_collate(cfg, name, section.get('collate_fn'))
    sampler, batch_sampler = (_part(cfg, name, section, key) for key in ('sampler', 'batch_sampler'))
    drop_last = bool(section.get('drop_last', False))
    if batch_sampler is not None and 'drop_last' in batch_sampler:
        drop_last = bool(batch_sampler.pop('drop_last'))
    shuffles, sampler, batch_sampler = _order(sampler, batch_sampler)
    return LoaderRecipe(
        dataset=_dataset(section.get('dataset'), split),
        batch_size=require_whole(cfg, f'{name}.batch_size', section.get('batch_size', 1)),
        num_workers=require_whole(cfg, f'{name}.num_workers', section.get('num_workers', 0), 0),
        persistent_workers=bool(section.get('persistent_workers', False)),
        shuffle=None if shuffles == (split == 'train') else shuffles,
        drop_last=drop_last,
        pin_memory=section.get('pin_memory'),
        prefetch_factor=section.get('prefetch_factor'),
        sampler=sampler,
        batch_sampler=batch_sampler,
    )


def _order(
    sampler: ConfigDict | None, batch_sampler: ConfigDict | None
) -> tuple[bool, ConfigDict | None, ConfigDict | None]:
    """Shuffling of a loader, and its two samplers.

    The samplers are None for the usual order: sequential, or shuffled with wide and high images in separate batches.
    """
    if sampler is None:
        return False, None, batch_sampler
    is_default = unscoped(sampler['type']) == 'DefaultSampler' and not set(sampler) - {'type', 'shuffle', 'round_up'}
    shuffles = bool(sampler.get('shuffle', True))
    is_grouped = batch_sampler is not None and batch_sampler == {'type': batch_sampler['type']}
    is_grouped = is_grouped and unscoped(batch_sampler['type']) == 'AspectRatioBatchSampler'  # type: ignore[index]
    if is_default and (is_grouped if shuffles else batch_sampler is None):
        return shuffles, None, None
    return shuffles, sampler, batch_sampler


def _dataset(dataset: object, split: str) -> DatasetConfig | None:
    """The dataset in the neutral spelling; that of a validation or test is in test mode without saying so."""
    neutral: DatasetConfig | None = read_v3(dataset, {**TRANSFORMS, **DATASETS})
    if split != 'train':
        _drop_test_mode(neutral)
    return neutral


def _drop_test_mode(dataset: object) -> None:
    if isinstance(dataset, ConfigDict):
        if dataset.get('test_mode') is True:
            del dataset['test_mode']
        for key in ('dataset', 'datasets'):
            _drop_test_mode(dataset.get(key))
    elif isinstance(dataset, (list, tuple)):
        for part in dataset:
            _drop_test_mode(part)


def _part(cfg: ConfigDict, name: str, section: ConfigDict, key: str) -> ConfigDict | None:
    part = section.get(key)
    if part is None:
        return None
    if not isinstance(part, ConfigDict) or not isinstance(part.get('type'), str):
        message = f"{name}.{key} is {part!r}, expected a dict with type, such as dict(type='DefaultSampler')"
        raise wrong(cfg, f'{name}.{key}', message, InvalidTypeError)
    return without_keys(part, ('_scope_',))


def _check_collate(cfg: ConfigDict, name: str, collate: object) -> None:
    kind = collate.get('type') if isinstance(collate, Mapping) else collate
    if kind is not None and (not isinstance(kind, str) or unscoped(kind) not in COLLATE_NAMES):
        message = (
            f'{name}.collate_fn is {kind!r}: samples are put into batches in one way, '
            f'which has the names {" and ".join(COLLATE_NAMES)} here'
        )
        raise wrong(cfg, f'{name}.collate_fn', message)
