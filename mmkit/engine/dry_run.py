"""A trial before a training or a test: one sample is made and goes through the model, so that mistakes show at once.

Its errors name the part of the config that they come from. Weights, buffers and random numbers are as before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.config import ConfigDict
from mmkit.config.config_dict import CODE
from mmkit.config.explain import texts_for_numbers
from mmkit.datasets import SeededDataset, collate
from mmkit.dialects.recipe import DatasetConfig
from mmkit.engine.predict import OF_MODEL, Merging, Views, predict_views
from mmkit.engine.rng import preserved_rng
from mmkit.errors import ConfigError, UserError, summary
from mmkit.registry import located
from mmkit.structures import Batch
from mmkit.utils.logging import get_logger


def dry_run_training(
    model: nn.Module, dataset: SeededDataset, dataset_cfg: DatasetConfig | None, model_cfg: ConfigDict | None
) -> None:
    """Compute the losses of the first sample.

    Args:
        model: a detector or classifier; it is in training mode meanwhile, but for its batch norms, which cannot take
            statistics of a single image.
        dataset: of the training.
        dataset_cfg, model_cfg: configs from which the two were built, for messages.

    Raises:
        UserError: naming the key, its file and its line.
    """
    if not len(dataset):
        return
    with preserved_rng(), _preserved_state(model), torch.no_grad():
        batch = _first_batch(dataset, dataset_cfg)
        if not isinstance(batch, Batch):
            raise ConfigError(
                f'the pipeline of {_name_of(dataset_cfg)} gives several views of an image, which only a test takes: '
                'leave out MultiScaleFlipAug'
            )
        model.train()
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        with model_parts_named(model, model_cfg):
            model(batch.to(next(model.parameters()).device))


def dry_run_prediction(
    model: nn.Module,
    dataset: SeededDataset,
    dataset_cfg: DatasetConfig | None,
    model_cfg: ConfigDict | None,
    merging: Merging = OF_MODEL,
) -> None:
    """Predict the first image of a validation or test dataset; arguments and errors as in `dry_run_training`."""
    if not len(dataset):
        return
    with preserved_rng(), _preserved_state(model):
        views = _first_batch(dataset, dataset_cfg)
        first = views if isinstance(views, Batch) else views[0]
        if first.gts is not None and not _packs_anything(dataset_cfg):
            get_logger().warning(
                '%s gives ground truth as data.train does: a test wants a pipeline of its own, whose flips are undone '
                '(MultiScaleFlipAug)',
                _name_of(dataset_cfg),
            )
        model.eval()
        with model_parts_named(model, model_cfg):
            predict_views(model, views, merging)


@contextmanager
def model_parts_named(model: nn.Module, cfg: ConfigDict | None) -> Iterator[None]:
    """Errors inside name the part of the model that was at work: its key in the config, file and lines.

    Running out of memory is no mistake in a certain part and stays as it is.

    Raises:
        UserError: the part's own, completed by its place; or a ConfigError with any other error as its cause.
    """
    part = ModuleTracker(model)
    try:
        with part.following():
            yield
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        if cfg is None:
            raise
        part_cfg = _config_of(part.name, cfg)
        if isinstance(error, UserError):
            owner = cfg if error.key in cfg and error.key not in part_cfg else part_cfg
            with located(owner):
                _keep_key_of(owner, error)
                raise
        with located(part_cfg):
            _blame_text(cfg, error)
            raise ConfigError(summary(error)) from error


class ModuleTracker:
    """Name of the module of a model that is at work, or was last.

    Attributes:
        name: of the innermost module whose `forward` runs. A model's own code calls methods of its heads, such as
            `loss`, after their `forward`: there it is the module that has ended last.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._running: list[str] = []
        self._ended = ''

    @property
    def name(self) -> str:
        return (self._running[-1] if self._running else '') or self._ended

    @contextmanager
    def following(self) -> Iterator[None]:
        """Track the calls of modules inside this block."""
        handles = []
        for name, module in self.model.named_modules():
            handles.append(module.register_forward_pre_hook(partial(self._enter, name)))
            handles.append(module.register_forward_hook(partial(self._leave, name)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, name: str, *args: object) -> None:
        self._running.append(name)

    def _leave(self, name: str, *args: object) -> None:
        self._running.pop()
        self._ended = name


def _first_batch(dataset: SeededDataset, cfg: DatasetConfig | None) -> Views:
    """The first sample, or its views, as a batch of one."""
    parts = [cfg] if isinstance(cfg, Mapping) else list(cfg or [])[:1]
    cfg = parts[0] if parts else ConfigDict()
    with located(cfg):
        try:
            return collate([dataset[0]])
        except UserError as error:
            _keep_key_of(cfg, error)
            error.key = error.key or _folder_in(str(error.__cause__ or error), cfg)
            raise
        except Exception as error:
            message = str(error) if isinstance(error, OSError) else summary(error)
            raise ConfigError(message, _folder_in(message, cfg)) from error


def _folder_in(message: str, cfg: Mapping[str, Any]) -> str | None:
    """The key of a dataset that names the folder of a file in a message: that of the longest, if several do."""
    texts = {key: value for key, value in cfg.items() if isinstance(value, str) and value and key != 'type'}
    return max((key for key in texts if texts[key] in message), key=lambda key: len(texts[key]), default=None)


def _packs_anything(cfg: DatasetConfig | None) -> bool:
    """True if the pipeline ends in PackDetInputs, which packs ground truth also of a test."""
    pipeline = cfg.get('pipeline') if isinstance(cfg, Mapping) else None
    last = pipeline[-1] if pipeline else None
    return isinstance(last, Mapping) and last.get('type') == 'PackDetInputs'


def _keep_key_of(cfg: Mapping[str, Any], error: UserError) -> None:
    """Forget the key of an error that is not located yet and is no key of `cfg`: it is one of a part of that."""
    if not error.is_located and error.key not in cfg:
        error.key = None


def _name_of(cfg: DatasetConfig | None) -> str:
    return cfg._path if isinstance(cfg, ConfigDict) and cfg._path else 'the dataset'


def _config_of(path: str, cfg: ConfigDict) -> ConfigDict:
    """The innermost config on the way to the module `path`: layers of a neck have none of their own."""
    value: object = cfg
    for part in path.split('.'):
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, (list, tuple)) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            break
        if isinstance(value, ConfigDict) and str(value._origin_of()) != str(CODE):
            cfg = value
    return cfg


def _blame_text(cfg: ConfigDict, error: Exception) -> None:
    """Raise an error about the first text of a model's config that spells a number, if there is one."""
    for leaf in texts_for_numbers(cfg):
        message = f'{leaf.path} is the text {leaf.value!r}: is a number meant? ({summary(error)})'
        raise ConfigError(message, leaf.path, leaf.origin) from error


@contextmanager
def _preserved_state(model: nn.Module) -> Iterator[None]:
    """Restore modes and buffers of all modules at the end of the block."""
    modes = [(module, module.training) for module in model.modules()]
    buffers: Sequence[tuple[Tensor, Tensor]] = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
