"""A recipe as a config of mmdetection 2.x."""

from __future__ import annotations

from typing import Any

from mmkit.config import ConfigDict
from mmkit.dialects.recipe import LoaderRecipe, LossScale, Recipe, StepSettings, TrainingRecipe
from mmkit.dialects.v2 import LOADER_KEYS
from mmkit.dialects.writing.metrics import metrics_of_v2
from mmkit.dialects.writing.notes import Notes
from mmkit.dialects.writing.pipelines import unpack
from mmkit.dialects.writing.policies import to_policy
from mmkit.dialects.writing.schedules import length_of


def write_v2(recipe: Recipe, notes: Notes) -> ConfigDict:
    """The config; `notes` gets remarks about what 2.x has no words for."""
    recipe = unpack(recipe, notes)
    cfg = ConfigDict()
    if recipe.model is not None:
        cfg['model'] = recipe.model
    data = _data(recipe, notes)
    if data:
        cfg['data'] = data
    if recipe.training is not None:
        cfg |= _training(recipe.training, notes)
    evaluation = recipe.evaluation
    if evaluation is not None:
        cfg['evaluation'] = evaluation.schedule | metrics_of_v2(evaluation, recipe, notes)
    elif recipe.test_metrics:
        notes.add('test_evaluator has no place in mmdetection 2.x: name the metrics of a test with --eval')
    if recipe.tta is not None:
        notes.add('tta_model and tta_pipeline have no place in mmdetection 2.x: use MultiScaleFlipAug in data.test')
    env = recipe.environment
    notes.drop('the environment', 2, diff_rank_seed=env.diff_rank_seed, resource_limit=env.resource_limit)
    launcher = env.launcher if env.launcher != 'none' else ''
    notes.drop('the environment', 2, launcher=launcher, experiment_name=recipe.experiment)
    notes.drop('a test', 2, fp16=recipe.test_fp16, drawing=recipe.test_drawing)
    surroundings = {
        'cudnn_benchmark': env.cudnn_benchmark or None,
        'opencv_num_threads': env.opencv_num_threads,
        'mp_start_method': env.mp_start_method,
        'dist_params': {'backend': env.backend} if env.backend else None,
        'seed': env.seed,
        'deterministic': env.deterministic or None,
        'log_level': env.log_level,
        'work_dir': env.work_dir if env.work_dir != 'work_dirs' else None,
        'device': env.device,
        'device_normalize': None if recipe.device_normalize else False,
    }
    return cfg | {key: value for key, value in surroundings.items() if value is not None}


def _data(recipe: Recipe, notes: Notes) -> dict[str, Any]:
    """`data`; numbers of the training's loader stand for all, those of the others in dicts of their own."""
    train = recipe.train
    data: dict[str, Any] = {}
    if train.dataset is not None:
        data = {'samples_per_gpu': train.batch_size, 'workers_per_gpu': train.num_workers}
    for split, loader in (('train', train), ('val', recipe.val), ('test', recipe.test)):
        if loader.dataset is None:
            continue
        notes.drop(f'data.{split}_dataloader', 2, sampler=loader.sampler, batch_sampler=loader.batch_sampler)
        data[split] = loader.dataset
        own = _loader(loader, split)
        if own:
            data[f'{split}_dataloader'] = own
    return data


def _loader(loader: LoaderRecipe, split: str) -> dict[str, Any]:
    """Arguments in which a loader differs from the training's numbers and from the defaults of 2.x."""
    usual = vars(LoaderRecipe(None))
    values = {old: vars(loader)[new] for old, new in LOADER_KEYS.items()}
    sizes = {'samples_per_gpu': values.pop('samples_per_gpu'), 'workers_per_gpu': values.pop('workers_per_gpu')}
    kept = {old: value for old, value in values.items() if value != usual[LOADER_KEYS[old]]}
    if split == 'train':
        return kept
    if sizes['samples_per_gpu'] == 1:
        del sizes['samples_per_gpu']
    return sizes | kept


def _training(training: TrainingRecipe, notes: Notes) -> dict[str, Any]:
    length = length_of(training.loop)
    if not training.timer:
        notes.add('default_hooks.timer=None has no words in mmdetection 2.x: iterations are always timed')
    optimizer = training.optimizer
    config = optimizer.config.copy()
    if optimizer.constructor != 'DefaultOptimizerConstructor':
        config['constructor'] = optimizer.constructor
    if optimizer.paramwise is not None:
        config['paramwise_cfg'] = optimizer.paramwise
    lr, momentum = (
        None if schedule is None else to_policy(schedule, name, length, notes)
        for name, schedule in (('lr', training.lr), ('momentum', training.momentum))
    )
    scale = None
    if optimizer.base_batch_size is not None:
        scale = {'enable': optimizer.scale_lr, 'base_batch_size': optimizer.base_batch_size}
    hooks = [hook.config | ({} if hook.priority is None else {'priority': hook.priority}) for hook in training.hooks]
    keys: dict[str, Any] = {
        'runner': training.loop,
        'optimizer': config,
        **_step(training.step, notes),
        'lr_config': lr,
        'momentum_config': momentum,
        'auto_scale_lr': scale,
        'checkpoint_config': training.checkpoint,
        'log_config': {'hooks': list(training.loggers)},
        'custom_hooks': hooks or None,
        'workflow': training.turns if len(training.workflow) > 1 else None,
        'load_from': training.load_from,
        'resume_from': training.resume_from,
        'auto_resume': training.auto_resume or None,
        'find_unused_parameters': training.find_unused_parameters or None,
        'broadcast_buffers': training.broadcast_buffers or None,
    }
    return {key: value for key, value in keys.items() if value is not None}


def _step(step: StepSettings, notes: Notes) -> dict[str, Any]:
    config: dict[str, Any] = {} if step.grad_clip is None else {'grad_clip': step.grad_clip}
    if step.detect_anomalous_params:
        config['detect_anomalous_params'] = True
    if step.cumulative_iters > 1:
        config |= {'type': 'GradientCumulativeOptimizerHook', 'cumulative_iters': step.cumulative_iters}
    keys: dict[str, Any] = {'optimizer_config': config} if config else {}
    if step.fp16 is not None:
        notes.drop('fp16', 2, amp_dtype=step.amp_dtype if step.amp_dtype != 'float16' else None)
        keys['fp16'] = {'loss_scale': _scale(step.fp16)}
    return keys


def _scale(scale: LossScale) -> Any:
    if not scale.dynamic:
        return scale.init_scale
    return 'dynamic' if scale == LossScale() else {key: value for key, value in vars(scale).items() if key != 'dynamic'}
