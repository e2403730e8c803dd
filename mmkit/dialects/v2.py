"""The dialect of mmdetection 2.x: a merged config -> Recipe. See docs/training.md for each key."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

from mmkit.config import Config, ConfigDict
from mmkit.dialects.legacy import upgrade
from mmkit.dialects.lr_config import read_lr_config, read_momentum_config
from mmkit.dialects.optimizer_config import read_step
from mmkit.dialects.recipe import (
    DatasetConfig,
    Environment,
    EvaluationRecipe,
    HookRecipe,
    LoaderRecipe,
    OptimizerRecipe,
    Overrides,
    Phase,
    Recipe,
    Source,
    TrainingRecipe,
)
from mmkit.dialects.sections import (
    check_numbers,
    file_of,
    find_origin,
    read_log_level,
    read_lr_scaling,
    read_section,
    read_seed,
    require_whole,
    without_keys,
    wrong,
)
from mmkit.dialects.unread import describe_unread
from mmkit.errors import ConfigError, InvalidTypeError
from mmkit.utils.logging import warn_once

logger = logging.getLogger('mmkit.dialects')

# Keys that are read. Other top-level names are building blocks of these, or mistakes.
KNOWN_KEYS = frozenset(
    """
    model data train_cfg test_cfg optimizer optimizer_config lr_config momentum_config runner total_epochs
    checkpoint_config log_config evaluation custom_hooks custom_imports workflow fp16 auto_scale_lr load_from
    resume_from auto_resume dist_params find_unused_parameters broadcast_buffers seed deterministic gpu_ids
    work_dir log_level cudnn_benchmark opencv_num_threads mp_start_method device
    device_normalize
    """.split()
)
# Building blocks by custom.
CUSTOMARY_KEYS = frozenset(
    'dataset_type data_root img_norm_cfg train_pipeline val_pipeline test_pipeline classes'.split()
)
DATA_KEYS = (
    *('train', 'val', 'test', 'train_dataloader', 'val_dataloader', 'test_dataloader'),
    *('samples_per_gpu', 'workers_per_gpu', 'persistent_workers', 'pin_memory', 'imgs_per_gpu'),
)
# Of `evaluation`: the rest is for `dataset.evaluate`.
EVAL_HOOK_KEYS = frozenset(
    """
    start interval by_epoch save_best rule test_fn greater_keys less_keys out_dir dynamic_intervals file_client_args
    broadcast_bn_buffer begin at_end fp16 branches
    """.split()
)
LOADER_KEYS = {  # -> LoaderRecipe
    'samples_per_gpu': 'batch_size',
    'workers_per_gpu': 'num_workers',
    'persistent_workers': 'persistent_workers',
    'shuffle': 'shuffle',
    'pin_memory': 'pin_memory',
    'drop_last': 'drop_last',
    'prefetch_factor': 'prefetch_factor',
}


def read(cfg: ConfigDict, training: bool = True) -> Recipe:
    """The recipe of a merged config; `cfg` stays as it is, and the recipe shares its parts.

    Args:
        cfg: a whole config, in the spelling of any 2.x.
        training: read what only a training needs.

    Raises:
        UserError: for values that make no sense, with the key, its file and its line.
    """
    text = cfg.pretty_text if training and isinstance(cfg, Config) else ''
    cfg = upgrade(cfg)
    data = read_section(cfg, 'data') or ConfigDict()
    train, val, test = (_loader(cfg, data, split) for split in ('train', 'val', 'test'))
    keys = {'load_from': 'load_from', 'resume_from': 'resume_from'}
    keys |= {split: f'data.{split}' for split in ('train', 'val', 'test')}
    return Recipe(
        model=read_section(cfg, 'model'),
        train=train,
        val=val,
        test=test,
        training=_training(cfg, train, val) if training and cfg.get('optimizer') is not None else None,
        evaluation=_evaluation(cfg),
        environment=_environment(cfg),
        device_normalize=bool(cfg.get('device_normalize', True)),
        name=Path(cfg.filename).name if isinstance(cfg, Config) and cfg.filename else '',
        text=text,
        unread=tuple(describe_unread(cfg, KNOWN_KEYS, CUSTOMARY_KEYS, DATA_KEYS)),
        sources={name: Source(key, find_origin(cfg, key)) for name, key in keys.items()},
    )


def override(cfg: Config, overrides: Overrides) -> None:
    """Write what the command line says into a config.

    Raises:
        ConfigError: with auto_scale_lr, if the config doesn't say for which batch size its learning rate is.
    """
    values = asdict(overrides)
    del values['auto_scale_lr'], values['amp']
    for name, value in values.items():
        if value is not None and value is not False:
            cfg.merge_from_dict({name: value}, source=f'--{name.replace("_", "-")}')
    if overrides.amp and not cfg.get('fp16'):
        cfg.merge_from_dict({'fp16': {'loss_scale': 'dynamic'}}, source='--amp')
    if overrides.auto_scale_lr:
        if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
            raise ConfigError(
                f'--auto-scale-lr: {cfg.filename} does not say for which batch size its learning rate is, '
                'add auto_scale_lr=dict(enable=False, base_batch_size=16)'
            )
        cfg.merge_from_dict({'auto_scale_lr.enable': True}, source='--auto-scale-lr')


# ------------------------------------------------------------------ data


def _loader(cfg: ConfigDict, data: ConfigDict, split: str) -> LoaderRecipe:
    """The data loader for `split`.

    `data.<split>_dataloader` goes before `data.samples_per_gpu` and so on, which are meant for training; a dataset with
    `samples_per_gpu` of its own says the batch size of its validation or test, by default one image.
    """
    dataset: DatasetConfig | None = data.get(split)
    batch_size = data.get('samples_per_gpu', 2)
    if split != 'train':
        batch_size = dataset.get('samples_per_gpu', 1) if isinstance(dataset, Mapping) else 1
    if isinstance(dataset, ConfigDict) and 'samples_per_gpu' in dataset:
        dataset = dataset.copy()
        dataset.pop('samples_per_gpu')
    general = {key: data[key] for key in ('workers_per_gpu', 'persistent_workers', 'pin_memory') if key in data}
    own = dict(data.get(f'{split}_dataloader') or {})
    values = {'samples_per_gpu': batch_size, **general, **own}
    for key in own:
        if key not in LOADER_KEYS:
            message = f'data.{split}_dataloader has no {key!r}, expected some of {", ".join(LOADER_KEYS)}'
            raise wrong(cfg, f'data.{split}_dataloader.{key}', message, InvalidTypeError)
    for key, least in (('samples_per_gpu', 1), ('workers_per_gpu', 0)):
        path = f'data.{split}_dataloader.{key}' if key in own else f'data.{key}'
        require_whole(cfg, path, values.get(key, least), least)
    return LoaderRecipe(dataset, **{LOADER_KEYS[key]: value for key, value in values.items()})


def _evaluation(cfg: ConfigDict) -> EvaluationRecipe | None:
    evaluation = read_section(cfg, 'evaluation')
    if evaluation is None:
        return None
    evaluation.setdefault('by_epoch', not _counts_iterations(cfg))
    for key in ('tmpdir', 'gpu_collect'):
        if evaluation.pop(key, None):
            warn_once(f'evaluation.{key} has no effect: detections travel between processes in memory')
    schedule = without_keys(evaluation, evaluation.keys() - EVAL_HOOK_KEYS)
    arguments = without_keys(evaluation, EVAL_HOOK_KEYS)
    if set(arguments) == {'metrics'} and all(isinstance(metric, ConfigDict) for metric in arguments['metrics']):
        return EvaluationRecipe(schedule, metrics=tuple(arguments['metrics']))
    return EvaluationRecipe(schedule, arguments)


# ------------------------------------------------------------------ training


def _training(cfg: ConfigDict, train: LoaderRecipe, val: LoaderRecipe) -> TrainingRecipe:
    if cfg.get('data') is None:
        raise ConfigError(f"the config has no 'data', which a training needs{file_of(cfg)}")
    by_epoch = not _counts_iterations(cfg)
    lr, momentum = check_numbers(read_section(cfg, 'lr_config')), check_numbers(read_section(cfg, 'momentum_config'))
    checkpoint = read_section(cfg, 'checkpoint_config')
    if checkpoint is not None:
        checkpoint.setdefault('by_epoch', by_epoch)
    return TrainingRecipe(
        loop=_loop(cfg),
        workflow=_workflow(cfg, train.dataset, val.dataset),
        optimizer=_optimizer(cfg),
        step=read_step(cfg),
        lr=None if lr is None else read_lr_config(lr, by_epoch),
        momentum=None if momentum is None else read_momentum_config(momentum, by_epoch),
        checkpoint=checkpoint,
        loggers=_loggers(cfg, by_epoch),
        hooks=_hooks(cfg),
        load_from=cfg.get('load_from'),
        resume_from=cfg.get('resume_from'),
        auto_resume=bool(cfg.get('auto_resume', False)),
        find_unused_parameters=bool(cfg.get('find_unused_parameters', False)),
        broadcast_buffers=bool(cfg.get('broadcast_buffers', False)),
    )


def _counts_iterations(cfg: ConfigDict) -> bool:
    return bool((read_section(cfg, 'runner') or ConfigDict()).get('type') == 'IterBasedRunner')


def _loop(cfg: ConfigDict) -> ConfigDict:
    runner = check_numbers(read_section(cfg, 'runner'))
    if runner is None:
        raise ConfigError(
            f"the config has no 'runner', such as dict(type='EpochBasedRunner', max_epochs=12){file_of(cfg)}"
        )
    if runner.get('type') in (None, 'Runner'):  # the first name of EpochBasedRunner
        runner['type'] = 'EpochBasedRunner'
    return runner


def _optimizer(cfg: ConfigDict) -> OptimizerRecipe:
    optimizer = check_numbers(read_section(cfg, 'optimizer')) or ConfigDict()
    if 'type' not in optimizer:
        parts = [key for key, value in optimizer.items() if isinstance(value, Mapping) and 'type' in value]
        message = f'has parts {parts}: one optimizer for the whole model is expected'
        raise wrong(cfg, 'optimizer', f'optimizer {message}' if parts else "optimizer has no 'type', such as 'SGD'")
    constructor = optimizer.pop('constructor', 'DefaultOptimizerConstructor')
    return OptimizerRecipe(optimizer, constructor, optimizer.pop('paramwise_cfg', None), *read_lr_scaling(cfg))


def _loggers(cfg: ConfigDict, by_epoch: bool) -> tuple[ConfigDict, ...]:
    log = read_section(cfg, 'log_config') or ConfigDict(hooks=[{'type': 'TextLoggerHook'}])
    for key in sorted(set(log) - {'interval', 'hooks'}):
        message = f'log_config has no {key!r}, expected interval and hooks'
        raise wrong(cfg, f'log_config.{key}', message, InvalidTypeError)
    hooks = [hook.copy() for hook in log.get('hooks', [])]
    for hook in hooks:
        hook.setdefault('interval', log.get('interval', 10))
        hook.setdefault('by_epoch', by_epoch)
    return tuple(hooks)


def _hooks(cfg: ConfigDict) -> tuple[HookRecipe, ...]:
    hooks = cfg.get('custom_hooks') or []
    if not isinstance(hooks, (list, tuple)) or not all(isinstance(hook, Mapping) for hook in hooks):
        message = f'custom_hooks is {hooks!r}, expected a list of dicts'
        raise wrong(cfg, 'custom_hooks', message, InvalidTypeError)
    copies = [hook.copy() for hook in hooks]
    return tuple(HookRecipe(hook, hook.pop('priority', None)) for hook in copies)


def _workflow(cfg: ConfigDict, train: DatasetConfig | None, val: DatasetConfig | None) -> tuple[Phase, ...]:
    phases = []
    for part in cfg.get('workflow') or [('train', 1)]:
        mode, times = part if isinstance(part, (list, tuple)) and len(part) == 2 else (None, None)
        if mode not in ('train', 'val') or not isinstance(times, int) or times < 1:
            shown = tuple(part) if isinstance(part, list) else part
            raise wrong(cfg, 'workflow', f"workflow has {shown!r}, expected ('train' or 'val', number)")
        phases.append(Phase(mode, times, train if mode == 'train' else _with_pipeline_of(train, val)))
    if not any(phase.mode == 'train' for phase in phases):
        raise wrong(cfg, 'workflow', f'workflow {cfg.workflow} has no train in it')
    return tuple(phases)


def _with_pipeline_of(train: DatasetConfig | None, val: DatasetConfig | None) -> DatasetConfig | None:
    """The validation data prepared as for a training, which losses need."""
    while isinstance(train, Mapping) and 'pipeline' not in train:  # wrapped, as in RepeatDataset
        train = train.get('dataset')
    if not isinstance(train, ConfigDict) or not isinstance(val, ConfigDict):
        return val
    prepared = val.copy()
    prepared._put('pipeline', train['pipeline'], train._origins.get('pipeline'))
    return prepared


# ------------------------------------------------------------------ surroundings


def _environment(cfg: ConfigDict) -> Environment:
    return Environment(
        work_dir=cfg.get('work_dir') or 'work_dirs',
        seed=read_seed(cfg, 'seed', cfg.get('seed')),
        deterministic=bool(cfg.get('deterministic', False)),
        cudnn_benchmark=bool(cfg.get('cudnn_benchmark', False)),
        opencv_num_threads=cfg.get('opencv_num_threads'),
        mp_start_method=cfg.get('mp_start_method'),
        backend=(read_section(cfg, 'dist_params') or ConfigDict()).get('backend'),
        device=cfg.get('device') or _device_of(cfg.get('gpu_ids')),
        log_level=read_log_level(cfg),
    )


def _device_of(gpu_ids: Iterable[int] | None) -> str | None:
    numbers = list(gpu_ids or [])
    if len(numbers) > 1:
        logger.warning('gpu_ids=%s: a process uses one GPU, so %d GPUs need as many processes', numbers, len(numbers))
    return f'cuda:{numbers[0]}' if numbers else None
