from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from mmkit.apis import train_detector
from mmkit.config import ConfigError
from mmkit.datasets import build_dataloader
from mmkit.engine.hooks.eval_hook import EvalHook
from mmkit.engine.optim import build_optimizer
from mmkit.engine.predict import check_masks
from mmkit.engine.runner import EpochBasedRunner
from mmkit.models.detectors.base import Detector
from mmkit.registry import DATASETS
from tests.engine.toys import ToyDataset, ToyDetector, run_with, toy_config, toy_model

SCORES = [0.1, 0.3, 0.2, 0.4]


@DATASETS.register_module(force=True)
class ScoredDataset(ToyDataset):
    """Its evaluations return the numbers of a list, one after the other."""

    def __init__(self, scores, length=2, test_mode=False):
        super().__init__(length)
        self.scores = iter(scores)

    def evaluate(self, outputs, metric='bbox'):
        return {**super().evaluate(outputs, metric), 'size': 1.0}


def train(work_dir, scores, epochs=4, **evaluation):
    cfg = toy_config(work_dir, evaluation=evaluation, runner={'type': 'EpochBasedRunner', 'max_epochs': epochs})
    cfg['data']['val'] = {'type': 'ScoredDataset', 'scores': list(scores)}
    return train_detector(toy_model(), ToyDataset(), cfg, validate=True)


def epochs_evaluated(work_dir):
    lines = [json.loads(line) for line in next(work_dir.glob('*.log.json')).read_text().splitlines()]
    return [line['epoch'] for line in lines if line.get('mode') == 'val']


@pytest.mark.parametrize(
    ('evaluation', 'expected'),
    [
        ({}, [1, 2, 3, 4, 5, 6]),
        ({'interval': 2}, [2, 4, 6]),
        ({'interval': 2, 'start': 3}, [3, 5]),
        ({'interval': 4, 'start': 0}, [0, 4]),
        ({'interval': 2, 'begin': 3}, [4, 6]),
        ({'interval': 5, 'at_end': True}, [5, 6]),
        ({'interval': 4, 'dynamic_intervals': [(5, 1)]}, [4, 5, 6]),
        ({'interval': 10, 'dynamic_intervals': [[3, 2], [5, 1]]}, [4, 5, 6]),
    ],
)
def test_when(tmp_path, evaluation, expected):
    train(tmp_path, [0.5] * 10, epochs=6, **evaluation)
    assert epochs_evaluated(tmp_path) == expected


def test_the_checkpoint_is_written_before_the_evaluation(tmp_path):
    class Fails(ToyDataset):
        def evaluate(self, outputs):
            raise RuntimeError('stop here')

    DATASETS.register_module(name='Fails', module=Fails, force=True)
    cfg = toy_config(tmp_path, evaluation={})
    cfg['data']['val'] = {'type': 'Fails'}
    with pytest.raises(RuntimeError, match='stop here'):
        train_detector(toy_model(), ToyDataset(), cfg, validate=True)
    assert (tmp_path / 'epoch_1.pth').exists()


@pytest.mark.parametrize(
    ('save_best', 'rule', 'expected', 'score'),
    [('auto', None, 'best_bbox_mAP_epoch_4.pth', 0.4), ('bbox_mAP', 'less', 'best_bbox_mAP_epoch_1.pth', 0.1)],
)
def test_the_best_checkpoint(tmp_path, save_best, rule, expected, score):
    runner = train(tmp_path, SCORES, save_best=save_best, rule=rule)
    assert [path.name for path in tmp_path.glob('best_*')] == [expected]
    assert runner.best['bbox_mAP']['score'] == score
    assert torch.load(tmp_path / expected, weights_only=True)['runner']['best']['bbox_mAP']['score'] == score


def test_a_best_checkpoint_for_each_of_several_figures(tmp_path):
    class TwoFigures(ToyDataset):
        def evaluate(self, outputs):
            return {'coco/bbox_mAP': next(self.figures), 'size': 1 - next(self.figures)}

    TwoFigures.figures = iter([0.1, 0.1, 0.5, 0.2, 0.3, 0.9, 0.4, 0.3])
    DATASETS.register_module(name='TwoFigures', module=TwoFigures, force=True)
    cfg = toy_config(tmp_path, evaluation={'save_best': ['coco/bbox_mAP', 'size'], 'rule': ['greater', 'less']})
    cfg['data']['val'] = {'type': 'TwoFigures'}
    runner = train_detector(toy_model(), ToyDataset(), cfg, validate=True)
    files = sorted(path.name for path in tmp_path.glob('best_*'))
    assert files == ['best_coco_bbox_mAP_epoch_2.pth', 'best_size_epoch_3.pth']
    assert runner.best['coco/bbox_mAP']['score'] == 0.5 and runner.best['size']['score'] == pytest.approx(0.1)
    hook = EvalHook(build_dataloader(ToyDataset(2), 1, 0), save_best=['coco/bbox_mAP', 'size'])
    hook._find_best(runner)
    assert runner.best['size']['path'] == str(tmp_path / files[1])


def test_iterations_are_counted_too(tmp_path):
    train(tmp_path, [0.1] * 9, by_epoch=False, interval=10, begin=12, at_end=True)
    lines = [json.loads(line) for line in next(tmp_path.glob('*.log.json')).read_text().splitlines()]
    assert [line['iter'] for line in lines if line.get('mode') == 'val'] == [20, 24]


def test_precision_of_an_evaluation(tmp_path):
    precisions = []

    class Precise(ToyDetector):
        def predict(self, batch, rescale=True):
            precisions.append(self.conv(batch.imgs).dtype)
            return super().predict(batch)

    def test_fn(model, loader):
        return [each for batch in loader for each in model(batch)]

    for fp16 in (None, True):
        hook = EvalHook(build_dataloader(ToyDataset(2), 2, 0), fp16=fp16, test_fn=test_fn)
        run_with(hook, model=Precise())
    assert precisions == [torch.float32, torch.bfloat16]


def test_the_best_survives_a_restart(tmp_path):
    train(tmp_path, [0.1, 0.9], epochs=2, save_best='auto')
    # epoch_2.pth was written before the evaluation that found 0.9
    cfg = toy_config(tmp_path, evaluation={'save_best': 'auto'}, auto_resume=True)
    cfg['data']['val'] = {'type': 'ScoredDataset', 'scores': [0.5, 0.6]}
    runner = train_detector(toy_model(), ToyDataset(), cfg, validate=True)
    assert runner.best['bbox_mAP']['score'] == 0.9
    assert [path.name for path in tmp_path.glob('best_*')] == ['best_bbox_mAP_epoch_2.pth']


def test_wrong_arguments_are_found_before_the_training():
    loader = build_dataloader(ToyDataset(2), 1, 0)
    for arguments, error, message in [
        ({'interval': 0}, ValueError, 'interval'),
        ({'rule': 'more'}, ValueError, "'more'"),
        ({'start': -1}, ValueError, 'start'),
        ({'begin': 1, 'start': 1}, ValueError, 'expected one of them'),
        ({'save_best': ['a', 'b'], 'rule': ['less'] * 3}, ValueError, 'with a rule for each'),
        ({'eval_args': {'metrics': 'bbox'}}, TypeError, "metrics is a list of dicts with `type`, got 'bbox'; names"),
        ({'eval_args': {'metrik': 'bbox'}}, TypeError, "ToyDataset.evaluate has no argument 'metrik'; the nearest is"),
        ({'eval_args': {'save_bset': 'auto'}}, TypeError, "evaluation has no 'save_bset', did you mean 'save_best'"),
    ]:
        with pytest.raises(error, match=message):
            EvalHook(loader, **arguments)


def test_metrics_that_are_not_there_or_not_known(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'bbox_mAP'"):
        train(tmp_path, SCORES, save_best='bbox_map')
    with pytest.raises(ValueError, match=r'is more or less .size. better.*evaluation\.rule'):
        train(tmp_path, SCORES, save_best='size')


def test_masks_of_a_model_that_makes_none(tmp_path):
    class Boxes(ToyDetector, Detector):
        """Makes no masks."""

        def __init__(self):
            nn.Module.__init__(self)

    hook = EvalHook(build_dataloader(ToyDataset(2), 1, 0), eval_args={'metric': 'segm'})
    with pytest.raises(ConfigError, match='this detector makes boxes only'):
        check_masks(Boxes(), hook.metrics)
    check_masks(toy_model(), hook.metrics)  # it may be any model


def test_test_fn_replaces_the_test_loop(tmp_path):
    calls = []
    hook = EvalHook(build_dataloader(ToyDataset(2), 1, 0), test_fn=lambda model, loader: calls.append(model) or [])
    model = toy_model()
    runner = EpochBasedRunner(model, build_optimizer(model, {'type': 'SGD', 'lr': 0.1}), max_epochs=1)
    runner.register_hook(hook)
    runner.run([build_dataloader(ToyDataset(2), 1, 0)])
    assert calls == [model]


def test_branches_of_a_model_that_has_none(tmp_path):
    with pytest.raises(ConfigError, match='has no teacher and no student to evaluate'):
        train(tmp_path, [0.5], branches=('teacher', 'student'))
