"""Loggers, averages, checks, YOLOX's hooks, the refused ones."""

from __future__ import annotations

import json

import pytest
import torch

from mmkit.apis import train_detector
from mmkit.config import ConfigError
from mmkit.datasets import build_dataloader
from mmkit.dialects import read_recipe
from mmkit.engine.assemble import assemble
from mmkit.engine.hook import Hook
from mmkit.engine.hooks.ema import EMAHook, ExpMomentumEMAHook, LinearMomentumEMAHook
from mmkit.engine.hooks.logger import LoggerHook, ProgressHook
from mmkit.engine.optim import build_optimizer
from mmkit.engine.runner import EpochBasedRunner
from mmkit.models.dense_heads.anchor.rpn_head import RPNHead
from mmkit.registry import HOOKS
from tests.engine.toys import ToyDataset, ToyDetector, ToyHead, toy_config, toy_model


def run(*hooks, epochs=1, length=8, model=None, **loader):
    model = model or toy_model()
    runner = EpochBasedRunner(
        model, build_optimizer(model, {'type': 'SGD', 'lr': 0.1, 'momentum': 0.9}), max_epochs=epochs
    )
    for hook in hooks:
        runner.register_hook(hook)
    runner.run([build_dataloader(ToyDataset(length), 2, 0, seed=0, **loader)])
    return runner


class Lines(LoggerHook):
    def before_run(self, runner):
        super().before_run(runner)
        self.records = []

    def write(self, runner, record):
        self.records.append((record.epoch, record.iter))


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        ({'interval': 3}, [(1, 3), (2, 3)]),
        ({'interval': 3, 'ignore_last': False}, [(1, 3), (1, 4), (2, 3), (2, 4)]),
        ({'interval': 3, 'by_epoch': False}, [(1, 3), (2, 6)]),
    ],
)
def test_when_loggers_write(arguments, expected):
    lines = Lines(**arguments)
    run(lines, epochs=2)
    assert lines.records == expected
    with pytest.raises(ValueError, match='interval'):
        Lines(interval=0)


def test_loggers_average_over_their_interval():
    class Values(LoggerHook):
        found = []

        def after_train_iter(self, runner):
            self.found.append(runner.losses['loss'])
            super().after_train_iter(runner)

        def write(self, runner, record):
            self.found.append(('mean', record.values['loss']))

    run(Values(interval=4, reset_flag=True))
    *losses, (_, mean) = Values.found
    assert mean == pytest.approx(sum(losses) / 4)


def test_text_logs_can_be_copied_elsewhere(tmp_path):
    logger = {'type': 'TextLoggerHook', 'out_dir': str(tmp_path / 'out'), 'keep_local': False, 'out_suffix': '.json'}
    cfg = toy_config(tmp_path / 'run', log_config={'interval': 3, 'hooks': [logger]})
    train_detector(toy_model(), ToyDataset(), cfg, timestamp='now')
    lines = (tmp_path / 'out' / 'run' / 'now.log.json').read_text().splitlines()
    assert len(lines) == 1 + 2 * 4 and json.loads(lines[1])['iter'] == 3
    assert not (tmp_path / 'run' / 'now.log.json').exists()


def test_lines_of_an_iteration_based_runner(tmp_path, caplog):
    cfg = toy_config(tmp_path, runner={'type': 'IterBasedRunner', 'max_iters': 8}, evaluation={'interval': 4})
    train_detector(toy_model(), ToyDataset(), cfg, validate=True)
    text = [record.getMessage() for record in caplog.records]
    assert any(line.startswith('Iter [8/8]\tlr: ') and 'eta: 0:00:00' in line for line in text)
    assert 'Iter(val) [4]\tbbox_mAP: 4.0000' in text


def test_tensorboard_gets_curves(tmp_path):
    pytest.importorskip('tensorboard')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    cfg = toy_config(tmp_path, log_config={'interval': 3, 'hooks': [{'type': 'TensorboardLoggerHook'}]}, evaluation={})
    train_detector(toy_model(), ToyDataset(), cfg, validate=True)
    events = EventAccumulator(str(tmp_path / 'tf_logs'))
    events.Reload()
    assert {'learning_rate', 'train/loss', 'val/bbox_mAP'} <= set(events.Tags()['scalars'])
    assert [event.step for event in events.Scalars('train/loss')] == [3, 6, 9, 12, 15, 18, 21, 24]


def test_progress_bar_counts_iterations():
    bar = ProgressHook()
    run(bar, epochs=2)
    assert bar.bar.n == bar.bar.total == 8


def test_momentum_of_the_averages():
    assert EMAHook(momentum=0.0002, warm_up=100).momentum_at(0) == 0.0002
    assert EMAHook(momentum=0.5, warm_up=100).momentum_at(0) == 0.01
    assert LinearMomentumEMAHook(momentum=0.5, interval=2, warm_up=3).momentum_at(10) == 0.25
    assert ExpMomentumEMAHook(momentum=0.1, total_iter=10).momentum_at(9) == pytest.approx(0.1 + 0.9 * 0.36787944)
    for arguments in ({'momentum': 0}, {'interval': 0}):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            EMAHook(**arguments)


def test_averages_are_updated_at_their_interval():
    seen = []

    class Watch(Hook):
        def after_train_iter(self, runner):
            seen.append(runner.ema.averaged(runner.module)['conv.weight'].clone())

    run(LinearMomentumEMAHook(momentum=0.9, interval=2, warm_up=1), Watch())
    assert torch.equal(seen[0], toy_model().conv.weight)
    assert not torch.equal(seen[0], seen[1]) and torch.equal(seen[1], seen[2])


def test_number_of_classes_is_compared():
    check = HOOKS.build({'type': 'NumClassCheckHook'})
    run(check)
    wrong = toy_model()
    wrong.bbox_head.num_classes = 80
    with pytest.raises(ValueError, match=r'model\.bbox_head\.num_classes is 80.*2 classes \(cat, dog\).*=2'):
        run(check, model=wrong)


def test_a_head_says_itself_that_its_classes_are_compared():
    class MyRPN(RPNHead):
        """Tells objects from background, as its base class does, whatever it and its part of the model are called."""

    class Mine(ToyHead):
        num_classes = 3

    model = toy_model()
    model.head = MyRPN(
        in_channels=1,
        anchor_generator=dict(type='AnchorGenerator', scales=[1], ratios=[1.0], strides=[4]),
    )
    model.extra = torch.nn.Identity()  # neither does a part that says nothing
    model.extra.num_classes = 7
    run(HOOKS.build({'type': 'NumClassCheckHook'}), model=model)
    model.classify = Mine(4, 1)
    with pytest.raises(ConfigError, match=r'model\.classify\.num_classes is 3'):
        run(HOOKS.build({'type': 'NumClassCheckHook'}), model=model)


def test_without_its_hook_a_head_may_have_classes_to_spare(tmp_path, caplog):
    model = toy_model()
    model.bbox_head.num_classes = 3
    hooked = toy_config(tmp_path, custom_hooks=[{'type': 'NumClassCheckHook'}])
    with pytest.raises(ConfigError, match='num_classes is 3, but ToyDataset has 2'):
        assemble(read_recipe(hooked), model, [ToyDataset()])
    assemble(read_recipe(toy_config(tmp_path)), model, [ToyDataset()])
    assert 'num_classes is 3, but ToyDataset has 2' in caplog.text
    model.bbox_head.num_classes = 1
    with pytest.raises(ConfigError, match='num_classes is 1'):
        assemble(read_recipe(toy_config(tmp_path)), model, [ToyDataset()])


def test_classes_that_are_a_string(monkeypatch):
    monkeypatch.setattr(ToyDataset, 'CLASSES', 'cat')
    with pytest.raises(ValueError, match=r"string 'cat': write \('cat',\)"):
        run(HOOKS.build({'type': 'NumClassCheckHook'}))


def test_rate_and_momentum_follow_their_schedules():
    seen = []

    class Watch(Hook):
        def before_train_iter(self, runner):
            group = runner.optimizer.param_groups[0]
            seen.append((group['lr'], group['momentum']))

    lr = HOOKS.build({'type': 'StepLrUpdaterHook', 'step': [1]})
    momentum = HOOKS.build({'type': 'StepMomentumUpdaterHook', 'step': [2]})
    run(lr, momentum, Watch(), epochs=3, length=2)
    assert seen == [(0.1, 0.9), (pytest.approx(0.01), 0.9), (pytest.approx(0.01), 0.45)]


def test_last_epochs_of_yolox():
    calls = []

    class Mixed(ToyDataset):
        def update_skip_type_keys(self, keys):
            calls.append(keys)

    class Watch(Hook):
        def before_train_iter(self, runner):
            calls.append(runner.epoch)

    class Model(ToyDetector):
        def use_extra_losses(self):
            calls.append('extra losses')

    model = Model()
    runner = EpochBasedRunner(model, build_optimizer(model, {'type': 'SGD', 'lr': 0.1}), max_epochs=4)
    runner.register_hook(
        HOOKS.build({'type': 'YOLOXModeSwitchHook', 'num_last_epochs': 1, 'skip_type_keys': ['Mosaic']})
    )
    runner.register_hook(Watch())
    runner.run([build_dataloader(Mixed(2), 2, 0)])
    assert calls == [0, 1, ('Mosaic',), 'extra losses', 2, 3]


def test_last_epochs_of_yolox_need_their_dataset():
    with pytest.raises(TypeError, match='needs a MultiImageMixDataset to train on, not a ToyDataset'):
        run(HOOKS.build({'type': 'YOLOXModeSwitchHook'}))


@pytest.mark.parametrize(
    'cfg',
    [
        {'type': 'DistSamplerSeedHook'},
        {'type': 'SyncBuffersHook'},
        {'type': 'SyncNormHook', 'num_last_epochs': 1, 'interval': 10},
        {'type': 'EmptyCacheHook', 'before_epoch': True, 'after_iter': True},
        {'type': 'CheckInvalidLossHook', 'interval': 1},
        {'type': 'IterTimerHook'},
    ],
)
def test_hooks_that_change_nothing_here(cfg):
    plain = run(epochs=1)
    hooked = run(HOOKS.build(cfg), epochs=1, model=toy_model())
    assert hooked.iter == plain.iter


def test_epoch_is_told_to_the_model():
    model = toy_model()
    told = []
    model.set_epoch = told.append
    run(HOOKS.build({'type': 'SetEpochInfoHook'}), epochs=2, model=model)
    assert told == [0, 1]


def test_profiler_writes_a_trace(tmp_path):
    trace = tmp_path / 'trace.json'
    hook = HOOKS.build({'type': 'ProfilerHook', 'activities': ['cpu'], 'json_trace_path': str(trace)})
    run(hook, epochs=2, length=2)
    assert 'aten::' in trace.read_text()
    with pytest.raises(ValueError, match='tpu'):
        HOOKS.build({'type': 'ProfilerHook', 'activities': ['tpu']})


@pytest.mark.parametrize(
    ('name', 'advice'),
    [
        ('WandbLoggerHook', 'TensorboardLoggerHook'),
        ('MMDetWandbHook', 'LoggerHook'),
        ('Fp16OptimizerHook', 'fp16=dict'),
        ('SyncRandomSizeHook', 'random_size_range'),
    ],
)
def test_hooks_that_are_not_there_say_what_to_do(name, advice):
    with pytest.raises(NotImplementedError, match=f'(?s){name}.*{advice}'):
        HOOKS.build({'type': name, 'interval': 5})
