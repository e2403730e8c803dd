from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn

from mmkit.apis import train_detector
from mmkit.dialects.recipe import LossScale, StepSettings
from mmkit.engine.hook import Hook, Record, priority_value
from mmkit.engine.losses import NonFiniteError, PendingLosses
from mmkit.engine.optim import build_optimizer
from mmkit.engine.runner import EpochBasedRunner, IterBasedRunner
from mmkit.registry import HOOKS
from tests.engine.toys import ToyDataset, ToyDetector, toy_config, toy_model


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


def loaders_of(*lengths: int, batch: int = 2):
    from mmkit.datasets import build_dataloader

    return [build_dataloader(ToyDataset(length), batch, 0, seed=0, shuffle=False) for length in lengths]


def runner_of(kind=EpochBasedRunner, **arguments):
    model = arguments.pop('model', None) or toy_model()
    return kind(model, build_optimizer(model, {'type': 'SGD', 'lr': 0.1}), **arguments)


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


def test_step_clips_gradients():
    runner = runner_of(max_epochs=1, step=StepSettings(grad_clip={'max_norm': 1e-3}))
    before = [p.detach().clone() for p in runner.model.parameters()]
    runner.run(loaders_of(2))
    moved = torch.cat([(a - b).flatten() for a, b in zip(before, runner.model.parameters())])
    assert float(moved.detach().norm()) == pytest.approx(0.1 * 1e-3, rel=1e-3)
    assert runner.losses['grad_norm'] > 1e-3


class Line(nn.Module):
    """loss = weight * mean(imgs): its gradient is the mean."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, batch):
        return {'loss': self.weight * batch.imgs.mean()}


def test_accumulation_steps_with_the_mean_gradient():
    # 5 batches in groups of 2: the last one is alone and counts wholly.
    loader = loaders_of(10)[0]
    means = [float(batch.imgs.mean()) for batch in loader]
    model = Line()
    weights = []

    class Watch(Hook):
        def after_train_iter(self, runner):
            weights.append(model.weight.item())

    runner = runner_of(model=model, max_epochs=1, step=StepSettings(cumulative_iters=2))
    runner.register_hook(Watch())
    runner.run([loader])
    first = -0.1 * (means[0] + means[1]) / 2
    second = first - 0.1 * (means[2] + means[3]) / 2
    assert weights == pytest.approx([0, first, first, second, second - 0.1 * means[4]])


@pytest.mark.parametrize('scale', [LossScale(), LossScale(512.0, dynamic=False)])
def test_half_precision_on_the_cpu_is_bfloat16(scale):
    seen = []

    class Watched(ToyDetector):
        def outs(self, imgs):
            outs = super().outs(imgs)
            seen.append(outs.dtype)
            return outs

    torch.manual_seed(0)
    runner = runner_of(model=Watched(), max_epochs=1, step=StepSettings(fp16=scale))
    runner.run(loaders_of(4))
    assert seen == [torch.bfloat16] * 2
    assert all(p.dtype == torch.float32 and torch.isfinite(p).all() for p in runner.model.parameters())


def test_loss_that_is_not_finite_is_named_with_its_images(tmp_path):
    class Breaks(ToyDetector):
        def loss(self, batch):
            losses = super().loss(batch)
            if batch.metas[0].img_id == 6:
                losses['loss_cls'] = [losses['loss_bbox'].sum() / 0]
            return losses

    torch.manual_seed(0)
    cfg = toy_config(tmp_path, checkpoint_config={'interval': 1, 'by_epoch': False})
    cfg['data']['train_dataloader'] = {'shuffle': False}
    with pytest.raises(FloatingPointError) as error:
        train_detector(Breaks(), ToyDataset(), cfg)
    message = str(error.value)
    assert 'loss_cls = inf' in message and 'loss = inf' in message and 'loss_bbox' not in message
    assert 'iteration 4 (epoch 1)' in message and '/images/6.jpg, /images/7.jpg' in message
    assert sorted(path.name for path in tmp_path.glob('iter_*.pth')) == ['iter_1.pth', 'iter_2.pth', 'iter_3.pth']
    kept = torch.load(tmp_path / 'latest.pth', weights_only=True)['state_dict']
    assert all(torch.isfinite(value).all() for value in kept.values())


class Wild(Line):
    """A finite loss whose gradient is infinite in batch number `at`, for a weight that begins at 0."""

    def __init__(self, at):
        super().__init__()
        self.at, self.count = at, 0

    def forward(self, batch):
        self.count += 1
        loss = super().forward(batch)['loss']
        return {'loss': loss + self.weight.abs().sqrt() * 0 if self.count == self.at else loss}


@pytest.mark.parametrize('fused', [False, True])
@pytest.mark.parametrize('grad_clip', [None, {'max_norm': 1.0, 'error_if_nonfinite': True}])
def test_gradient_that_is_not_finite_changes_nothing(tmp_path, fused, grad_clip):
    model = Wild(at=1)
    optimizer = build_optimizer(model, {'type': 'SGD', 'lr': 0.1, 'momentum': 0.9, 'fused': fused})
    runner = EpochBasedRunner(model, optimizer, max_epochs=1, step=StepSettings(grad_clip=grad_clip))
    weights = []

    class Watch(Hook):
        def after_train_iter(self, runner):
            weights.append(model.weight.item())
            if runner.iter == 3:
                runner.save(tmp_path / 'never.pth')

    runner.register_hook(Watch())
    with pytest.raises(NonFiniteError, match=r'in iteration 1 \(epoch 1\) for /images/0\.jpg, /images/1\.jpg'):
        runner.run(loaders_of(8))
    # A fused optimizer skips the step on the device, without waiting: the error waits for the next reading.
    assert (runner.iter, len(weights)) == ((3, 3) if fused else (0, 0))
    assert all(math.isfinite(weight) for weight in [*weights, model.weight.item()])
    assert not fused or (weights[0] == 0 and weights[1] != 0)
    assert not (tmp_path / 'never.pth').exists()


def test_an_infinite_loss_with_a_finite_gradient_changes_nothing():
    class Detached(Line):
        def forward(self, batch):
            return {'loss': super().forward(batch)['loss'] + math.inf}

    model = Detached()
    runner = runner_of(model=model, max_epochs=1)
    with pytest.raises(NonFiniteError, match='loss = inf in iteration 1'):
        runner.run(loaders_of(2))
    assert model.weight.item() == 0


def test_the_batch_of_an_accumulated_step_that_was_not_finite_is_named():
    model = Line()
    batches = list(loaders_of(8)[0])
    batches[1].imgs[:] = math.nan
    runner = runner_of(model=model, max_epochs=1, step=StepSettings(cumulative_iters=4))
    with pytest.raises(
        NonFiniteError, match=r'loss = nan in iteration 2 \(epoch 1\) for /images/2\.jpg, /images/3\.jpg'
    ):
        runner.run([batches])
    assert model.weight.item() == 0 and runner.iter == 3


def test_an_error_of_the_last_steps_is_raised_at_the_end():
    model = Wild(at=1)
    runner = EpochBasedRunner(model, torch.optim.SGD(model.parameters(), lr=0.1, fused=True), max_epochs=1)
    with pytest.raises(NonFiniteError, match='iteration 1'):
        runner.run(loaders_of(4))


def test_losses_are_read_at_the_interval_of_the_log(monkeypatch):
    read = []
    monkeypatch.setattr(
        PendingLosses, 'read', lambda self, original=PendingLosses.read: read.append(len(self)) or original(self)
    )
    runner = runner_of(max_epochs=2)
    runner.register_hook(HOOKS.build({'type': 'TextLoggerHook', 'interval': 3}))
    runner.run(loaders_of(14))
    assert [count for count in read if count] == [3, 3, 1, 3, 3, 1]


def test_gradients_of_what_is_in_no_optimizer_do_not_count():
    class Thawed(Line):
        def __init__(self):
            super().__init__()
            self.other = nn.Parameter(torch.ones(()))

        def forward(self, batch):
            return {'loss': super().forward(batch)['loss'] + 100 * self.other}

    model = Thawed()
    runner = EpochBasedRunner(
        model, torch.optim.SGD([model.weight], lr=1.0), max_epochs=1, step=StepSettings(grad_clip={'max_norm': 1e-3})
    )
    loader = loaders_of(2)[0]
    runner.run([loader])
    mean = float(next(iter(loader)).imgs.mean())
    assert runner.losses['grad_norm'] == pytest.approx(abs(mean))
    assert model.weight.item() == pytest.approx(math.copysign(1e-3, -mean), rel=1e-3)
    assert model.other.grad is None  # it doesn't pile up


def test_a_step_outside_of_a_training_is_a_whole_one():
    model = Line()
    runner = runner_of(model=model, max_epochs=1, step=StepSettings(cumulative_iters=1))
    (batch,) = loaders_of(2)[0]
    runner.train_step(batch)  # the length of the training isn't known yet
    assert model.weight.item() == pytest.approx(-0.1 * float(batch.imgs.mean()))


def test_parameters_without_gradient_are_named(caplog):
    model = toy_model()
    model.unused = nn.Linear(1, 1)
    runner = runner_of(model=model, max_epochs=1, step=StepSettings(detect_anomalous_params=True))
    runner.run(loaders_of(2))
    assert [record.getMessage().split()[0] for record in caplog.records] == ['unused.weight', 'unused.bias']


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
