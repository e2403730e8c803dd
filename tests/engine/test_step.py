"""Clipping, accumulation, precision, and steps that are not finite."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from mmkit.apis import train_detector
from mmkit.dialects.recipe import LossScale, StepSettings
from mmkit.engine.hook import Hook
from mmkit.engine.losses import NonFiniteError, PendingLosses
from mmkit.engine.optim import build_optimizer
from mmkit.engine.runner import EpochBasedRunner
from mmkit.engine.step import TrainingStep, _make_scaler
from mmkit.registry import HOOKS
from tests.engine.toys import ToyDataset, ToyDetector, loaders_of, runner_of, toy_config, toy_model


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


@pytest.mark.parametrize(('dtype', 'is_said'), [('float16', True), ('bfloat16', False)])
def test_the_log_says_that_float16_is_for_gpus(caplog, dtype, is_said):
    with caplog.at_level('INFO', 'mmkit'):
        runner_of(max_epochs=1, step=StepSettings(fp16=LossScale(), amp_dtype=dtype))
    assert ('mixed precision in bfloat16: float16 is for GPUs' in caplog.text) == is_said


def test_bfloat16_needs_no_loss_scale():
    settings = StepSettings(fp16=LossScale(init_scale=512.0), amp_dtype='bfloat16')
    assert not _make_scaler(settings, torch.device('cuda')).is_enabled()
    model = toy_model()
    step = TrainingStep(model, torch.optim.SGD(model.parameters(), lr=0.1), settings, torch.device('cpu'))
    for half, dtype in ((None, torch.bfloat16), (True, torch.bfloat16), (False, torch.float32)):
        with step.precision(half):
            assert model.conv(torch.ones(1, 3, 3, 3)).dtype == dtype


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


def test_losses_are_read_at_the_interval_of_the_log(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(
        PendingLosses, 'read', lambda self, original=PendingLosses.read: read.append(len(self)) or original(self)
    )
    runner = runner_of(max_epochs=2, work_dir=tmp_path)
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
