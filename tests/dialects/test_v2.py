from __future__ import annotations

import pytest

from mmkit.config import Config
from mmkit.engine.settings import (
    LossScale,
    read_dataset,
    read_loader,
    read_settings,
    read_step,
    unread_keys,
    warn_unread,
)

BASE = {
    'optimizer': {'type': 'SGD', 'lr': 0.1},
    'data': {'train': {'type': 'X'}, 'val': {'type': 'X'}},
    'runner': {'type': 'EpochBasedRunner', 'max_epochs': 3},
}


def test_defaults():
    settings = read_settings(BASE)
    assert settings.workflow == [('train', 1)]
    assert settings.loggers == [{'type': 'TextLoggerHook', 'interval': 10, 'by_epoch': True}]
    assert settings.checkpoint is settings.evaluation is settings.lr is None
    assert settings.step.grad_clip is settings.step.fp16 is None
    assert settings.by_epoch and not settings.auto_resume


def test_iterations_are_the_unit_of_all_hooks_of_an_iteration_based_runner():
    settings = read_settings(
        {
            **BASE,
            'runner': {'type': 'IterBasedRunner', 'max_iters': 9},
            'checkpoint_config': {'interval': 3},
            'evaluation': {'interval': 3, 'by_epoch': True},
            'log_config': {'interval': 5, 'hooks': [{'type': 'A'}, {'type': 'B', 'interval': 7}]},
        }
    )
    assert not settings.by_epoch
    assert settings.checkpoint == {'interval': 3, 'by_epoch': False}
    assert settings.evaluation == {'interval': 3, 'by_epoch': True}
    loggers = [{'type': 'A', 'interval': 5, 'by_epoch': False}, {'type': 'B', 'interval': 7, 'by_epoch': False}]
    assert settings.loggers == loggers


def test_older_spellings():
    old = {'optimizer': BASE['optimizer'], 'data': {**BASE['data'], 'imgs_per_gpu': 5}, 'total_epochs': 7}
    with pytest.warns(FutureWarning):
        settings = read_settings(old)
    assert settings.runner == {'type': 'EpochBasedRunner', 'max_epochs': 7}
    assert settings.train_loader.samples_per_gpu == 5
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
    step = read_step(cfg)
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
    train, val, test = (read_loader({'data': data}, split).arguments() for split in ('train', 'val', 'test'))
    common = {'workers_per_gpu': 4, 'persistent_workers': True}
    assert train == {'samples_per_gpu': 8, 'prefetch_factor': 4, **common}
    assert val == {'samples_per_gpu': 3, **common}
    assert test == {'samples_per_gpu': 6, 'workers_per_gpu': 0, 'persistent_workers': False}
    assert read_dataset({'data': data}, 'val') == {'type': 'X'}
    assert data['val'] == {'type': 'X', 'samples_per_gpu': 3}


@pytest.mark.parametrize(
    ('changes', 'error', 'message'),
    [
        ({'optimizer': None}, KeyError, "no 'optimizer'"),
        ({'optimizer': {'lr': 1}}, KeyError, "optimizer has no 'type'"),
        ({'optimizer': {'head': {'type': 'SGD'}}}, ValueError, "parts \\['head'\\]"),
        ({'runner': None}, KeyError, "no 'runner'"),
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
    with pytest.raises(error, match=message):
        read_settings({**BASE, **changes})


def test_auto_scale_needs_to_be_enabled():
    assert read_settings({**BASE, 'auto_scale_lr': {'enable': False, 'base_batch_size': 16}}).auto_scale_base is None
    assert read_settings({**BASE, 'auto_scale_lr': {'enable': True, 'base_batch_size': 16}}).auto_scale_base == 16


def test_keys_that_nothing_reads(tmp_path, caplog):
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
    cfg = Config.fromfile(path)
    assert unread_keys(cfg) == ['evalution', 'forgotten']
    warn_unread(cfg)
    first, second = (record.getMessage() for record in caplog.records)
    assert "'evalution'" in first and 'a.py:7' in first and "'evaluation'" in first
    assert "'forgotten'" in second and 'a.py:8' in second


def test_gpu_ids_choose_the_device(caplog):
    assert read_settings(BASE).device is None
    assert read_settings({**BASE, 'gpu_ids': range(2, 3)}).device == 'cuda:2'
    assert read_settings({**BASE, 'gpu_ids': [0], 'device': 'cpu'}).device == 'cpu'
    assert read_settings({**BASE, 'gpu_ids': [1, 2]}).device == 'cuda:1'
    assert 'as many processes' in caplog.text


def test_keys_of_data_that_nothing_reads(caplog):
    data = {'samples_per_gpu': 2, 'sample_per_gpu': 4, 'train': {}, 'unlabeled': {}, 'val_dataloader': {}}
    warn_unread({'data': data})
    assert [record.message for record in caplog.records] == [
        "nothing reads data.sample_per_gpu, did you mean 'samples_per_gpu'?",
        'nothing reads data.unlabeled',
    ]
