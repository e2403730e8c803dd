"""The top-level keys of a config, read here and nowhere else, as typed settings.

The vocabulary is mmdetection's 2.x with its older spellings; see docs/training.md for what each key does.
"""

from __future__ import annotations

import copy
import difflib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmkit.config import ConfigDict
from mmkit.config.legacy import upgrade
from mmkit.utils.names import nearest

logger = logging.getLogger('mmkit.engine.settings')

# What tools read. Other top-level names are building blocks of these, or mistakes: see `unread_keys`.
KNOWN_KEYS = frozenset(
    """
    model data train_cfg test_cfg optimizer optimizer_config lr_config momentum_config runner total_epochs
    checkpoint_config log_config evaluation custom_hooks custom_imports workflow fp16 auto_scale_lr load_from
    resume_from auto_resume dist_params find_unused_parameters broadcast_buffers seed deterministic gpu_ids
    work_dir log_level cudnn_benchmark opencv_num_threads mp_start_method device
    """.split()
)
# Building blocks by custom; they need not turn up in the model or the data.
_CUSTOMARY = ('dataset_type', 'data_root', 'img_norm_cfg', 'train_pipeline', 'val_pipeline', 'test_pipeline', 'classes')

_OPTIMIZER_HOOKS = (
    'OptimizerHook',
    'Fp16OptimizerHook',
    'GradientCumulativeOptimizerHook',
    'GradientCumulativeFp16OptimizerHook',
)
_CLIP_KEYS = ('max_norm', 'norm_type', 'error_if_nonfinite', 'foreach')
_LOADER_KEYS = (
    'samples_per_gpu',
    'workers_per_gpu',
    'persistent_workers',
    'shuffle',
    'pin_memory',
    'drop_last',
    'prefetch_factor',
)
_DATA_KEYS = (
    *('train', 'val', 'test', 'train_dataloader', 'val_dataloader', 'test_dataloader'),
    *('samples_per_gpu', 'workers_per_gpu', 'persistent_workers', 'pin_memory', 'imgs_per_gpu'),
)


@dataclass(frozen=True)
class LossScale:
    """How losses are scaled for half precision: `init_scale` forever, or adapted by the others (torch's words)."""

    init_scale: float = 2.0**16
    dynamic: bool = True
    growth_factor: float = 2.0
    backoff_factor: float = 0.5
    growth_interval: int = 2000


@dataclass(frozen=True)
class StepSettings:
    """What happens between the losses and the optimizer's step.

    Attributes:
        grad_clip: arguments of `torch.nn.utils.clip_grad_norm_`, such as max_norm and norm_type, or None.
        cumulative_iters: iterations whose gradients are averaged before a step.
        fp16: mixed precision with this loss scale; None is float32.
        detect_anomalous_params: log the parameters that get no gradient in the first iteration.
    """

    grad_clip: Mapping[str, Any] | None = None
    cumulative_iters: int = 1
    fp16: LossScale | None = None
    detect_anomalous_params: bool = False


@dataclass(frozen=True)
class LoaderSettings:
    """Of one data loader; `more` are further arguments of `build_dataloader`."""

    samples_per_gpu: int
    workers_per_gpu: int
    persistent_workers: bool = False
    more: Mapping[str, Any] = field(default_factory=dict)

    def arguments(self) -> dict[str, Any]:
        return {
            'samples_per_gpu': self.samples_per_gpu,
            'workers_per_gpu': self.workers_per_gpu,
            'persistent_workers': self.persistent_workers and self.workers_per_gpu > 0,
            **self.more,
        }


@dataclass(frozen=True)
class TrainSettings:
    """All that a training needs to know besides the model and the datasets.

    Configs of hooks, of the optimizer and of the schedules stay dicts: their constructors check them.
    """

    runner: dict[str, Any]
    optimizer: dict[str, Any]
    step: StepSettings
    lr: dict[str, Any] | None
    momentum: dict[str, Any] | None
    checkpoint: dict[str, Any] | None
    loggers: list[dict[str, Any]]
    evaluation: dict[str, Any] | None
    custom_hooks: list[dict[str, Any]]
    workflow: list[tuple[str, int]]
    train_loader: LoaderSettings
    val_loader: LoaderSettings
    load_from: str | None = None
    resume_from: str | None = None
    auto_resume: bool = False
    auto_scale_base: int | None = None  # batch size that the learning rate was chosen for
    find_unused_parameters: bool = False
    broadcast_buffers: bool = False
    seed: int | None = None
    deterministic: bool = False
    cudnn_benchmark: bool = False
    opencv_num_threads: int | None = None
    mp_start_method: str | None = None
    backend: str | None = None
    work_dir: str = 'work_dirs'
    device: str | None = None
    log_level: str = 'INFO'

    @property
    def by_epoch(self) -> bool:
        """Whether the training is counted in epochs."""
        return bool(self.runner['type'] != 'IterBasedRunner')


def read_settings(cfg: Mapping[str, Any]) -> TrainSettings:
    """Read a config for a training.

    Args:
        cfg: a whole config, `Config` or dict; it stays as it is.

    Raises:
        KeyError: if `optimizer` or `data` is missing.
        ValueError, TypeError: for values that make no sense, naming the key.
    """
    cfg = _modern(cfg)
    for key in ('optimizer', 'data'):
        if cfg.get(key) is None:
            raise KeyError(f'the config has no {key!r}, which a training needs{place(cfg)}')
    runner = _runner(cfg)
    by_epoch = runner['type'] != 'IterBasedRunner'
    checkpoint, evaluation = _dict(cfg, 'checkpoint_config'), _dict(cfg, 'evaluation')
    for hook in (checkpoint, evaluation):
        if hook is not None:
            hook.setdefault('by_epoch', by_epoch)
    return TrainSettings(
        runner=runner,
        optimizer=_optimizer(cfg),
        step=read_step(cfg),
        lr=_dict(cfg, 'lr_config'),
        momentum=_dict(cfg, 'momentum_config'),
        checkpoint=checkpoint,
        loggers=_loggers(cfg, by_epoch),
        evaluation=evaluation,
        custom_hooks=_custom_hooks(cfg),
        workflow=_workflow(cfg),
        train_loader=read_loader(cfg, 'train'),
        val_loader=read_loader(cfg, 'val'),
        load_from=cfg.get('load_from'),
        resume_from=cfg.get('resume_from'),
        auto_resume=bool(cfg.get('auto_resume', False)),
        auto_scale_base=_auto_scale(cfg),
        find_unused_parameters=bool(cfg.get('find_unused_parameters', False)),
        broadcast_buffers=bool(cfg.get('broadcast_buffers', False)),
        seed=cfg.get('seed'),
        deterministic=bool(cfg.get('deterministic', False)),
        cudnn_benchmark=bool(cfg.get('cudnn_benchmark', False)),
        opencv_num_threads=cfg.get('opencv_num_threads'),
        mp_start_method=cfg.get('mp_start_method'),
        backend=(_dict(cfg, 'dist_params') or ConfigDict()).get('backend'),
        work_dir=cfg.get('work_dir') or 'work_dirs',
        device=cfg.get('device') or _device(cfg),
        log_level=cfg.get('log_level', 'INFO'),
    )


def read_loader(cfg: Mapping[str, Any], split: str) -> LoaderSettings:
    """The data loader for `split`: 'train', 'val' or 'test'.

    `data.<split>_dataloader` goes before `data.samples_per_gpu` and so on, which are meant for training; a dataset with
    `samples_per_gpu` of its own says the batch size of its validation or test, by default one image.
    """
    data = _modern(cfg)['data']
    own = dict(data.get(f'{split}_dataloader') or {})
    batch = data.get('samples_per_gpu', 2)
    if split != 'train':
        dataset = data.get(split) or {}
        batch = dataset.get('samples_per_gpu', 1) if isinstance(dataset, Mapping) else 1
    values = {
        'samples_per_gpu': batch,
        'workers_per_gpu': data.get('workers_per_gpu', 2),
        'persistent_workers': data.get('persistent_workers', False),
        **({'pin_memory': data['pin_memory']} if 'pin_memory' in data else {}),
        **own,
    }
    for key in values:
        if key not in _LOADER_KEYS:
            where = place(cfg, f'data.{split}_dataloader.{key}')
            raise TypeError(
                f'data.{split}_dataloader has no {key!r}, expected some of {", ".join(_LOADER_KEYS)}{where}'
            )
    known = {key: values.pop(key) for key in _LOADER_KEYS[:3]}
    for key, least in (('samples_per_gpu', 1), ('workers_per_gpu', 0)):
        if not isinstance(known[key], int) or known[key] < least:
            raise ValueError(
                f'data.{key} is {known[key]!r}, expected a whole number of at least {least}{place(cfg, "data")}'
            )
    return LoaderSettings(**known, more=values)


def read_dataset(cfg: Mapping[str, Any], split: str) -> Any:
    """`data.<split>` for `build_dataset`: without the batch size, which `read_loader` reads.

    Raises:
        KeyError: if the config has none.
    """
    dataset: Any = cfg['data'].get(split)
    if dataset is None:
        raise KeyError(f'the config has no data.{split}{place(cfg, "data")}')
    if 'samples_per_gpu' in dataset:
        dataset = copy.copy(dataset)
        dataset.pop('samples_per_gpu')
    return dataset


def read_step(cfg: Mapping[str, Any]) -> StepSettings:
    """`optimizer_config` and `fp16`."""
    arguments = _dict(cfg, 'optimizer_config') or ConfigDict()
    kind = arguments.pop('type', 'OptimizerHook')
    if kind not in _OPTIMIZER_HOOKS:
        near = nearest(kind, _OPTIMIZER_HOOKS, 1) or _OPTIMIZER_HOOKS
        raise ValueError(
            f'optimizer_config.type {kind!r} is unknown, did you mean {near[0]!r}? '
            f'The step is part of the runner: expected one of {", ".join(_OPTIMIZER_HOOKS)}'
            f'{place(cfg, "optimizer_config.type")}'
        )
    half = _dict(cfg, 'fp16')
    if half is not None or 'Fp16' in kind:
        arguments = ConfigDict({'loss_scale': 512.0, **arguments, **(half or {})})
    for key, only in (('coalesce', True), ('bucket_size_mb', -1), ('distributed', True)):
        if arguments.pop(key, only) != only:
            raise ValueError(
                f'optimizer_config.{key} can only be {only!r}: gradients travel through DistributedDataParallel'
            )
    allowed = {'grad_clip', 'detect_anomalous_params'}
    allowed |= {'cumulative_iters'} if 'Cumulative' in kind else set()
    allowed |= {'loss_scale'} if half is not None or 'Fp16' in kind else set()
    unknown = sorted(set(arguments) - allowed)
    if unknown:
        raise TypeError(
            f'optimizer_config: {kind} has no {unknown[0]!r}, expected some of {", ".join(sorted(allowed))}'
            f'{place(cfg, f"optimizer_config.{unknown[0]}")}'
        )
    for key in arguments.get('grad_clip') or {}:
        if key not in _CLIP_KEYS:
            where = place(cfg, f'optimizer_config.grad_clip.{key}')
            raise TypeError(f'optimizer_config.grad_clip has no {key!r}, expected {" or ".join(_CLIP_KEYS)}{where}')
    cumulative = arguments.get('cumulative_iters', 1)
    if not isinstance(cumulative, int) or cumulative < 1:
        raise ValueError(f'optimizer_config.cumulative_iters is {cumulative!r}, expected a whole number of at least 1')
    return StepSettings(
        grad_clip=arguments.get('grad_clip'),
        cumulative_iters=cumulative,
        fp16=_loss_scale(arguments['loss_scale']) if 'loss_scale' in arguments else None,
        detect_anomalous_params=arguments.get('detect_anomalous_params', False),
    )


def unread_keys(cfg: Mapping[str, Any]) -> list[str]:
    """Top-level keys that nothing reads: probably misspelt.

    A name whose value turns up inside a key that is read is a building block, as `norm_cfg` is for `model`; unless it
    nearly has the name of a key.
    """
    values = [cfg[key] for key in cfg if key in KNOWN_KEYS]
    return [
        key
        for key in cfg
        if key not in KNOWN_KEYS
        and key not in _CUSTOMARY
        and (nearest_key(key) is not None or not any(_holds(value, cfg[key]) for value in values))
    ]


def nearest_key(key: str) -> str | None:
    """The key that tools read and that is meant by a misspelt one, if there is one."""
    near = difflib.get_close_matches(key, KNOWN_KEYS, 1, cutoff=0.8)
    return near[0] if near else None


def warn_unread(cfg: Mapping[str, Any]) -> None:
    """Warn of every top-level key, and every key of `data`, that nothing reads, with file, line and the nearest key."""
    for key in unread_keys(cfg):
        near = nearest_key(key)
        hint = f', did you mean {near!r}?' if near else ''
        logger.warning('nothing reads the top-level key %r%s%s', key, place(cfg, key), hint)
    for key in cfg.get('data') or {}:
        if key not in _DATA_KEYS:
            of_data = nearest(key, _DATA_KEYS, 1)
            hint = f', did you mean {of_data[0]!r}?' if of_data else ''
            logger.warning('nothing reads data.%s%s%s', key, place(cfg, f'data.{key}'), hint)


def place(cfg: Mapping[str, Any], key: str = '') -> str:
    """' (at file:line)' of a dotted key if the config knows it, ' (in file)' if it knows its file, or nothing."""
    origin = getattr(cfg, 'origin', None)
    if callable(origin) and key:
        try:
            found = origin(key)
        except (KeyError, AttributeError, IndexError, TypeError):
            found = None
        if found:
            return f' (at {found})'
    filename = getattr(cfg, 'filename', None)
    return f' (in {filename})' if filename else ''


def _holds(value: Any, part: Any) -> bool:
    """Whether `part` is `value` or somewhere in it: as an item, as items of a dict, or as the start of a path."""
    if type(value) is type(part) and value == part:
        return True
    if isinstance(value, str) and isinstance(part, str):
        return bool(part) and value.startswith(part)
    if isinstance(value, Mapping):
        if isinstance(part, Mapping) and part and all(key in value and value[key] == part[key] for key in part):
            return True
        return any(_holds(item, part) for item in value.values())
    if isinstance(value, (list, tuple)):
        if isinstance(part, (list, tuple)) and list(value) == list(part):
            return True
        return any(_holds(item, part) for item in value)
    return False


def _modern(cfg: Mapping[str, Any]) -> ConfigDict:
    """The config in today's spelling."""
    return upgrade(cfg if isinstance(cfg, ConfigDict) else ConfigDict(cfg))


def _dict(cfg: Mapping[str, Any], key: str) -> ConfigDict | None:
    value = cfg.get(key)
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise TypeError(f'{key} is a {type(value).__name__}, expected a dict{place(cfg, key)}')
    # A ConfigDict knows the lines of its keys; a plain dict would forget them.
    return value.copy() if isinstance(value, ConfigDict) else ConfigDict(value)


def _runner(cfg: Mapping[str, Any]) -> dict[str, Any]:
    runner = _dict(cfg, 'runner')
    if runner is None:
        raise KeyError(f"the config has no 'runner', such as dict(type='EpochBasedRunner', max_epochs=12){place(cfg)}")
    if runner.get('type') in (None, 'Runner'):  # the first name of EpochBasedRunner
        runner['type'] = 'EpochBasedRunner'
    return runner


def _optimizer(cfg: Mapping[str, Any]) -> dict[str, Any]:
    optimizer = _dict(cfg, 'optimizer') or ConfigDict()
    if 'type' not in optimizer:
        parts = [key for key, value in optimizer.items() if isinstance(value, Mapping) and 'type' in value]
        if parts:
            raise ValueError(
                f'optimizer has parts {parts}: one optimizer for the whole model is expected{place(cfg, "optimizer")}'
            )
        raise KeyError(f"optimizer has no 'type', such as 'SGD'{place(cfg, 'optimizer')}")
    return optimizer


def _loggers(cfg: Mapping[str, Any], by_epoch: bool) -> list[dict[str, Any]]:
    log = _dict(cfg, 'log_config') or ConfigDict(hooks=[{'type': 'TextLoggerHook'}])
    unknown = set(log) - {'interval', 'hooks'}
    if unknown:
        raise TypeError(f'log_config has no {min(unknown)!r}, expected interval and hooks{place(cfg, "log_config")}')
    interval = log.get('interval', 10)
    hooks = [hook.copy() for hook in log.get('hooks', [])]
    for hook in hooks:
        hook.setdefault('interval', interval)
        hook.setdefault('by_epoch', by_epoch)
    return hooks


def _custom_hooks(cfg: Mapping[str, Any]) -> list[dict[str, Any]]:
    hooks = cfg.get('custom_hooks') or []
    if not isinstance(hooks, (list, tuple)) or not all(isinstance(hook, Mapping) for hook in hooks):
        raise TypeError(f'custom_hooks is {hooks!r}, expected a list of dicts{place(cfg, "custom_hooks")}')
    return [hook.copy() for hook in hooks]


def _workflow(cfg: Mapping[str, Any]) -> list[tuple[str, int]]:
    workflow = [
        tuple(flow) if isinstance(flow, (list, tuple)) else flow for flow in cfg.get('workflow') or [('train', 1)]
    ]
    for flow in workflow:
        if (
            not isinstance(flow, tuple)
            or len(flow) != 2
            or flow[0] not in ('train', 'val')
            or not isinstance(flow[1], int)
            or flow[1] < 1
        ):
            raise ValueError(f"workflow has {flow!r}, expected ('train' or 'val', number){place(cfg, 'workflow')}")
    if not any(mode == 'train' for mode, _ in workflow):
        raise ValueError(f'workflow {workflow} has no train in it{place(cfg, "workflow")}')
    return workflow


def _auto_scale(cfg: Mapping[str, Any]) -> int | None:
    scale = _dict(cfg, 'auto_scale_lr')
    if scale is None or not scale.get('enable', False):
        return None
    base = scale.get('base_batch_size')
    if not isinstance(base, int) or base < 1:
        raise ValueError(
            f'auto_scale_lr.base_batch_size is {base!r}, expected a positive number{place(cfg, "auto_scale_lr")}'
        )
    return base


def _device(cfg: Mapping[str, Any]) -> str | None:
    gpu_ids = list(cfg.get('gpu_ids') or [])
    if len(gpu_ids) > 1:
        logger.warning('gpu_ids=%s: a process uses one GPU, so %d GPUs need as many processes', gpu_ids, len(gpu_ids))
    return f'cuda:{gpu_ids[0]}' if gpu_ids else None


def _loss_scale(value: Any) -> LossScale:
    if value == 'dynamic':
        return LossScale()
    if isinstance(value, Mapping):
        unknown = set(value) - {'init_scale', 'growth_factor', 'backoff_factor', 'growth_interval', 'enabled'}
        if unknown or not value.get('enabled', True):
            raise TypeError(
                f'fp16.loss_scale is {dict(value)}, expected arguments of torch.amp.GradScaler: '
                'init_scale, growth_factor, backoff_factor, growth_interval'
            )
        return LossScale(**{key: number for key, number in value.items() if key != 'enabled'})
    if isinstance(value, (int, float)) and value > 0:
        return LossScale(init_scale=float(value), dynamic=False)
    raise ValueError(f"fp16.loss_scale is {value!r}, expected a positive number, 'dynamic' or a dict")
