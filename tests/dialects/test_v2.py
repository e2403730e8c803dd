from __future__ import annotations

import pytest

from mmkit.config import Config
from mmkit.dialects import Overrides, override, read_recipe
from mmkit.dialects.recipe import HookRecipe, LoaderRecipe, LossScale, Phase
from mmkit.errors import ConfigError, UserError

BASE = {
    'optimizer': {'type': 'SGD', 'lr': 0.1},
    'data': {'train': {'type': 'X'}, 'val': {'type': 'X'}},
    'runner': {'type': 'EpochBasedRunner', 'max_epochs': 3},
}


def training(cfg):
    return read_recipe(cfg).training


def test_defaults():
    recipe = read_recipe(BASE)
    assert recipe.training.workflow == (Phase('train', 1, {'type': 'X'}),)
    assert recipe.training.loggers == ({'type': 'TextLoggerHook', 'interval': 10, 'by_epoch': True},)
    assert recipe.training.checkpoint is recipe.evaluation is recipe.training.lr is None
    assert recipe.training.step.grad_clip is recipe.training.step.fp16 is None
    assert not recipe.training.auto_resume
    assert recipe.train == recipe.val.__class__({'type': 'X'}, batch_size=2, num_workers=2)
    assert recipe.environment.work_dir == 'work_dirs'
    assert recipe.model is None and recipe.name == recipe.text == ''


def test_iterations_are_the_unit_of_all_hooks_of_an_iteration_based_runner():
    recipe = read_recipe(
        {
            **BASE,
            'runner': {'type': 'IterBasedRunner', 'max_iters': 9},
            'checkpoint_config': {'interval': 3},
            'evaluation': {'interval': 3, 'by_epoch': True},
            'log_config': {'interval': 5, 'hooks': [{'type': 'A'}, {'type': 'B', 'interval': 7}]},
        }
    )
    assert recipe.training.checkpoint == {'interval': 3, 'by_epoch': False}
    assert recipe.evaluation.schedule == {'interval': 3, 'by_epoch': True}
    loggers = ({'type': 'A', 'interval': 5, 'by_epoch': False}, {'type': 'B', 'interval': 7, 'by_epoch': False})
    assert recipe.training.loggers == loggers


def test_evaluation_is_a_schedule_and_the_arguments_of_the_dataset(caplog):
    when = {'interval': 1, 'save_best': 'auto', 'out_dir': 'best', 'greater_keys': ['AR']}
    what = {'metric': 'bbox', 'classwise': True}
    evaluation = read_recipe({'evaluation': {**when, **what, 'gpu_collect': True, 'tmpdir': None}}).evaluation
    assert evaluation.schedule == {**when, 'by_epoch': True}
    assert evaluation.arguments == what
    assert 'evaluation.gpu_collect has no effect' in caplog.text and 'tmpdir' not in caplog.text


def test_hooks_may_have_a_priority():
    hooks = [{'type': 'A', 'x': 1, 'priority': 'LOW'}, {'type': 'B'}]
    assert training({**BASE, 'custom_hooks': hooks}).hooks == (
        HookRecipe({'type': 'A', 'x': 1}, 'LOW'),
        HookRecipe({'type': 'B'}),
    )
    assert hooks[0]['priority'] == 'LOW'


def test_a_phase_of_validation_losses_prepares_its_data_as_for_training():
    steps = [{'type': 'A'}]
    train = {'type': 'RepeatDataset', 'times': 2, 'dataset': {'type': 'X', 'pipeline': steps}}
    val = {'type': 'Y', 'pipeline': [{'type': 'B'}]}
    cfg = {**BASE, 'data': {'train': train, 'val': val}, 'workflow': [['train', 2], ('val', 1)]}
    phases = training(cfg).workflow
    assert phases == (Phase('train', 2, train), Phase('val', 1, {'type': 'Y', 'pipeline': steps}))
    assert val['pipeline'] == [{'type': 'B'}]


def test_older_spellings():
    old = {'optimizer': BASE['optimizer'], 'data': {**BASE['data'], 'imgs_per_gpu': 5}, 'total_epochs': 7}
    with pytest.warns(FutureWarning):
        recipe = read_recipe(old)
    assert recipe.training.loop == {'type': 'EpochBasedRunner', 'max_epochs': 7}
    assert recipe.train.batch_size == 5
    assert 'imgs_per_gpu' in old['data']


@pytest.mark.parametrize(
    ('cfg', 'expected'),
    [
        ({}, (None, 1, None)),
        ({'optimizer_config': {'grad_clip': {'max_norm': 35}}}, ({'max_norm': 35}, 1, None)),
        ({'fp16': {'loss_scale': 512.0}}, (None, 1, LossScale(512.0, dynamic=False))),
        ({'fp16': {'loss_scale': 'dynamic'}}, (None, 1, LossScale())),
        ({'fp16': {'loss_scale': {'init_scale': 8, 'growth_interval': 5}}}, (None, 1, LossScale(8, growth_interval=5))),
        ({'fp16': {}}, (None, 1, LossScale(512.0, dynamic=False))),
        (
            {'optimizer_config': {'type': 'GradientCumulativeOptimizerHook', 'cumulative_iters': 4}},
            (None, 4, None),
        ),
        (
            {
                'optimizer_config': {
                    'type': 'GradientCumulativeFp16OptimizerHook',
                    'cumulative_iters': 2,
                    'loss_scale': 4.0,
                }
            },
            (None, 2, LossScale(4.0, dynamic=False)),
        ),
        ({'optimizer_config': {'type': 'Fp16OptimizerHook', 'distributed': True}}, (None, 1, LossScale(512.0, False))),
    ],
)
def test_step(cfg, expected):
    step = training({**BASE, **cfg}).step
    assert (step.grad_clip, step.cumulative_iters, step.fp16) == expected


def test_loaders_of_training_and_validation():
    data = {
        'samples_per_gpu': 8,
        'workers_per_gpu': 4,
        'persistent_workers': True,
        'train': {'type': 'X'},
        'val': {'type': 'X', 'samples_per_gpu': 3},
        'test': {'type': 'X'},
        'train_dataloader': {'prefetch_factor': 4},
        'test_dataloader': {'samples_per_gpu': 6, 'workers_per_gpu': 0},
    }
    recipe = read_recipe({'data': data})
    common = {'dataset': {'type': 'X'}, 'num_workers': 4, 'persistent_workers': True}
    assert recipe.train == LoaderRecipe(batch_size=8, prefetch_factor=4, **common)
    assert recipe.val == LoaderRecipe(batch_size=3, **common)
    assert recipe.test == LoaderRecipe(**{**common, 'num_workers': 0}, batch_size=6)
    assert data['val'] == {'type': 'X', 'samples_per_gpu': 3}


@pytest.mark.parametrize(
    ('changes', 'error', 'message'),
    [
        ({'optimizer': {'lr': 1}}, ValueError, "optimizer has no 'type'"),
        ({'optimizer': {'head': {'type': 'SGD'}}}, ValueError, "parts \\['head'\\]"),
        ({'runner': None}, ValueError, "no 'runner'"),
        ({'runner': 3}, TypeError, 'runner is a int'),
        ({'optimizer_config': {'type': 'OptimHook'}}, ValueError, 'OptimizerHook'),
        ({'optimizer_config': {'cumulative_iters': 2}}, TypeError, 'cumulative_iters'),
        ({'optimizer_config': {'bucket_size_mb': 5}}, ValueError, 'bucket_size_mb'),
        ({'fp16': {'loss_scale': -1}}, ValueError, 'loss_scale'),
        ({'fp16': {'loss_scale': {'scale': 1}}}, TypeError, 'init_scale'),
        ({'fp16': {'opt_level': 'O1'}}, TypeError, 'opt_level'),
        ({'log_config': {'intervals': 3}}, TypeError, 'intervals'),
        ({'custom_hooks': {'type': 'X'}}, TypeError, 'list of dicts'),
        ({'workflow': [('test', 1)]}, ValueError, 'test'),
        ({'workflow': [('val', 1)]}, ValueError, 'no train'),
        ({'auto_scale_lr': {'enable': True}}, ValueError, 'base_batch_size'),
        ({'data': {'samples_per_gpu': 0}}, ValueError, 'samples_per_gpu is 0'),
        ({'data': {'train_dataloader': {'batch_size': 2}}}, TypeError, 'batch_size'),
    ],
)
def test_wrong_values_are_explained(changes, error, message):
    with pytest.raises(error, match=message) as caught:
        read_recipe({**BASE, **changes})
    assert isinstance(caught.value, UserError)


def test_the_step_of_a_training_is_not_read_for_a_test():
    recipe = read_recipe({**BASE, 'optimizer_config': {'type': 'DistOptimizerHook'}}, training=False)
    assert recipe.training is None and recipe.text == ''


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (
            'optimizer:\n  type: SGD\n  lr: 1e-4\n',
            "optimizer.lr is the text '1e-4', .* write 0.0001 .optimizer.lr at {}:3.",
        ),
        (
            'optimizer:\n  type: SGD\n  paramwise_cfg: {bias_lr_mult: 2e0}\n',
            '.optimizer.paramwise_cfg.bias_lr_mult at {}:3.',
        ),
        (
            'optimizer: {type: SGD}\nlr_config:\n  policy: step\n  warmup_iters: 5e2\n',
            '.lr_config.warmup_iters at {}:4.',
        ),
        ('optimizer: {type: SGD}\noptimizer_config:\n  grad_clip: {max_norm: 1e1}\n', '.grad_clip.max_norm at {}:3.'),
        ('optimizer: {type: SGD}\ndata: {samples_per_gpu: 1e1}\n', '.data.samples_per_gpu at {}:2.'),
    ],
)
def test_texts_for_numbers_are_named_by_their_own_lines(tmp_path, text, message):
    path = tmp_path / 'a.yaml'
    path.write_text(text)
    cfg = Config.fromfile(path)
    for key in ('data', 'runner'):
        cfg.setdefault(key, BASE[key])
    with pytest.raises(UserError, match=message.format(r'\S*a\.yaml')):
        read_recipe(cfg)


def test_places_of_fields(tmp_path):
    path = tmp_path / 'a.py'
    path.write_text("load_from = 'x.pth'\ndata = dict(\n    val=dict(type='X'))\n")
    cfg = Config.fromfile(path)
    cfg.merge_from_dict({'resume_from': 'y.pth'}, source='--cfg-options')
    recipe = read_recipe(cfg)
    assert recipe.name == 'a.py'
    places = {name: (recipe.source(name).key, str(recipe.source(name).origin)) for name in recipe.sources}
    assert places['load_from'] == ('load_from', f'{cfg.filename}:1')
    assert places['val'] == ('data.val', f'{cfg.filename}:3')
    assert places['test'] == ('data.test', f'{cfg.filename}:2')
    assert places['resume_from'] == ('resume_from', '--cfg-options')


def test_the_recipe_has_the_config_as_text():
    cfg = Config({**BASE, 'seed': 3})
    assert Config.fromstring(read_recipe(cfg).text) == cfg


def test_command_line():
    cfg = Config(BASE)
    override(cfg, Overrides(work_dir='w', seed=0, deterministic=True))
    assert {key: cfg[key] for key in cfg if key not in BASE} == {'work_dir': 'w', 'seed': 0, 'deterministic': True}
    assert str(cfg.origin('seed')) == '--seed'
    with pytest.raises(ConfigError, match='base_batch_size=16'):
        override(cfg, Overrides(auto_scale_lr=True))


def test_mixed_precision_from_the_command_line():
    for half, scale in ((None, LossScale()), ({'loss_scale': 32.0}, LossScale(32.0, dynamic=False))):
        cfg = Config({**BASE, 'fp16': half})
        override(cfg, Overrides(amp=True))
        assert training(cfg).step.fp16 == scale


def test_auto_scale_needs_to_be_enabled():
    def scaling(enable):
        scale = {'enable': enable, 'base_batch_size': 16}
        optimizer = training({**BASE, 'auto_scale_lr': scale}).optimizer
        return optimizer.base_batch_size, optimizer.scale_lr

    assert scaling(False) == (16, False) and scaling(True) == (16, True)


def test_keys_that_nothing_reads(tmp_path):
    path = tmp_path / 'a.py'
    path.write_text(
        "norm_cfg = dict(type='BN')\n"
        "root = 'data/x/'\n"
        'max_epochs = 12\n'
        'model = dict(backbone=dict(norm_cfg=norm_cfg, out=(1, 2)))\n'
        "data = dict(train=dict(ann_file=root + 'a.json'))\n"
        'runner = dict(max_epochs=max_epochs)\n'
        'evalution = dict(interval=12)\n'
        "forgotten = dict(type='SyncBN')\n"
        'out = [1, 2]\n'
    )
    first, second = read_recipe(Config.fromfile(path)).unread
    assert "'evalution'" in first and 'a.py:7' in first and "'evaluation'" in first
    assert "'forgotten'" in second and 'a.py:8' in second


def test_gpu_ids_choose_the_device(caplog):
    def device(**keys):
        return read_recipe({**BASE, **keys}).environment.device

    assert device() is None
    assert device(gpu_ids=range(2, 3)) == 'cuda:2'
    assert device(gpu_ids=[0], device='cpu') == 'cpu'
    assert device(gpu_ids=[1, 2]) == 'cuda:1'
    assert 'as many processes' in caplog.text


def test_keys_of_data_that_nothing_reads():
    data = {'samples_per_gpu': 2, 'sample_per_gpu': 4, 'train': {}, 'unlabeled': {}, 'val_dataloader': {}}
    assert read_recipe({'data': data}).unread == (
        "nothing reads data.sample_per_gpu, did you mean 'samples_per_gpu'?",
        'nothing reads data.unlabeled',
    )
