"""From a config, a model and datasets to a trained model."""

from __future__ import annotations

import copy
import inspect
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from mmkit.apis.test import rehearse
from mmkit.datasets import build_dataloader, build_dataset, collate
from mmkit.dialects.lr_config import read_lr_config, read_momentum_config
from mmkit.engine.checkpoint import find_latest, load_checkpoint, unwrap
from mmkit.engine.failures import located_in_model
from mmkit.engine.hooks.checks import check_num_classes
from mmkit.engine.hooks.evaluation import EvalHook
from mmkit.engine.hooks.logger import ProgressHook
from mmkit.engine.hooks.timer import IterTimerHook
from mmkit.engine.hooks.updaters import LrUpdaterHook, MomentumUpdaterHook
from mmkit.engine.optim import build_optimizer
from mmkit.engine.runner import Runner
from mmkit.engine.settings import LoaderSettings, TrainSettings, read_dataset, read_settings, warn_unread
from mmkit.registry import HOOKS, RUNNERS, located
from mmkit.utils.dist import broadcast_object, get_world_size, is_main
from mmkit.utils.env import resolve_device
from mmkit.utils.logging import get_logger
from mmkit.utils.seed import init_seed


def train_detector(
    model: nn.Module,
    dataset: Any,
    cfg: Mapping[str, Any],
    distributed: bool = False,
    validate: bool = False,
    timestamp: str | None = None,
    meta: Mapping[str, Any] | None = None,
    device: str | torch.device | None = None,
) -> Runner:
    """Train a detector as a config says.

    Args:
        model: with the weights to start from.
        dataset: a dataset, or one for each part of `cfg.workflow`.
        cfg: a whole config; it stays as it is.
        distributed: torch.distributed is initialised and its processes train together.
        validate: evaluate on `cfg.data.val` as `cfg.evaluation` says.
        timestamp: in the names of log files; by default now.
        meta: what logs and checkpoints shall say besides classes and config.
        device: by default `cfg.device`, or a GPU if there is one.

    Returns:
        The runner after the training; its `module` is the model.
    """
    runner, run = prepare_training(model, dataset, cfg, distributed, validate, timestamp, meta, device)
    run()
    return runner


def prepare_training(
    model: nn.Module,
    dataset: Any,
    cfg: Mapping[str, Any],
    distributed: bool = False,
    validate: bool = False,
    timestamp: str | None = None,
    meta: Mapping[str, Any] | None = None,
    device: str | torch.device | None = None,
) -> tuple[Runner, Callable[[], None]]:
    """All of `train_detector` that a mistake in the config can stop, and a function that does the rest.

    Raises:
        KeyError, TypeError, ValueError, OSError: naming the key, and its file and line where the config knows them.
    """
    settings = read_settings(cfg)
    warn_unread(cfg)
    logger = get_logger('mmkit.engine')
    datasets = list(dataset) if isinstance(dataset, (list, tuple)) else [dataset]
    _check_workflow(datasets, settings)
    use_processes(settings)
    seed = init_seed(settings.seed)
    device = _device(settings.device if device is None else device, distributed)
    loaders = [_loader(each, settings.train_loader, distributed, seed) for each in datasets]

    model = unwrap(model).to(device)
    # mmdetection checks by a hook of its default runtime; who takes it out may have classes to spare.
    is_hooked = any(hook.get('type') == 'NumClassCheckHook' for hook in settings.custom_hooks)
    check_num_classes(model, datasets[0], spare=not is_hooked)
    if settings.load_from and not settings.resume_from:
        with located(cfg, 'load_from'):
            load_checkpoint(model, settings.load_from)
    trained = _distributed_model(model, device, settings) if distributed else model
    with located(settings.optimizer):
        optimizer = build_optimizer(model, _scaled(settings, logger))
    runner: Runner = RUNNERS.build(
        settings.runner,
        model=trained,
        optimizer=optimizer,
        work_dir=settings.work_dir,
        logger=logger,
        meta=_meta(cfg, datasets[0], seed, meta),
        step=settings.step,
        device=device,
        timestamp=timestamp,
    )
    register_hooks(runner, settings)
    if validate and settings.evaluation is not None:
        val = build_dataset(read_dataset(cfg, 'val'), {'test_mode': True})
        loader = _loader(val, settings.val_loader, distributed, seed, shuffle=False)
        with located(settings.evaluation, 'metric'):
            runner.register_hook(EvalHook.from_config(loader, settings.evaluation))
        rehearse(model, val, cfg, 'val')
        names = [getattr(each, 'CLASSES', None) for each in (val, datasets[0])]
        if names[0] != names[1]:  # the same ones in another order are other labels
            logger.warning('data.val has the classes %s, data.train has %s', *names)
    resume_from = settings.resume_from
    if resume_from is None and settings.auto_resume:
        found = broadcast_object(find_latest(settings.work_dir))
        resume_from = str(found) if found else None
        logger.info('resuming from %s' if found else 'nothing to resume in %s', found or settings.work_dir)
    if resume_from is not None:
        runner.resume(resume_from)
    else:
        with located(cfg['data'], 'train'):  # a mistake in the pipeline has a place in the config here
            collate([datasets[0][0]])

    def run() -> None:
        with located_in_model(model, cfg.get('model')):
            runner.run(loaders, settings.workflow)

    return runner, run


def build_train_datasets(cfg: Mapping[str, Any]) -> list[Any]:
    """A dataset for each part of `cfg.workflow`: `data.train`, and `data.val` with the pipeline of the training."""
    datasets = []
    for mode, _ in read_settings(cfg).workflow:
        part = copy.deepcopy(read_dataset(cfg, mode))
        if mode == 'val':
            train = read_dataset(cfg, 'train')
            while 'pipeline' not in train:  # wrapped, as in RepeatDataset
                train = train['dataset']
            part['pipeline'] = train['pipeline']
        datasets.append(build_dataset(part))
    return datasets


def register_hooks(runner: Runner, settings: TrainSettings) -> None:
    """The hooks of a training besides evaluation, which needs a dataset."""
    if settings.lr is not None:
        with located(settings.lr, 'policy'):
            runner.register_hook(LrUpdaterHook(read_lr_config(settings.lr, settings.by_epoch)))
    if settings.momentum is not None:
        with located(settings.momentum, 'policy'):
            runner.register_hook(MomentumUpdaterHook(read_momentum_config(settings.momentum, settings.by_epoch)))
    runner.register_hook(IterTimerHook())
    if settings.checkpoint is not None:
        with located(settings.checkpoint):
            runner.register_hook(HOOKS.build({'type': 'CheckpointHook', **settings.checkpoint}))
    for cfg in settings.loggers:
        runner.register_hook(HOOKS.build(cfg))
    for cfg in settings.custom_hooks:
        arguments = {key: value for key, value in cfg.items() if key != 'priority'}
        with located(cfg):
            runner.register_hook(HOOKS.build(arguments), cfg.get('priority'))
    if is_main() and sys.stderr.isatty():
        runner.register_hook(ProgressHook())


def use_processes(settings: TrainSettings) -> None:
    """How workers start, and how many threads each of them may have."""
    if settings.mp_start_method is not None and sys.platform != 'win32':
        multiprocessing.set_start_method(settings.mp_start_method, force=True)
    if settings.opencv_num_threads is not None:
        cv2.setNumThreads(settings.opencv_num_threads)
    if settings.cudnn_benchmark:
        torch.backends.cudnn.benchmark = True


def _device(wanted: str | torch.device | None, distributed: bool) -> torch.device:
    if distributed and wanted is not None and torch.device(wanted).type == 'cuda':
        wanted = 'cuda'  # the one of the local rank
    return resolve_device(wanted)


def _check_workflow(datasets: Sequence[Any], settings: TrainSettings) -> None:
    if len(datasets) != len(settings.workflow):
        raise ValueError(
            f'workflow {settings.workflow} has {len(settings.workflow)} parts, but there are {len(datasets)} datasets'
        )


def _loader(dataset: Any, settings: LoaderSettings, distributed: bool, seed: int, shuffle: bool = True) -> Any:
    arguments = {'shuffle': shuffle, **settings.arguments()}
    return build_dataloader(dataset, dist=distributed, seed=seed, **arguments)


def _distributed_model(model: nn.Module, device: torch.device, settings: TrainSettings) -> nn.Module:
    renamed = 'forward_sync_buffers' in inspect.signature(DistributedDataParallel).parameters  # in torch 2.14
    arguments: dict[str, Any] = {'forward_sync_buffers' if renamed else 'broadcast_buffers': settings.broadcast_buffers}
    if device.type == 'cuda':
        arguments['device_ids'] = [torch.cuda.current_device()]
    return DistributedDataParallel(model, find_unused_parameters=settings.find_unused_parameters, **arguments)


def _scaled(settings: TrainSettings, logger: logging.Logger) -> dict[str, Any]:
    """The optimizer's config; with auto_scale_lr its rate grows with the batch size (arXiv:1706.02677)."""
    base = settings.auto_scale_base
    if base is None:
        return settings.optimizer
    batch = get_world_size() * settings.train_loader.samples_per_gpu
    lr = settings.optimizer['lr']
    logger.info('auto_scale_lr: %d images in a batch instead of %d, lr %g -> %g', batch, base, lr, lr * batch / base)
    return {**settings.optimizer, 'lr': lr * batch / base}


def _meta(cfg: Mapping[str, Any], dataset: Any, seed: int, given: Mapping[str, Any] | None) -> dict[str, Any]:
    own: dict[str, Any] = {'seed': seed, 'CLASSES': getattr(dataset, 'CLASSES', None)}
    palette = getattr(dataset, 'PALETTE', None)
    if palette is not None:
        own['PALETTE'] = palette
    if hasattr(cfg, 'pretty_text'):
        own['config'] = cfg.pretty_text
    filename = getattr(cfg, 'filename', None)
    if filename:
        own['exp_name'] = Path(os.fspath(filename)).name
    return {**own, **(given or {})}
