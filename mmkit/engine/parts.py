"""The parts of a run: models, datasets, loaders and optimizers from the fields of a `Recipe`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.torch_version import TorchVersion
from torch.utils.data import DataLoader

from mmkit.config import ConfigDict
from mmkit.datasets import SeededDataset, build_dataloader, build_dataset
from mmkit.dialects.recipe import DatasetConfig, LoaderRecipe, OptimizerRecipe, Phase, Recipe, Source, TrainingRecipe
from mmkit.engine.checkpoint import load_checkpoint
from mmkit.engine.optim import build_optimizer
from mmkit.errors import ConfigError, UserError
from mmkit.layers.base_module import BaseModule, init_children
from mmkit.models import build_neutral_model
from mmkit.registry import located
from mmkit.utils.dist import get_world_size
from mmkit.utils.env import resolve_device

logger = logging.getLogger('mmkit.engine')

# The argument of DistributedDataParallel that was renamed.
_SYNC_BUFFERS = 'forward_sync_buffers' if TorchVersion(torch.__version__) >= '2.14' else 'broadcast_buffers'


def report_reading(recipe: Recipe) -> None:
    """Log the dialect of a recipe's config, and the keys that nothing reads."""
    logger.info('%s is written in the dialect of mmdetection %d.x', recipe.name or 'the config', recipe.dialect)
    for message in recipe.unread:
        logger.warning(message)


def build_model(recipe: Recipe, classes: Sequence[str] | None) -> nn.Module:
    """The initialised model of a recipe, which knows the names of its classes."""
    model = build_neutral_model(require_model(recipe))
    if isinstance(model, BaseModule):
        model.init_weights()
    else:
        init_children(model)
    set_classes(model, classes)
    return model


def set_classes(
    model: nn.Module, classes: Sequence[str] | None, palette: Sequence[Sequence[int]] | None = None
) -> None:
    """Tell a model the names of its classes by label, and their colours (RGB), for drawings."""
    vars(model).update(CLASSES=classes, PALETTE=palette)


def require_model(recipe: Recipe) -> ConfigDict:
    """The config of the model.

    Raises:
        ConfigError: the recipe has none.
    """
    if recipe.model is None:
        raise ConfigError("the config has no 'model'" + (f' (in {recipe.name})' if recipe.name else ''))
    return recipe.model


def build_phase_dataset(recipe: Recipe, phase: Phase) -> SeededDataset:
    """The dataset of a phase of the workflow, with ground truth."""
    return _build_dataset(phase.dataset, recipe.source(phase.mode))


def build_eval_dataset(loader: LoaderRecipe, source: Source) -> SeededDataset:
    """The dataset of a loader in test mode; several become one."""
    return _build_dataset(loader.dataset, source, test_mode=True)


def build_loader(
    dataset: SeededDataset,
    loader: LoaderRecipe,
    distributed: bool = False,
    seed: int | None = None,
    shuffle: bool = False,
) -> DataLoader[Any]:
    """Batches of a dataset.

    Args:
        loader: batch size, workers and so on; its `shuffle`, if it has one, goes before the argument.
        distributed: share the images between the processes.
        seed: of the order and the augmentations; None draws one.
    """
    return build_dataloader(
        dataset,
        samples_per_gpu=loader.batch_size,
        workers_per_gpu=loader.num_workers,
        dist=distributed,
        shuffle=shuffle if loader.shuffle is None else loader.shuffle,
        seed=seed,
        persistent_workers=loader.persistent_workers,
        pin_memory=loader.pin_memory,
        drop_last=loader.drop_last,
        prefetch_factor=loader.prefetch_factor,
        sampler=loader.sampler,
        batch_sampler=loader.batch_sampler,
    )


def _build_dataset(cfg: DatasetConfig | None, source: Source, **arguments: Any) -> SeededDataset:
    if cfg is None:
        raise ConfigError(f'the config has no {source.key}', source.key, source.origin)
    dataset: SeededDataset = build_dataset(cfg, arguments)
    return dataset


def choose_device(wanted: str | None, distributed: bool) -> torch.device:
    """The device of the model; of several processes each takes the GPU of its local rank."""
    if distributed and wanted is not None and torch.device(wanted).type == 'cuda':
        wanted = 'cuda'  # the one of the local rank
    return resolve_device(wanted)


def load_weights(model: nn.Module, checkpoint: str, source: Source) -> None:
    """Load weights to start from; an error names the key that asks for them."""
    try:
        load_checkpoint(model, checkpoint)
    except UserError as error:
        error.locate(source.key, source.origin)
        raise


def wrap_distributed(model: nn.Module, device: torch.device, training: TrainingRecipe) -> nn.Module:
    """The model for training by several processes."""
    buffers: dict[str, Any] = {_SYNC_BUFFERS: training.broadcast_buffers}
    device_ids = [torch.cuda.current_device()] if device.type == 'cuda' else None
    unused = training.find_unused_parameters
    return DistributedDataParallel(model, device_ids=device_ids, find_unused_parameters=unused, **buffers)


def make_optimizer(model: nn.Module, recipe: OptimizerRecipe, batch_size: int) -> Optimizer:
    """The optimizer over the trainable parameters; where the recipe says so its rate grows in proportion to the batch.

    Args:
        batch_size: images in a batch of one process; see arXiv:1706.02677 for the scaling.
    """
    config = recipe.config | {'constructor': recipe.constructor, 'paramwise_cfg': recipe.paramwise}
    base = recipe.base_batch_size
    if base is not None and recipe.scale_lr:
        batch, lr = get_world_size() * batch_size, config['lr']
        config['lr'] = scaled = lr * batch / base
        logger.info('auto_scale_lr: %d images in a batch instead of %d, lr %g -> %g', batch, base, lr, scaled)
    with located(config):
        return build_optimizer(model, config)
