"""From a `Recipe` to a `Runner`: model, data, optimizer and hooks, built in this order and from nothing else."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import torch
from torch import multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.torch_version import TorchVersion
from torch.utils.data import DataLoader

from mmkit.config import ConfigDict
from mmkit.datasets import SeededDataset, build_dataloader, build_dataset
from mmkit.dialects.recipe import (
    DatasetConfig,
    Environment,
    EvaluationRecipe,
    LoaderRecipe,
    OptimizerRecipe,
    Phase,
    Recipe,
    Source,
    TrainingRecipe,
)
from mmkit.engine.checkpoint import find_latest, load_checkpoint, unwrap
from mmkit.engine.device_normalize import normalize_on_device
from mmkit.engine.dry_run import dry_run_prediction, dry_run_training
from mmkit.engine.hooks.checks import NumClassCheckHook, check_num_classes
from mmkit.engine.hooks.eval_hook import EvalHook
from mmkit.engine.hooks.logger import ProgressHook
from mmkit.engine.hooks.timer import IterTimerHook
from mmkit.engine.hooks.updaters import LrUpdaterHook, MomentumUpdaterHook
from mmkit.engine.runner import Runner
from mmkit.errors import ConfigError, InvalidValueError, UserError
from mmkit.layers.base_module import BaseModule, init_children
from mmkit.models import build_detector
from mmkit.registry import HOOKS, OPTIMIZER_BUILDERS, RUNNERS, located
from mmkit.utils.dist import broadcast_object, get_world_size, is_main
from mmkit.utils.env import resolve_device
from mmkit.utils.logging import get_logger
from mmkit.utils.seed import init_seed

logger = logging.getLogger('mmkit.engine')

# The argument of DistributedDataParallel that was renamed.
_SYNC_BUFFERS = 'forward_sync_buffers' if TorchVersion(torch.__version__) >= '2.14' else 'broadcast_buffers'


def assemble(
    recipe: Recipe,
    model: nn.Module | None = None,
    datasets: Sequence[SeededDataset] | None = None,
    distributed: bool = False,
    timestamp: str | None = None,
    meta: Mapping[str, Any] | None = None,
) -> tuple[Runner, list[DataLoader[Any]]]:
    """A runner that is ready to train, and its loader for each phase of the workflow.

    Whatever a mistake in the config can stop is done here, with a dry run at the end.

    Args:
        recipe: of the run, with its training.
        model: with the weights to begin with; by default that of the recipe, initialised.
        datasets: one for each phase of the workflow; by default those of the recipe.
        distributed: the processes that `init_dist` joined train together.
        timestamp: in the names of log files; by default now.
        meta: entries of logs and checkpoints besides classes and config.

    Raises:
        UserError: naming the key, and its file and line where the config knows them.
    """
    training = require_training(recipe)
    get_logger()  # writes to the terminal from now on
    for message in recipe.unread:
        logger.warning(message)
    set_up_process(recipe.environment)
    seed = init_seed(recipe.environment.seed)
    device = _device(recipe.environment.device, distributed)
    if datasets is None and model is None:  # what a caller has built stays as it is
        recipe = normalize_on_device(recipe)
        training = require_training(recipe)
    if datasets is None:
        datasets = [build_phase_dataset(recipe, phase) for phase in training.workflow]
    if len(datasets) != len(training.workflow):
        turns = training.turns
        raise InvalidValueError(f'workflow {turns} has {len(turns)} parts, but there are {len(datasets)} datasets')
    loaders = [build_loader(dataset, recipe.train, distributed, seed, shuffle=True) for dataset in datasets]
    classes = datasets[0].CLASSES
    model = unwrap(model) if model is not None else build_model(recipe, classes)
    model.to(device)
    if training.load_from and not training.resume_from:
        _load(model, training.load_from, recipe.source('load_from'))
    runner = RUNNERS.build(
        training.loop,
        model=_distributed_model(model, device, training) if distributed else model,
        optimizer=build_recipe_optimizer(model, training.optimizer, recipe.train.batch_size),
        work_dir=recipe.environment.work_dir,
        logger=logger,
        meta=_meta(recipe, datasets[0], seed, meta),
        step=training.step,
        device=device,
        timestamp=timestamp,
    )
    register_hooks(runner, training)
    # mmdetection checks by a hook of its default runtime; who takes it out may have classes to spare.
    is_checked = any(isinstance(hook, NumClassCheckHook) for hook in runner.hooks)
    check_num_classes(model, datasets[0], spare=not is_checked)
    if recipe.evaluation is not None:
        _add_evaluation(runner, recipe, recipe.evaluation, distributed, seed, classes)
    resume_from = _checkpoint_to_resume(training, recipe.environment.work_dir)
    if resume_from is not None:
        runner.resume(resume_from)
    else:
        dry_run_training(model, datasets[0], training.workflow[0].dataset, recipe.model)
    return runner, loaders


def require_training(recipe: Recipe) -> TrainingRecipe:
    """The training of a recipe.

    Raises:
        ConfigError: it has none.
    """
    if recipe.training is None:
        where = f' (in {recipe.name})' if recipe.name else ''
        raise ConfigError(f"the config has no 'optimizer', which a training needs{where}")
    return recipe.training


def set_up_process(environment: Environment) -> None:
    """Set the start method of workers, the threads of OpenCV and cuDNN's choice of algorithms."""
    if environment.mp_start_method is not None and sys.platform != 'win32':
        multiprocessing.set_start_method(environment.mp_start_method, force=True)
    if environment.opencv_num_threads is not None:
        cv2.setNumThreads(environment.opencv_num_threads)
    if environment.cudnn_benchmark:
        torch.backends.cudnn.benchmark = True


# ------------------------------------------------------------------ model and data


def build_model(recipe: Recipe, classes: Sequence[str] | None) -> nn.Module:
    """The initialised model of a recipe, which knows the names of its classes."""
    model = build_detector(require_model(recipe))
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
    )


def _build_dataset(cfg: DatasetConfig | None, source: Source, **arguments: Any) -> SeededDataset:
    if cfg is None:
        raise ConfigError(f'the config has no {source.key}')
    dataset: SeededDataset = build_dataset(cfg, arguments)
    return dataset


# ------------------------------------------------------------------ weights and optimizer


def _device(wanted: str | None, distributed: bool) -> torch.device:
    if distributed and wanted is not None and torch.device(wanted).type == 'cuda':
        wanted = 'cuda'  # the one of the local rank
    return resolve_device(wanted)


def _load(model: nn.Module, checkpoint: str, source: Source) -> None:
    try:
        load_checkpoint(model, checkpoint)
    except UserError as error:
        error.locate(source.key, source.origin)
        raise


def _distributed_model(model: nn.Module, device: torch.device, training: TrainingRecipe) -> nn.Module:
    buffers: dict[str, Any] = {_SYNC_BUFFERS: training.broadcast_buffers}
    device_ids = [torch.cuda.current_device()] if device.type == 'cuda' else None
    unused = training.find_unused_parameters
    return DistributedDataParallel(model, device_ids=device_ids, find_unused_parameters=unused, **buffers)


def build_recipe_optimizer(model: nn.Module, recipe: OptimizerRecipe, batch_size: int) -> Optimizer:
    """The optimizer over the trainable parameters; with a base batch size its rate grows in proportion to the batch.

    Args:
        batch_size: images in a batch of one process; see arXiv:1706.02677 for the scaling.
    """
    config = recipe.config
    base = recipe.base_batch_size
    if base is not None:
        batch, lr = get_world_size() * batch_size, config['lr']
        logger.info(
            'auto_scale_lr: %d images in a batch instead of %d, lr %g -> %g', batch, base, lr, lr * batch / base
        )
        config = config | {'lr': lr * batch / base}
    constructor = {'type': recipe.constructor, 'optimizer_cfg': config, 'paramwise_cfg': recipe.paramwise}
    with located(config):
        optimizer = OPTIMIZER_BUILDERS.build(constructor)(model)
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f'{recipe.constructor} gave a {type(optimizer).__name__}, expected a torch.optim.Optimizer')
    return optimizer


# ------------------------------------------------------------------ hooks


def register_hooks(runner: Runner, training: TrainingRecipe) -> None:
    """The hooks of a training besides evaluation, which needs a dataset."""
    if training.lr is not None:
        runner.register_hook(LrUpdaterHook(training.lr))
    if training.momentum is not None:
        runner.register_hook(MomentumUpdaterHook(training.momentum))
    runner.register_hook(IterTimerHook())
    if training.checkpoint is not None:
        runner.register_hook(HOOKS.build(training.checkpoint, type='CheckpointHook'))
    for logging_hook in training.loggers:
        runner.register_hook(HOOKS.build(logging_hook))
    for hook in training.hooks:
        runner.register_hook(HOOKS.build(hook.config), hook.priority)
    if is_main() and sys.stderr.isatty():
        runner.register_hook(ProgressHook())


def _add_evaluation(
    runner: Runner,
    recipe: Recipe,
    evaluation: EvaluationRecipe,
    distributed: bool,
    seed: int,
    classes: Sequence[str] | None,
) -> None:
    """Evaluate on the validation data, whose first image is predicted now."""
    dataset = build_eval_dataset(recipe.val, recipe.source('val'))
    loader = build_loader(dataset, recipe.val, distributed, seed)
    with located(evaluation.schedule | evaluation.arguments, 'metric'):
        runner.register_hook(EvalHook(loader, eval_args=evaluation.arguments, **evaluation.schedule))
    dry_run_prediction(runner.module, dataset, recipe.val.dataset, recipe.model)
    if dataset.CLASSES != classes:  # the same ones in another order are other labels
        logger.warning('data.val has the classes %s, data.train has %s', dataset.CLASSES, classes)


# ------------------------------------------------------------------ where to begin


def _checkpoint_to_resume(training: TrainingRecipe, work_dir: str) -> str | None:
    if training.resume_from is not None or not training.auto_resume:
        return training.resume_from
    latest = find_latest(work_dir) if is_main() else None
    path: str | None = broadcast_object(str(latest) if latest else None)
    logger.info('resuming from %s' if path else 'nothing to resume in %s', path or work_dir)
    return path


def _meta(recipe: Recipe, dataset: SeededDataset, seed: int, given: Mapping[str, Any] | None) -> dict[str, Any]:
    own: dict[str, Any] = {'seed': seed, 'CLASSES': dataset.CLASSES}
    if dataset.PALETTE is not None:
        own['PALETTE'] = dataset.PALETTE
    if recipe.text:
        own['config'] = recipe.text
    if recipe.name:
        own['exp_name'] = recipe.name
    return {**own, **(given or {})}
