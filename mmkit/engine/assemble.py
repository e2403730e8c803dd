"""Assembly of a `Runner` from a `Recipe`, and from nothing else: model, data, optimizer, hooks, in this order."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import torch
from torch import multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from mmkit.config import ConfigDict
from mmkit.datasets import SeededDataset
from mmkit.dialects.recipe import Environment, EvaluationRecipe, Recipe, TrainingRecipe
from mmkit.dialects.sections import find_origin
from mmkit.engine.checkpoint import find_latest, unwrap
from mmkit.engine.device_normalize import normalize_on_device
from mmkit.engine.dry_run import dry_run_prediction, dry_run_training
from mmkit.engine.hook import Hook
from mmkit.engine.hooks.checks import NumClassCheckHook, check_num_classes
from mmkit.engine.hooks.eval_hook import EvalHook
from mmkit.engine.hooks.logger import ProgressHook
from mmkit.engine.hooks.timer import IterTimerHook
from mmkit.engine.hooks.updaters import LrUpdaterHook, MomentumUpdaterHook
from mmkit.engine.parts import (
    build_eval_dataset,
    build_loader,
    build_model,
    build_phase_dataset,
    choose_device,
    load_weights,
    make_optimizer,
    report_reading,
    wrap_distributed,
)
from mmkit.engine.runner import Runner
from mmkit.errors import ConfigError, InvalidTypeError, InvalidValueError, UserError
from mmkit.registry import HOOKS, RUNNERS, located
from mmkit.utils.dist import broadcast_object, is_main
from mmkit.utils.env import raise_file_limit
from mmkit.utils.logging import get_logger
from mmkit.utils.seed import init_seed

logger = logging.getLogger('mmkit.engine')


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
    report_reading(recipe)
    set_up_process(recipe.environment)
    seed = init_seed(recipe.environment.seed)
    device = choose_device(recipe.environment.device, distributed)
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
    given = model if model is not None else build_model(recipe, classes)
    model = unwrap(given)
    trained = model if isinstance(given, (DistributedDataParallel, nn.DataParallel)) else given  # perhaps compiled
    model.to(device)
    if training.load_from and not training.resume_from:
        load_weights(model, training.load_from, recipe.source('load_from'))
    runner = RUNNERS.build(
        training.loop,
        model=wrap_distributed(trained, device, training) if distributed else trained,
        optimizer=make_optimizer(model, training.optimizer, recipe.train.batch_size),
        work_dir=recipe.environment.work_dir,
        logger=logger,
        meta=_meta(recipe, datasets[0], seed, meta),
        step=training.step,
        device=device,
        timestamp=timestamp,
    )
    if not isinstance(runner, Runner):
        kind = type(runner).__name__
        raise InvalidTypeError(
            f'{kind} is no runner: derive it from EpochBasedRunner or IterBasedRunner', 'runner.type'
        )
    register_hooks(runner, training)
    # mmdetection checks by a hook of its default runtime; who takes it out may have classes to spare.
    is_checked = any(isinstance(hook, NumClassCheckHook) for hook in runner.hooks)
    try:
        check_num_classes(model, datasets[0], spare=not is_checked)
    except UserError as error:
        error.locate(error.key, find_origin(recipe.model or ConfigDict(), (error.key or '').removeprefix('model.')))
        raise
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
        key = 'optimizer' if recipe.dialect == 2 else 'train_cfg'
        raise ConfigError(f'the config has no {key!r}, which a training needs{where}')
    return recipe.training


def set_up_process(environment: Environment) -> None:
    """Set the start method of workers, open files, the threads of OpenCV and cuDNN's choice of algorithms."""
    if environment.mp_start_method is not None and sys.platform != 'win32':
        multiprocessing.set_start_method(environment.mp_start_method, force=True)
    if environment.resource_limit is not None:
        raise_file_limit(environment.resource_limit)
    if environment.opencv_num_threads is not None:
        cv2.setNumThreads(environment.opencv_num_threads)
    if environment.cudnn_benchmark:
        torch.backends.cudnn.benchmark = True


# ------------------------------------------------------------------ hooks


def register_hooks(runner: Runner, training: TrainingRecipe) -> None:
    """The hooks of a training besides evaluation, which needs a dataset."""
    if training.lr is not None:
        runner.register_hook(LrUpdaterHook(training.lr))
    if training.momentum is not None:
        runner.register_hook(MomentumUpdaterHook(training.momentum))
    if training.timer:
        runner.register_hook(IterTimerHook())
    if training.checkpoint is not None:
        runner.register_hook(_build_hook(training.checkpoint, type='CheckpointHook'))
    for logging_hook in training.loggers:
        runner.register_hook(_build_hook(logging_hook))
    for hook in training.hooks:
        built = _build_hook(hook.config)
        with located(hook.config, 'priority'):
            runner.register_hook(built, hook.priority)
    if is_main() and sys.stderr.isatty():
        runner.register_hook(ProgressHook())


def _build_hook(cfg: ConfigDict, **default_args: Any) -> Hook:
    hook = HOOKS.build(cfg, **default_args)
    with located(cfg):
        if not isinstance(hook, Hook):
            raise InvalidTypeError(f'{type(hook).__name__} is no hook: derive it from mmkit.engine.hook.Hook', 'type')
    return hook


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
    arguments = {**evaluation.arguments, 'metrics': evaluation.metrics} if evaluation.metrics else evaluation.arguments
    with located(evaluation.schedule | evaluation.arguments, 'metric'):
        runner.register_hook(EvalHook(loader, eval_args=arguments, **evaluation.schedule))
    dry_run_prediction(runner.module, dataset, recipe.val.dataset, recipe.model)
    if dataset.CLASSES != classes:  # the same ones in another order are other labels
        keys = recipe.source('val').key, recipe.source('train').key
        logger.warning('%s has the classes %s, %s has %s', keys[0], dataset.CLASSES, keys[1], classes)


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
    if recipe.dialect == 3:  # where mmdetection 3.x looks for them
        own |= {'dataset_meta': {'classes': dataset.CLASSES, 'palette': dataset.PALETTE}, 'cfg': recipe.text}
    if recipe.experiment or recipe.name:
        own['exp_name'] = recipe.experiment or recipe.name
    return {**own, **(given or {})}
