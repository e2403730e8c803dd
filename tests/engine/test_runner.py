from __future__ import annotations

import json

import pytest
import torch

from mmkit.apis import train_detector
from mmkit.engine.hook import Hook, Record, priority_value
from mmkit.engine.runner import EpochBasedRunner, IterBasedRunner
from mmkit.registry import HOOKS
from tests.engine.toys import ToyDataset, loaders_of, runner_of, toy_config, toy_model


class Diary(Hook):
    """Writes down every call."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def before_run(self, runner):
        self.calls.append('before_run')

    def after_run(self, runner):
        self.calls.append('after_run')

    def before_epoch(self, runner):
        self.calls.append(f'before_{runner.mode}_epoch {runner.epoch}')

    def after_epoch(self, runner):
        self.calls.append(f'after_{runner.mode}_epoch {runner.epoch}')

    def after_iter(self, runner):
        self.calls.append(f'{runner.mode} {runner.iter}.{runner.inner_iter}')

    def on_record(self, runner, record):
        self.calls.append(f'{record.mode} record {record.epoch} {record.iter} {sorted(record.values)}')


def test_epochs_call_the_hooks_in_order():
    runner, diary = runner_of(max_epochs=2), Diary()
    runner.register_hook(diary)
    runner.run(loaders_of(4))
    assert diary.calls == [
        'before_run',
        *('before_train_epoch 0', 'train 1.1', 'train 2.2', 'after_train_epoch 1'),
        *('before_train_epoch 1', 'train 3.1', 'train 4.2', 'after_train_epoch 2'),
        'after_run',
    ]


def test_validation_passes_publish_their_losses():
    runner, diary = runner_of(max_epochs=3), Diary()
    runner.register_hook(diary)
    runner.run(loaders_of(2, 4), [('train', 2), ('val', 1)])
    vals = [call for call in diary.calls if 'val' in call]
    assert vals == [
        *('before_val_epoch 2', 'val 2.0', 'val 2.0', 'after_val_epoch 2'),
        "val record 2 2 ['acc', 'loss', 'loss_bbox', 'loss_cls']",
        *('before_val_epoch 3', 'val 3.0', 'val 3.0', 'after_val_epoch 3'),
        "val record 3 2 ['acc', 'loss', 'loss_bbox', 'loss_cls']",
    ]


def test_validation_changes_nothing():
    plain, validated = runner_of(max_epochs=3), runner_of(max_epochs=3)
    torch.manual_seed(1)
    plain.run(loaders_of(6))
    torch.manual_seed(1)
    validated.run(loaders_of(6, 4), [('train', 1), ('val', 1)])
    for name, value in plain.module.state_dict().items():
        assert torch.equal(value, validated.module.state_dict()[name]), name


def test_iterations_walk_through_epochs():
    runner, diary = runner_of(IterBasedRunner, max_iters=5), Diary()
    runner.register_hook(diary)
    runner.run(loaders_of(4, 2), [('train', 3), ('val', 1)])
    assert diary.calls == [
        'before_run',
        *('before_train_epoch 0', 'train 1.1', 'train 2.2', 'after_train_epoch 1', 'before_train_epoch 1', 'train 3.1'),
        *('before_val_epoch 1', 'val 3.1', 'after_val_epoch 1'),
        "val record 1 1 ['acc', 'loss', 'loss_bbox', 'loss_cls']",
        *('train 4.2', 'after_train_epoch 2', 'before_train_epoch 2', 'train 5.1'),
        *('before_val_epoch 2', 'val 5.1', 'after_val_epoch 2'),
        "val record 2 1 ['acc', 'loss', 'loss_bbox', 'loss_cls']",
        'after_run',
    ]


def test_hooks_end_whatever_happens():
    class Stops(Hook):
        def after_train_iter(self, runner):
            raise KeyboardInterrupt

    class Fails(Hook):
        def after_run(self, runner):
            raise OSError('first at the end')

    runner, diary = runner_of(max_epochs=1), Diary()
    runner.register_hook(Fails(), 'HIGHEST')
    runner.register_hook(diary)
    runner.register_hook(Stops())
    with pytest.raises(OSError, match='first at the end') as error:
        runner.run(loaders_of(2))
    assert isinstance(error.value.__context__, KeyboardInterrupt)
    assert diary.calls[-1] == 'after_run'


@pytest.mark.parametrize(('kind', 'length', 'done'), [('iter', {'max_iters': 9}, 3), ('epoch', {'max_epochs': 9}, 4)])
def test_hooks_end_a_training(kind, length, done):
    class Stop(Hook):
        def after_train_iter(self, runner):
            if runner.iter == 3:
                runner.stop()

    runner = runner_of(IterBasedRunner if kind == 'iter' else EpochBasedRunner, **length)
    runner.register_hook(Stop())
    runner.run(loaders_of(4))  # 2 iterations in an epoch
    assert runner.iter == done and runner.is_stopped


def test_iterations_of_a_checkpoint_that_counts_no_epochs():
    runner, diary = runner_of(IterBasedRunner, max_iters=8), Diary()
    runner.iter = 7
    runner.register_hook(diary)
    runner.run(loaders_of(6))
    assert (runner.epoch, runner.inner_iter, runner.iter) == (2, 2, 8)


def test_priorities():
    runner = runner_of(max_epochs=1)
    hooks = [Diary() for _ in range(4)]
    for hook, priority in zip(hooks, ('LOW', 'very_high', None, 49)):
        runner.register_hook(hook, priority)
    assert runner.hooks == [hooks[1], hooks[3], hooks[2], hooks[0]]
    assert priority_value('HIGHEST') == 0
    for wrong in ('URGENT', 101, None):
        with pytest.raises(ValueError, match='priority'):
            priority_value(wrong)


def test_lengths_are_checked():
    for kind, arguments in [
        (EpochBasedRunner, {}),
        (EpochBasedRunner, {'max_iters': 3}),
        (EpochBasedRunner, {'max_epochs': 0}),
        (IterBasedRunner, {'max_epochs': 3}),
        (IterBasedRunner, {'max_epochs': 3, 'max_iters': 3}),
    ]:
        with pytest.raises(ValueError, match=kind.__name__):
            runner_of(kind, **arguments)
    with pytest.raises(ValueError, match='batch_processor'):
        runner_of(max_epochs=1, batch_processor=print)
    with pytest.raises(ValueError, match='1 parts, but there are 2'):
        runner_of(max_epochs=1).run(loaders_of(2, 2))
    with pytest.raises(ValueError, match='no batch'):
        runner_of(max_epochs=1).run([[]])


def test_a_whole_training_of_a_config(tmp_path):
    cfg = toy_config(tmp_path, evaluation={'interval': 2, 'metric': 'segm'})
    runner = train_detector(toy_model(), ToyDataset(), cfg, validate=True)
    assert (runner.epoch, runner.iter) == (4, 24)
    first, *lines = [json.loads(line) for line in next(tmp_path.glob('*.log.json')).read_text().splitlines()]
    assert first['seed'] == 3 and first['CLASSES'] == ['cat', 'dog']
    assert [(line['mode'], line['epoch'], line['iter']) for line in lines[:8]] == [
        *(('train', 1, 2), ('train', 1, 4), ('train', 1, 6), ('train', 2, 2), ('train', 2, 4), ('train', 2, 6)),
        *(('val', 2, 4), ('train', 3, 2)),
    ]
    assert lines[6]['segm_mAP'] == 4.0
    names = ['mode', 'epoch', 'iter', 'lr', 'data_time', 'loss_bbox', 'loss_cls', 'acc', 'loss', 'grad_norm', 'time']
    assert list(lines[0]) == names


def test_custom_hooks_come_from_the_config_with_their_priority(tmp_path):
    HOOKS.register_module(name='Diary', module=Diary, force=True)
    cfg = toy_config(tmp_path, custom_hooks=[{'type': 'Diary', 'priority': 'HIGHEST'}], checkpoint_config=None)
    cfg['runner'] = {'type': 'IterBasedRunner', 'max_iters': 2}
    runner = train_detector(toy_model(), [ToyDataset()], cfg)
    assert isinstance(runner.hooks[0], Diary) and runner.hooks[0].calls[-1] == 'after_run'


def test_records_reach_every_hook():
    runner, diary = runner_of(max_epochs=1), Diary()
    runner.register_hook(diary)
    runner.publish(Record('val', 1, 5, {'x': 1.0}))
    assert diary.calls == ["val record 1 5 ['x']"]
