"""What is written in a dialect says the same when it is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmkit.config import Config, ConfigDict
from mmkit.dialects import read_recipe
from mmkit.dialects.lr_config import read_lr_config
from mmkit.dialects.param_scheduler import read_param_scheduler
from mmkit.dialects.recipe import LoaderRecipe
from mmkit.dialects.writing import Notes, canonical, write_v2, write_v3
from mmkit.dialects.writing.metrics import own_metric
from mmkit.dialects.writing.pipelines import UnpackableError
from mmkit.dialects.writing.policies import to_policy
from mmkit.dialects.writing.schedulers import to_param_scheduler
from mmkit.dialects.writing.schedules import Length
from mmkit.errors import ConfigError
from mmkit.schedules import Clock, values_along
from tests.tiny import tiny_config_v3

CONFIGS = Path(__file__).parents[2] / 'configs'
FAMILIES = sorted(
    folder.name
    for folder in CONFIGS.iterdir()
    if folder.name not in ('_base_', 'common', 'soft_teacher') and any(folder.glob('*.py'))
)
EPOCHS = Length(12, by_epoch=True)
CLOCK = Clock(0, 0, 12, 12 * 20, 20)


def rewritten(recipe):
    """The recipe as read from a text in the other dialect, and the remarks about it."""
    notes = Notes()
    written = write_v3(recipe, notes) if recipe.dialect == 2 else write_v2(recipe, notes)
    return read_recipe(Config.fromstring(Config(written).pretty_text)), notes


@pytest.mark.parametrize('family', FAMILIES)
def test_a_config_of_each_family_says_the_same_in_the_other_dialect(family):
    path = min((CONFIGS / family).glob('*.py'))
    recipe = read_recipe(Config.fromfile(path))
    other, notes = rewritten(recipe)
    assert {recipe.dialect, other.dialect} == {2, 3}
    if not notes:
        assert canonical(other) == canonical(recipe)


def test_branches_of_a_pipeline_are_not_of_2x():
    recipe = read_recipe(Config.fromfile(min((CONFIGS / 'soft_teacher').glob('*.py'))))
    with pytest.raises(UnpackableError, match='several branches'):
        write_v2(recipe, Notes())


def test_a_config_of_3x_in_2x_and_back(tmp_path):
    cfg = tiny_config_v3(tmp_path)
    cfg.merge_from_dict(
        {
            'optim_wrapper.accumulative_counts': 3,
            'optim_wrapper.paramwise_cfg': dict(norm_decay_mult=0.0),
            'default_hooks.checkpoint.save_best': 'coco/bbox_mAP_50',
            'train_cfg.val_interval': 2,
            'custom_hooks': [dict(type='NumClassCheckHook', priority=3)],
            'auto_scale_lr': dict(enable=True, base_batch_size=32),
            'randomness': dict(seed=5, deterministic=True),
            'env_cfg.mp_cfg': dict(mp_start_method='spawn'),
            'load_from': 'x.pth',
            'resume': True,
            'val_dataloader.num_workers': 3,
            'test_dataloader.batch_size': 2,
            'model_wrapper_cfg': dict(type='MMDistributedDataParallel', find_unused_parameters=True),
        }
    )
    recipe = read_recipe(cfg)
    in_2x, notes = rewritten(recipe)
    assert not notes and canonical(in_2x) == canonical(recipe)
    assert [step['type'] for step in in_2x.train.dataset['pipeline'][-3:]] == ['Pad', 'DefaultFormatBundle', 'Collect']
    assert 'data_preprocessor' not in in_2x.model
    in_3x, notes = rewritten(in_2x)
    assert not notes and canonical(in_3x) == canonical(recipe)


def test_mixed_precision(tmp_path):
    cfg = tiny_config_v3(tmp_path)
    amp = {'type': 'AmpOptimWrapper', 'loss_scale': dict(init_scale=256.0)}
    cfg.merge_from_dict({f'optim_wrapper.{key}': value for key, value in amp.items()})
    recipe = read_recipe(cfg)
    in_2x, _ = rewritten(recipe)
    assert in_2x.training.step == recipe.training.step
    assert rewritten(in_2x)[0].training.step == recipe.training.step


def rates(schedule):
    return [row[0] for row in values_along(schedule, [0.1], CLOCK)]


@pytest.mark.parametrize(
    'policy',
    [
        dict(policy='fixed', warmup='constant', warmup_iters=7, warmup_ratio=0.5),
        dict(policy='step', step=[3, 8], warmup='linear', warmup_iters=50, warmup_ratio=0.001),
        dict(policy='step', step=2, gamma=0.5),
        dict(policy='step', step=[30, 100], by_epoch=False),
        dict(policy='exp', gamma=0.9),
        dict(policy='poly', power=0.9, min_lr=0.01),
        dict(policy='LinearAnnealing', min_lr=0.02),
        dict(policy='CosineAnnealing', min_lr=0.0, warmup='linear', warmup_iters=9, warmup_ratio=0.1),
        dict(policy='CosineAnnealing', min_lr_ratio=0.1, by_epoch=False),
        dict(policy='FlatCosineAnnealing', start_percent=0.5, min_lr=0.01),
        dict(policy='FlatCosineAnnealing', start_percent=0.5, min_lr=0.01, by_epoch=False),
        dict(policy='CosineRestart', periods=[6, 6], restart_weights=[1, 0.5], min_lr=0.0),
    ],
)
def test_policies_and_schedulers_that_give_the_same_rates(policy):
    notes = Notes()
    schedule = read_lr_config(policy)
    schedulers = to_param_scheduler(schedule, 'lr', EPOCHS, notes)
    read = read_param_scheduler(schedulers).get('lr')
    assert not notes and rates(read) == pytest.approx(rates(schedule), rel=1e-9)
    again = to_policy(read, 'lr', EPOCHS, notes)
    assert not notes and rates(read_lr_config(again)) == pytest.approx(rates(schedule), rel=1e-9)


def test_the_schedule_of_rtmdet():
    schedulers = [
        dict(type='LinearLR', start_factor=1e-5, by_epoch=False, begin=0, end=30),
        dict(type='CosineAnnealingLR', eta_min=0.005, begin=6, end=12, T_max=6, convert_to_iter_based=True),
    ]
    notes = Notes()
    schedule = read_param_scheduler(schedulers)['lr']
    policy = to_policy(schedule, 'lr', EPOCHS, notes)
    assert policy.policy == 'FlatCosineAnnealing' and not notes
    assert rates(read_lr_config(policy)) == pytest.approx(rates(schedule), rel=1e-9)


def test_yolox_says_it_nearly():
    policy = dict(
        policy='YOLOX',
        warmup='exp',
        warmup_by_epoch=True,
        warmup_iters=2,
        warmup_ratio=1,
        num_last_epochs=3,
        min_lr_ratio=0.05,
        by_epoch=False,
    )
    notes = Notes()
    schedule = read_lr_config(policy)
    read = read_param_scheduler(to_param_scheduler(schedule, 'lr', EPOCHS, notes))['lr']
    assert 'YOLOX' in notes.comments and rates(read) == pytest.approx(rates(schedule), abs=0.004)
    again = to_policy(read, 'lr', EPOCHS, Notes())
    assert rates(read_lr_config(again)) == pytest.approx(rates(read), abs=0.004)


@pytest.mark.parametrize('policy', [dict(policy='inv', gamma=0.1), dict(policy='step', step=[2], min_lr=0.01)])
def test_policies_without_a_scheduler_are_named(policy):
    notes = Notes()
    assert to_param_scheduler(read_lr_config(policy), 'lr', EPOCHS, notes) == [] and len(notes) == 1


def test_what_2x_has_no_words_for(tmp_path):
    cfg = tiny_config_v3(tmp_path)
    cfg.merge_from_dict(
        {
            'train_dataloader.sampler': dict(type='InfiniteSampler'),
            'model.data_preprocessor.batch_augments': [dict(type='BatchFixedSizePad', size=(64, 64))],
            'tta_model': dict(type='DetTTAModel'),
            'tta_pipeline': [],
            'randomness': dict(diff_rank_seed=True),
        }
    )
    _, notes = rewritten(read_recipe(cfg))
    for word in ('sampler', 'batch_augments', 'tta_pipeline', 'diff_rank_seed'):
        assert any(word in note for note in notes)
    assert notes.comments.startswith('# ')


@pytest.mark.parametrize(
    ('dataset', 'metric'),
    [
        (dict(type='CocoDataset'), dict(type='CocoMetric')),
        (dict(type='RepeatDataset', times=2, dataset=[dict(type='CocoDataset')]), dict(type='CocoMetric')),
        (dict(type='ImageNet'), dict(type='ClassificationMetric')),
        (
            dict(type='VOCDataset', img_prefix='VOC2007/'),
            dict(type='VOCMetric', eval_mode='11points', use_legacy_coordinate=True),
        ),
    ],
)
def test_the_metric_that_a_dataset_has_of_its_own(dataset, metric):
    assert own_metric(LoaderRecipe(ConfigDict(dataset)), {'x': 1}) == {**metric, 'x': 1}
    with pytest.raises(ConfigError, match='the metric of Mine has no name'):
        own_metric(LoaderRecipe(ConfigDict(type='Mine')), {})


def view(**options):
    return [ConfigDict(type='MultiScaleFlipAug', transforms=[dict(type='Collect', keys=['img'])], **options)]


@pytest.mark.parametrize(
    'pipeline',
    [
        view(img_scale=[(8, 8), (16, 16)]),
        view(img_scale=(8, 8), flip=True),
        [dict(type='Normalize', mean=[0], std=[1]), dict(type='Resize'), dict(type='Collect', keys=['img'])],
    ],
)
def test_pipelines_that_no_data_preprocessor_can_stand_in_for(pipeline):
    cfg = {'data': {'test': {'type': 'X', 'pipeline': pipeline}}}
    with pytest.raises(UnpackableError):
        write_v3(read_recipe(cfg), Notes())
