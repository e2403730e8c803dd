"""A config of 3.x becomes a recipe."""

from __future__ import annotations

import pytest

from mmkit.config import Config
from mmkit.dialects import Overrides, override, read_recipe
from mmkit.dialects.recipe import HookRecipe, LossScale, Phase
from mmkit.errors import ConfigError, UserError
from tests.tiny import tiny_config_v3

DATASET = {'type': 'X'}
TRAINING = {
    'train_dataloader': {'dataset': DATASET, 'batch_size': 4, 'num_workers': 3},
    'train_cfg': {'type': 'EpochBasedTrainLoop', 'max_epochs': 5, 'val_interval': 2, 'val_begin': 3},
    'optim_wrapper': {'type': 'OptimWrapper', 'optimizer': {'type': 'SGD', 'lr': 0.1}},
}
VALIDATION = {
    'val_dataloader': {
        'dataset': {**DATASET, 'test_mode': True},
        'sampler': {'type': 'DefaultSampler', 'shuffle': False},
    },
    'val_cfg': {'type': 'ValLoop'},
    'val_evaluator': {'type': 'CocoMetric', 'metric': 'bbox', 'outfile_prefix': 'out', 'collect_device': 'gpu'},
}
BASE = {**TRAINING, **VALIDATION}


def refused(cfg, match, kind=UserError):
    with pytest.raises(kind, match=match):
        read_recipe(cfg)


def test_the_parts_of_a_run():
    recipe = read_recipe(BASE)
    assert recipe.dialect == 3
    assert recipe.train.batch_size == 4 and recipe.train.num_workers == 3 and recipe.train.sampler is None
    assert recipe.val.dataset == DATASET and recipe.val.shuffle is None and recipe.val.batch_size == 1
    assert recipe.training.workflow == (Phase('train', 1, DATASET),)
    assert recipe.training.loop == {'type': 'EpochBasedRunner', 'max_epochs': 5}
    assert recipe.training.optimizer.config == {'type': 'SGD', 'lr': 0.1}
    assert recipe.training.lr is recipe.training.step.fp16 is recipe.training.resume_from is None
    assert recipe.evaluation.schedule == {'interval': 2, 'by_epoch': True, 'begin': 3, 'at_end': True}
    metric = {'type': 'CocoMetric', 'metric': 'bbox', 'jsonfile_prefix': 'out', 'prefix': 'coco'}
    metric['classwise_name'] = '{name}_precision'
    assert recipe.evaluation.metrics == (metric,) and not recipe.test_metrics


def test_a_whole_config(tmp_path):
    recipe = read_recipe(tiny_config_v3(tmp_path))
    saved = {'interval': 1, 'by_epoch': True, 'max_keep_ckpts': 1, 'last_checkpoint': True}
    assert recipe.training.checkpoint == saved
    assert recipe.evaluation.schedule['save_best'] == 'auto'
    assert [logger['type'] for logger in recipe.training.loggers] == ['LoggerHook']
    assert recipe.training.hooks == () and not recipe.unread


@pytest.mark.parametrize('split', ['train', 'val', 'test'])
def test_what_belongs_together_is_there_or_not(split):
    other = 'train_cfg' if split == 'train' else f'{split}_evaluator'
    refused({f'{split}_dataloader': DATASET}, f'{split}_dataloader, but no .*{other}', ConfigError)


def test_keys_of_both_dialects_are_named_with_their_lines(tmp_path):
    (tmp_path / 'mixed.py').write_text("train_dataloader = dict(\n)\nrunner = dict(type='EpochBasedRunner')\n")
    cfg = Config.fromfile(tmp_path / 'mixed.py')
    refused(cfg, r"'runner' \(at .*mixed.py:3\) .* 2.x and 'train_dataloader' \(at .*mixed.py:1\) one of 3.x")


@pytest.mark.parametrize(
    'keys',
    [
        {'optimizer': {'type': 'SGD', 'lr': 0.2}},
        {
            'checkpoint_config': {'interval': 1},
            'default_hooks': {'checkpoint': {'type': 'CheckpointHook', 'interval': 1}},
        },
        {'total_epochs': 5},
        {'data': {'samples_per_gpu': 2}},
        {'workflow': [('train', 1)]},
    ],
)
def test_each_key_of_2x_in_a_config_of_3x_is_refused(keys):
    refused({**BASE, **keys}, f"'{next(iter(keys))}' is a key of mmdetection 2.x and 'train_dataloader' one of 3.x")


def test_a_building_block_may_have_the_name_of_a_key_of_the_other_dialect():
    cfg = {**BASE, 'optimizer': {'type': 'SGD', 'lr': 0.1}, 'data': None}
    assert read_recipe(cfg).dialect == 3


@pytest.mark.parametrize(
    ('step', 'what'),
    [({'type': 'PackDetInputs'}, "type='PackDetInputs'"), ({'type': 'Resize', 'scale': 3}, "'scale' of Resize")],
)
def test_transforms_of_3x_in_a_config_of_2x(step, what):
    cfg = {'data': {'train': {'type': 'X', 'pipeline': [step]}}}
    refused(cfg, f"{what} is the spelling of mmdetection 3.x, and 'data' a key of 2.x", ConfigError)


def test_transforms_of_2x_in_a_config_of_3x():
    step = {'type': 'RandomFlip', 'flip_ratio': 0.5}
    cfg = {**BASE, 'train_dataloader': {'dataset': {'type': 'X', 'pipeline': [step]}}}
    refused(cfg, "'flip_ratio' of RandomFlip is the spelling of mmdetection 2.x", ConfigError)


@pytest.mark.parametrize('key', ['img_prefix', 'classes', 'filter_empty_gt', 'min_size'])
def test_datasets_of_2x_in_a_config_of_3x(key):
    dataset = {'type': 'CocoDataset', 'ann_file': 'a.json', key: 1, 'data_prefix': {'img': 'a/'}}
    cfg = {**BASE, 'train_dataloader': {'dataset': {'type': 'RepeatDataset', 'times': 2, 'dataset': dataset}}}
    refused(cfg, f'{key!r} of CocoDataset is the spelling of mmdetection 2.x', ConfigError)


def test_iterations():
    loop = {'type': 'IterBasedTrainLoop', 'max_iters': 90, 'val_interval': 30.0, 'dynamic_intervals': [(60, 5)]}
    recipe = read_recipe({**BASE, 'train_cfg': loop})
    assert recipe.training.loop == {'type': 'IterBasedRunner', 'max_iters': 90}
    schedule = recipe.evaluation.schedule
    assert schedule['interval'] == 30 and not schedule['by_epoch'] and schedule['dynamic_intervals'] == [(59, 5)]
    logger = {'type': 'LoggerHook', 'by_epoch': False, 'processor': {}, 'backends': []}
    assert recipe.training.loggers[0] == logger


def test_the_usual_samplers_are_the_usual_order_and_others_stay():
    def loader(**parts):
        return read_recipe({**BASE, 'train_dataloader': {'dataset': DATASET, **parts}}).train

    shuffled = {'type': 'DefaultSampler', 'shuffle': True}
    grouped = loader(sampler=shuffled, batch_sampler={'type': 'AspectRatioBatchSampler', 'drop_last': True})
    assert grouped.sampler is grouped.batch_sampler is grouped.shuffle is None and grouped.drop_last
    assert loader(sampler=shuffled).sampler == shuffled
    assert loader(sampler={'type': 'ClassAwareSampler'}).sampler == {'type': 'ClassAwareSampler'}


def test_mixed_precision_and_the_step():
    wrapper = {
        'type': 'AmpOptimWrapper',
        'optimizer': {'type': 'AdamW', 'lr': 1.0},
        'clip_grad': {'max_norm': 35, 'norm_type': 2},
        'accumulative_counts': 4,
        'loss_scale': 512.0,
        'dtype': 'bfloat16',
        'constructor': 'LearningRateDecayOptimizerConstructor',
        'paramwise_cfg': {'decay_rate': 0.7},
    }
    training = read_recipe({**BASE, 'optim_wrapper': wrapper}).training
    assert training.step.fp16 == LossScale(512.0, dynamic=False) and training.step.amp_dtype == 'bfloat16'
    assert training.step.grad_clip == {'max_norm': 35, 'norm_type': 2} and training.step.cumulative_iters == 4
    assert training.optimizer.constructor == 'LearningRateDecayOptimizerConstructor'
    assert training.optimizer.paramwise == {'decay_rate': 0.7}


def test_hooks_that_are_taken_out_and_hooks_that_are_added():
    out = dict.fromkeys(('checkpoint', 'logger', 'param_scheduler', 'timer', 'visualization'))
    hooks = {**out, 'mine': {'type': 'MineHook', 'priority': 3}}
    schedule = {'type': 'ConstantLR', 'end': 3}
    training = read_recipe({**BASE, 'default_hooks': hooks, 'param_scheduler': schedule}).training
    assert training.checkpoint is training.lr is None and training.loggers == ()
    assert training.hooks == (HookRecipe({'type': 'MineHook'}, 3),)
    assert read_recipe({**BASE, 'param_scheduler': schedule}).training.lr is not None
    assert not training.timer and read_recipe(BASE).training.timer


def test_hooks_that_are_part_of_the_runner(caplog):
    custom = [{'type': 'RuntimeInfoHook'}, {'type': 'DetVisualizationHook'}]
    cfg = {**BASE, 'custom_hooks': custom, 'default_hooks': {'sampler_seed': None}}
    assert read_recipe(cfg).training.hooks == ()
    assert 'default_hooks.sampler_seed=None has no effect' in caplog.text
    refused({**BASE, 'default_hooks': {'timer': {'type': 'IterTimerHook', 'interval': 3}}}, "has no 'interval'")


def test_where_a_training_begins():
    def start(**keys):
        training = read_recipe({**BASE, **keys}).training
        return training.load_from, training.resume_from, training.auto_resume

    assert start(load_from='a.pth') == ('a.pth', None, False)
    assert start(load_from='a.pth', resume=True) == (None, 'a.pth', False)
    assert start(resume=True) == (None, None, True)


def test_settings_of_the_command_line():
    cfg = Config({**BASE, 'auto_scale_lr': {'base_batch_size': 16}, 'load_from': 'x.pth'})
    override(cfg, Overrides(work_dir='w', seed=3, deterministic=True, auto_scale_lr=True, auto_resume=True, amp=True))
    recipe = read_recipe(cfg)
    assert recipe.environment.work_dir == 'w' and recipe.environment.seed == 3 and recipe.environment.deterministic
    assert recipe.training.optimizer.base_batch_size == 16 and recipe.training.auto_resume
    assert recipe.training.step.fp16 == LossScale()
    override(cfg, Overrides(resume_from='b.pth'))
    assert read_recipe(cfg).training.resume_from == 'b.pth'
    override(cfg, Overrides(load_from='c.pth'))
    assert read_recipe(cfg).training.load_from == 'c.pth'
    with pytest.raises(ConfigError, match='--auto-scale-lr'):
        override(Config(BASE), Overrides(auto_scale_lr=True))


def test_test_time_augmentation():
    nms = {'type': 'nms', 'iou_threshold': 0.6}
    tta = {'type': 'DetTTAModel', 'tta_cfg': {'nms': nms, 'max_per_img': 100}}
    recipe = read_recipe({'tta_model': tta, 'tta_pipeline': [{'type': 'RandomFlip', 'prob': 1.0}]})
    assert recipe.tta.nms == nms and recipe.tta.max_per_img == 100
    assert recipe.tta.pipeline == [{'type': 'RandomFlip', 'flip_ratio': 1.0}]


def test_views_without_a_model_that_merges_them_are_merged_by_default():
    tta = read_recipe({'tta_pipeline': [{'type': 'RandomFlip', 'prob': 1.0}]}).tta
    assert tta.pipeline == [{'type': 'RandomFlip', 'flip_ratio': 1.0}]
    assert tta.nms == {'type': 'nms', 'iou_threshold': 0.5} and tta.max_per_img == 100


def test_an_unknown_argument_of_a_hook_that_draws_nothing_is_not_lost():
    hook = {'type': 'DetVisualizationHook', 'drw': True}
    assert read_recipe({**BASE, 'default_hooks': {'visualization': hook}}).training.hooks == (HookRecipe(hook, None),)


def test_the_best_checkpoint_is_named_as_in_the_config():
    hook = {'checkpoint': {'type': 'CheckpointHook', 'save_best': 'auto'}}
    schedule = read_recipe({**BASE, 'default_hooks': hook}).evaluation.schedule
    assert schedule._path_of('save_best') == 'default_hooks.checkpoint.save_best'


def test_the_environment():
    env = {'cudnn_benchmark': True, 'mp_cfg': {'opencv_num_threads': 2}, 'dist_cfg': {'backend': 'gloo'}}
    environment = read_recipe({'env_cfg': env, 'randomness': {'seed': 7, 'diff_rank_seed': True}}).environment
    assert environment.cudnn_benchmark and environment.opencv_num_threads == 2 and environment.backend == 'gloo'
    assert environment.seed == 7 and environment.diff_rank_seed


@pytest.mark.parametrize(
    ('keys', 'match'),
    [
        ({'train_cfg': {'max_epoch': 3}}, "train_cfg has no 'max_epoch'; the nearest is 'max_epochs'"),
        ({'train_cfg': {'type': 'MyLoop'}}, "train_cfg.type is 'MyLoop', expected EpochBasedTrainLoop"),
        ({'train_dataloader': {'batchsize': 3}}, "train_dataloader has no 'batchsize'; the nearest is 'batch_size'"),
        ({'train_dataloader': {'batch_size': 0}}, 'train_dataloader.batch_size is 0'),
        ({'train_dataloader': {'collate_fn': {'type': 'mine'}}}, "collate_fn is 'mine'"),
        ({'val_cfg': {'type': 'MultiValLoop'}}, "val_cfg.type is 'MultiValLoop'"),
        ({'val_evaluator': {'type': 'MultiDatasetsEvaluator', 'metrics': []}}, 'MultiDatasetsEvaluator'),
        ({'val_evaluator': 'bbox'}, "val_evaluator is 'bbox'"),
        ({'optim_wrapper': {'type': 'ApexOptimWrapper'}}, 'ApexOptimWrapper'),
        ({'optim_wrapper': {'optimizer': {'type': 'A'}, 'dtype': 'float16'}}, "optim_wrapper has no 'dtype'"),
        ({'optim_wrapper': {'optimizer': {'type': 'A'}, 'clip_grad': 3}}, 'clip_grad is 3'),
        ({'optim_wrapper': {'optimizer': {'lr': 1}}}, 'optim_wrapper.optimizer has no type'),
        ({'env_cfg': {'cudnn_bench': True}}, "env_cfg has no 'cudnn_bench'"),
        ({'launcher': 'ssh'}, "launcher is 'ssh', expected one of none, pytorch"),
        ({'runner_type': 'MyRunner'}, "runner_type is 'MyRunner'"),
        ({'log_level': 'LOUD'}, "log_level is 'LOUD'"),
        ({'randomness': {'seed': -1}}, 'randomness.seed is -1'),
        ({'model_wrapper_cfg': {'type': 'MMFullyShardedDataParallel'}}, 'MMFullyShardedDataParallel'),
        ({'param_scheduler': [{'type': 'ConstantParamScheduler', 'param_name': 'weight_decay'}]}, "'weight_decay'"),
        ({'tta_model': {'type': 'DetTTAModel'}}, 'tta_model, but no tta_pipeline'),
        ({'train_cfg': {'max_epochs': 3, 'dynamic_intervals': [2, 1]}}, 'expected a list of pairs'),
        (
            {'model': {'type': 'mmdet.SOLO', 'data_preprocessor': {'x': 1}}},
            "'SOLO' is a part of mmdetection",
        ),
        ({'resume': 'a.pth'}, "resume is 'a.pth', expected True or False"),
        ({'visualizer': {'type': 'DetLocalVisualiser'}}, "visualizer.type is 'DetLocalVisualiser'"),
        ({'visualizer': {'type': 'DetLocalVisualizer', 'line_width': 3}}, "visualizer has no 'line_width'"),
    ],
)
def test_mistakes(keys, match):
    refused({**BASE, **keys}, match)


def test_the_rest_of_the_surroundings():
    recipe = read_recipe({**BASE, 'experiment_name': 'mine', 'launcher': 'slurm', 'runner_type': 'Runner'})
    assert recipe.experiment == 'mine' and recipe.environment.launcher == 'slurm'
    test = {'test_dataloader': {'dataset': DATASET}, 'test_cfg': {'type': 'TestLoop', 'fp16': True}}
    assert read_recipe({**test, 'test_evaluator': {'type': 'CocoMetric'}}).test_fp16


def test_the_project_of_a_type_may_be_named():
    scope = {'_scope_': 'mmpretrain'}
    loader = {'dataset': DATASET, 'sampler': {'type': 'DefaultSampler', 'shuffle': False, **scope}}
    hooks = {'timer': {'type': 'IterTimerHook', **scope}}
    recipe = read_recipe({**BASE, 'val_dataloader': loader, 'default_hooks': hooks})
    assert recipe.val.sampler is None and recipe.training.hooks == ()


def test_a_misspelt_key_is_reported():
    assert "'param_scheduler'" in read_recipe({**BASE, 'param_schedulers': []}).unread[0]


def test_precision_of_a_test():
    assert not read_recipe(BASE).test_fp16
    loop = {'test_cfg': {'type': 'TestLoop', 'fp16': True}, 'test_evaluator': {'type': 'CocoMetric'}}
    assert read_recipe({**BASE, 'test_dataloader': BASE['val_dataloader'], **loop}).test_fp16
    refused({**BASE, 'test_dataloader': BASE['val_dataloader'], **loop, 'test_cfg': {'type': 'X'}}, 'test_cfg.type')


def test_a_default_hook_under_another_name():
    hooks = {'chekpoint': {'type': 'CheckpointHook', 'interval': 2}}
    refused({**BASE, 'default_hooks': hooks}, "default_hooks.chekpoint is a CheckpointHook, whose name is 'checkpoint'")
