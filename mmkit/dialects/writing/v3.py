"""A recipe as a config of mmdetection 3.x."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmkit.config import ConfigDict
from mmkit.dialects.recipe import EvaluationRecipe, LoaderRecipe, OptimizerRecipe, Recipe, StepSettings, TrainingRecipe
from mmkit.dialects.spellings import DATASETS, HOOKS, METRICS, MODELS, TRANSFORMS
from mmkit.dialects.spellings import write_v3 as spelled
from mmkit.dialects.v3.optim_wrapper import CONSTRUCTOR, CONSTRUCTOR_OF_2X, RULES_OF_DECAY
from mmkit.dialects.writing.loggers import write_loggers
from mmkit.dialects.writing.metrics import with_metrics, with_prefixes
from mmkit.dialects.writing.notes import Notes
from mmkit.dialects.writing.pipelines import pack
from mmkit.dialects.writing.schedulers import to_param_scheduler
from mmkit.dialects.writing.schedules import length_of
from mmkit.schedules import Schedule

_ORDER = """
    default_scope model train_dataloader val_dataloader test_dataloader train_cfg val_cfg test_cfg optim_wrapper
    param_scheduler auto_scale_lr val_evaluator test_evaluator tta_model tta_pipeline default_hooks custom_hooks
    visualizer log_processor load_from resume
""".split()


def write_v3(recipe: Recipe, notes: Notes) -> ConfigDict:
    """The config; `notes` gets remarks about what 3.x has no words for.

    Raises:
        UnpackableError: the pipelines do what no data preprocessor can do.
    """
    recipe = with_prefixes(with_metrics(pack(recipe)))
    cfg = ConfigDict(default_scope='mmdet')
    if recipe.model is not None:
        cfg['model'] = spelled(recipe.model, MODELS)
    if recipe.training is not None:
        cfg |= _training(recipe.training, recipe.train, recipe.evaluation, notes)
    if recipe.evaluation is not None:
        cfg |= _validation(recipe, recipe.evaluation)
    if recipe.test_metrics and recipe.test.dataset is not None:
        cfg['test_dataloader'] = _loader(recipe.test, 'test')
        cfg['test_cfg'] = {'type': 'TestLoop', **({'fp16': True} if recipe.test_fp16 else {})}
        cfg['test_evaluator'] = spelled(list(recipe.test_metrics), METRICS)
    if recipe.tta is not None:
        settings = {'nms': recipe.tta.nms, 'max_per_img': recipe.tta.max_per_img}
        settings = {key: value for key, value in settings.items() if value is not None}
        cfg['tta_model'] = {'type': 'DetTTAModel', 'tta_cfg': settings}
        cfg['tta_pipeline'] = spelled(recipe.tta.pipeline, TRANSFORMS)
    return _without_none(cfg | _environment(recipe))


def _validation(recipe: Recipe, evaluation: EvaluationRecipe) -> dict[str, Any]:
    if recipe.val.dataset is None:
        return {}
    is_half = evaluation.schedule.get('fp16')
    if is_half is None:  # as in the training
        is_half = recipe.training is not None and recipe.training.step.fp16 is not None
    kind = 'TeacherStudentValLoop' if evaluation.schedule.get('branches') else 'ValLoop'
    return {
        'val_dataloader': _loader(recipe.val, 'val'),
        'val_cfg': {'type': kind, **({'fp16': True} if is_half else {})},
        'val_evaluator': spelled(list(evaluation.metrics), METRICS),
    }


def _loader(loader: LoaderRecipe, split: str) -> dict[str, Any]:
    shuffles = (split == 'train') if loader.shuffle is None else loader.shuffle
    sampler, batch_sampler = loader.sampler, loader.batch_sampler
    if sampler is None:
        sampler = ConfigDict(type='DefaultSampler', shuffle=shuffles)
        batch_sampler = ConfigDict(type='AspectRatioBatchSampler') if shuffles else batch_sampler
    if batch_sampler is not None and loader.drop_last:
        batch_sampler = batch_sampler | {'drop_last': True}
    dataset = spelled(loader.dataset, {**TRANSFORMS, **DATASETS})
    return {
        'batch_size': loader.batch_size,
        'num_workers': loader.num_workers,
        'persistent_workers': loader.persistent_workers,
        'pin_memory': loader.pin_memory,
        'prefetch_factor': loader.prefetch_factor,
        'drop_last': True if loader.drop_last and batch_sampler is None else None,
        'sampler': sampler,
        'batch_sampler': batch_sampler,
        'dataset': dataset if split == 'train' else _in_test_mode(dataset),
    }


def _in_test_mode(dataset: ConfigDict | Sequence[ConfigDict]) -> Any:
    """The dataset, or those in it, in test mode, which 3.x doesn't know by itself."""
    if not isinstance(dataset, ConfigDict):
        return [_in_test_mode(part) for part in dataset]
    inner = [key for key in ('dataset', 'datasets') if key in dataset]
    if not inner:
        return dataset | {'test_mode': dataset.get('test_mode', True)}
    return ConfigDict({key: _in_test_mode(value) if key in inner else value for key, value in dataset.items()})


# ------------------------------------------------------------------ training


def _training(
    training: TrainingRecipe, train: LoaderRecipe, evaluation: EvaluationRecipe | None, notes: Notes
) -> dict[str, Any]:
    notes.drop('training', 3, workflow=training.turns if len(training.workflow) > 1 else None)
    notes.drop('training', 3, detect_anomalous_params=training.step.detect_anomalous_params)
    schedule = ConfigDict() if evaluation is None else evaluation.schedule
    wrapper = {
        'find_unused_parameters': training.find_unused_parameters,
        'broadcast_buffers': training.broadcast_buffers,
    }
    return {
        'train_dataloader': None if train.dataset is None else _loader(train, 'train'),
        'train_cfg': _loop(training, schedule, notes),
        'optim_wrapper': _optim_wrapper(training.optimizer, training.step, notes),
        'param_scheduler': _schedulers(training, notes),
        'auto_scale_lr': _auto_scale(training.optimizer),
        **_hooks(training, schedule, notes),
        'load_from': training.resume_from or training.load_from,
        'resume': bool(training.resume_from or training.auto_resume),
        'model_wrapper_cfg': {'type': 'MMDistributedDataParallel', **wrapper} if any(wrapper.values()) else None,
    }


def _loop(training: TrainingRecipe, schedule: ConfigDict, notes: Notes) -> dict[str, Any]:
    length = length_of(training.loop)
    kind, name = ('Epoch', 'max_epochs') if length.by_epoch else ('Iter', 'max_iters')
    loop = {'type': f'{kind}BasedTrainLoop', name: length.number, 'val_interval': schedule.get('interval', 1)}
    notes.drop('train_cfg', 3, start=schedule.get('start'))
    if schedule and schedule.get('by_epoch', True) != length.by_epoch:
        notes.add('train_cfg: val_interval counts what the training counts, and evaluation.by_epoch is left out')
    if schedule.get('begin', 1) != 1:
        loop['val_begin'] = schedule['begin']
    if schedule.get('dynamic_intervals'):
        loop['dynamic_intervals'] = [(begin + 1, interval) for begin, interval in schedule['dynamic_intervals']]
    return loop


def _optim_wrapper(optimizer: OptimizerRecipe, step: StepSettings, notes: Notes) -> dict[str, Any]:
    wrapper: dict[str, Any] = {'type': 'OptimWrapper', 'optimizer': optimizer.config}
    if step.fp16 is not None:
        scale = step.fp16
        wrapper = {'type': 'AmpOptimWrapper', 'optimizer': optimizer.config, 'loss_scale': scale.init_scale}
        if scale.dynamic:
            numbers = {key: value for key, value in vars(scale).items() if key != 'dynamic'}
            wrapper['loss_scale'] = 'dynamic' if scale == type(scale)() else numbers
        wrapper |= {'dtype': step.amp_dtype} if step.amp_dtype != 'float16' else {}
    if optimizer.constructor not in (CONSTRUCTOR, CONSTRUCTOR_OF_2X):
        wrapper['constructor'] = optimizer.constructor
    elif optimizer.constructor == CONSTRUCTOR_OF_2X and RULES_OF_DECAY & set(optimizer.paramwise or ()):
        notes.add('optim_wrapper.paramwise_cfg: decay of biases of norms and of depthwise convolutions differs in 3.x')
    wrapper |= {'paramwise_cfg': optimizer.paramwise, 'clip_grad': step.grad_clip}
    return wrapper | ({'accumulative_counts': step.cumulative_iters} if step.cumulative_iters > 1 else {})


def _schedulers(training: TrainingRecipe, notes: Notes) -> list[ConfigDict] | None:
    length = length_of(training.loop)
    written: list[ConfigDict] = []
    for quantity, schedule in (('lr', training.lr), ('momentum', training.momentum)):
        written += to_param_scheduler(schedule or Schedule(()), quantity, length, notes)
    return written or None


def _auto_scale(optimizer: OptimizerRecipe) -> dict[str, Any] | None:
    if optimizer.base_batch_size is None:
        return None
    return {'enable': optimizer.scale_lr, 'base_batch_size': optimizer.base_batch_size}


def _hooks(training: TrainingRecipe, schedule: ConfigDict, notes: Notes) -> dict[str, Any]:
    """`default_hooks`, `custom_hooks`, `log_processor`, `visualizer`."""
    best = {key: schedule[key] for key in ('save_best', 'rule', 'greater_keys', 'less_keys') if schedule.get(key)}
    checkpoint = None if training.checkpoint is None else ConfigDict(type='CheckpointHook') | training.checkpoint
    checkpoint = checkpoint if checkpoint is None else spelled(checkpoint, HOOKS) | best
    custom = [
        spelled(hook.config, HOOKS) | ({} if hook.priority is None else {'priority': hook.priority})
        for hook in training.hooks
    ]
    logs = write_loggers(training.loggers, notes)
    hooks = ConfigDict(logger=logs.pop('logger'), checkpoint=checkpoint)
    hooks |= {} if training.timer else {'timer': None}
    return {'default_hooks': hooks, 'custom_hooks': custom or None, **logs}


# ------------------------------------------------------------------ surroundings


def _environment(recipe: Recipe) -> dict[str, Any]:
    env = recipe.environment
    processes = {'mp_start_method': env.mp_start_method, 'opencv_num_threads': env.opencv_num_threads}
    processes = {key: value for key, value in processes.items() if value is not None}
    random = {
        'seed': env.seed,
        'deterministic': env.deterministic or None,
        'diff_rank_seed': env.diff_rank_seed or None,
    }
    random = {key: value for key, value in random.items() if value is not None}
    return {
        'env_cfg': {
            'cudnn_benchmark': env.cudnn_benchmark,
            'mp_cfg': processes or None,
            'dist_cfg': {'backend': env.backend} if env.backend else None,
            'resource_limit': env.resource_limit,
        },
        'randomness': random or None,
        'log_level': env.log_level,
        'work_dir': env.work_dir if env.work_dir != 'work_dirs' else None,
        'launcher': env.launcher if env.launcher != 'none' else None,
        'experiment_name': recipe.experiment or None,
        'device': env.device,
        'device_normalize': None if recipe.device_normalize else False,
    }


def _without_none(cfg: ConfigDict) -> ConfigDict:
    """The config without keys that are None, down to the arguments of loaders; default hooks are None for a reason."""
    kept = ConfigDict()
    for key in (*_ORDER, *(key for key in cfg if key not in _ORDER)):
        value = cfg.get(key)
        if value is None:
            continue
        if key.endswith('_dataloader') or key in ('env_cfg', 'optim_wrapper'):
            value = ConfigDict({name: item for name, item in value.items() if item is not None})
        kept[key] = value
    return kept
