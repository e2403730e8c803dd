from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from mmkit.engine.hook import Hook
from mmkit.engine.hooks.averaged_model import AveragedModelHook, MeanTeacherHook
from tests.engine.toys import ToyDetector, run_with, toy_model


class Watch(Hook):
    """The weights, and their averages, after each iteration."""

    def __init__(self):
        self.weights, self.averages = [], []

    def after_train_iter(self, runner):
        self.weights.append(runner.module.conv.weight.detach().clone())
        self.averages.append(runner.ema.averaged(runner.module)['conv.weight'].detach().clone())


@pytest.mark.parametrize(
    ('arguments', 'shares'),
    [
        ({'momentum': 0.1}, [1, 0.1, 0.1]),
        ({'ema_type': 'MomentumAnnealingEMA', 'momentum': 0.5, 'gamma': 2}, [1, 2 / 3, 0.5, 0.5]),
        ({'ema_type': 'mmdet.ExpMomentumEMA', 'momentum': 0.1, 'gamma': 4}, [1, 0.1 + 0.9 * math.exp(-0.5)]),
        ({'ema_type': 'ExpMomentumEMA', 'momentum': 0.1}, [1, 0.1 + 0.9 * math.exp(-0.001)]),
        ({'ema_type': 'StochasticWeightAverage'}, [1, 1 / 2, 1 / 3, 1 / 4]),
        ({'ema_type': 'StochasticWeightAverage', 'interval': 2}, [1, None, 1 / 2, None]),
    ],
)
def test_shares_of_the_new_weights(arguments, shares):
    watch = Watch()
    run_with(AveragedModelHook(**arguments), watch)
    expected = toy_model().conv.weight.detach()
    for share, weights, averages in zip(shares, watch.weights, watch.averages):
        expected = expected if share is None else (1 - share) * expected + share * weights
        torch.testing.assert_close(averages, expected)


@pytest.mark.parametrize('begin', [{'begin_iter': 3}, {'begin_epoch': 2}])
def test_averages_begin_later(begin):
    watch = Watch()
    run_with(AveragedModelHook(momentum=0.1, **begin), watch, epochs=2, length=4)  # 2 iterations in an epoch
    for weights, averages in zip(watch.weights[:3], watch.averages[:3]):
        assert torch.equal(weights, averages)
    torch.testing.assert_close(watch.averages[3], 0.9 * watch.weights[2] + 0.1 * watch.weights[3])


def test_buffers_are_averaged_on_demand():
    assert 'bn.running_mean' not in run_with(AveragedModelHook()).ema.averaged(toy_model())
    runner = run_with(AveragedModelHook(momentum=0.5, update_buffers=True))
    trained, averaged = runner.ema.trained(runner.module), runner.ema.averaged(runner.module)
    assert not torch.equal(trained['bn.running_mean'], averaged['bn.running_mean'])
    assert torch.equal(trained['bn.num_batches_tracked'], averaged['bn.num_batches_tracked'])


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'ema_type': 'ExpMomentumEma'}, "did you mean 'ExpMomentumEMA'"),
        ({'gamma': 100}, 'gamma is 100'),
        ({'momentum': 1.0}, 'expected 0 < momentum < 1'),
        ({'begin_iter': 1, 'begin_epoch': 1}, 'both given'),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        AveragedModelHook(**arguments)


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.teacher, self.student = toy_model(1), toy_model(2)
        self.teacher.requires_grad_(False)

    def forward(self, batch):
        return self.student(batch)


def test_a_teacher_follows_its_student():
    seen = []

    class WatchTeacher(Hook):
        def before_train_iter(self, runner):
            seen.append(runner.module.teacher.conv.weight.clone())

    model = Pair()
    run_with(MeanTeacherHook(momentum=0.25, interval=4), WatchTeacher(), model=model)
    first, last = toy_model(2).conv.weight, model.student.conv.weight
    assert all(torch.equal(each, first) for each in seen)
    torch.testing.assert_close(model.teacher.conv.weight, 0.75 * first + 0.25 * last)
    assert model.teacher.bn.running_mean.abs().sum() == 0
    run_with(MeanTeacherHook(skip_buffer=False), model=Pair())


def test_a_teacher_is_needed():
    with pytest.raises(TypeError, match='with a teacher and a student, not a ToyDetector'):
        run_with(MeanTeacherHook(), model=ToyDetector())
    for arguments in ({'momentum': 0.0}, {'interval': 0}):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            MeanTeacherHook(**arguments)
