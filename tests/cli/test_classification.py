"""The whole way of docs/classification.md on two folders of drawn images."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmkit.apis import inference_detector, init_detector
from mmkit.cli.test import main as run_test
from mmkit.cli.train import main as run_train
from mmkit.config import Config
from mmkit.models import build_detector
from mmkit.structures import ClassScores
from mmkit.utils.logging import get_logger
from tests.cli.test_train import KILLED
from tests.tiny import ROOT

CLASSES = ('dark disc', 'bright disc', 'red square')


def draw(label, rng):
    img = np.full((24, 28, 3), 128, np.uint8)
    x, y = (int(value) for value in rng.integers(10, 14, 2))
    if label == 2:
        cv2.rectangle(img, (x - 6, y - 6), (x + 6, y + 6), (0, 0, 255), -1)
    else:
        cv2.circle(img, (x, y), 7, (255 * label,) * 3, -1)
    return cv2.add(img, rng.integers(0, 20, img.shape, dtype=np.uint8))


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    """The path of a config of a tiny classifier and its images: twelve a class to learn from, four to test."""
    folder = tmp_path_factory.mktemp('classes')
    rng = np.random.default_rng(0)
    for split, number in (('train', 12), ('val', 4)):
        for label, name in enumerate(CLASSES):
            (folder / split / f'{label} {name}').mkdir(parents=True)
            for index in range(number):
                cv2.imwrite(str(folder / split / f'{label} {name}' / f'{index}.png'), draw(label, rng))
    cfg = Config.fromfile(ROOT / 'configs' / 'imagenet' / 'resnet18_folders.py')
    options = {f'data.{split}.data_prefix': str(folder / split) for split in ('train', 'val')}
    options |= {f'data.{split}.classes': CLASSES for split in ('train', 'val', 'test')}
    options |= {
        'data.test.data_prefix': str(folder / 'val'),
        'data.samples_per_gpu': 6,
        'data.train.pipeline.1': dict(type='RandomResizedCrop', size=24, scale=(0.7, 1.0)),
        'data.test.pipeline.1.size': (28, -1),
        'data.test.pipeline.2.crop_size': 24,
        'data.val.pipeline.1.size': (28, -1),
        'data.val.pipeline.2.crop_size': 24,
        'model.backbone.base_channels': 8,
        'model.backbone.stem_channels': 8,
        'model.head.in_channels': 64,
        'model.head.cal_acc': True,
        'log_config.interval': 1,
        'runner.max_epochs': 10,
        'optimizer.lr': 0.005,
    }
    cfg.merge_from_dict(options)
    cfg.dump(folder / 'cfg.py')
    return str(folder / 'cfg.py')


@pytest.fixture(autouse=True)
def close_logs():
    yield
    for each in list(get_logger().handlers):
        if hasattr(each, 'baseFilename'):
            get_logger().removeHandler(each)
            each.close()


def train(config, work, *flags):
    """Lines of the log of a training; signals are as before afterwards."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        assert run_train([config, '--work-dir', str(work), '--device', 'cpu', '--seed', '0', *flags]) == 0
    finally:
        signal.signal(signal.SIGTERM, handler)
    log = max(Path(work).glob('*.log.json'))
    return [json.loads(line) for line in log.read_text().splitlines()[1:]]


@pytest.fixture(scope='module')
def trained(config, tmp_path_factory):
    """(work directory, lines of the log) of a whole training."""
    work = tmp_path_factory.mktemp('work')
    return work, train(config, work)


def test_training_learns_and_keeps_the_best(trained):
    work, lines = trained
    assert {'loss', 'top-1'} <= set(lines[0])
    scores = [line['accuracy_top-1'] for line in lines if line['mode'] == 'val']
    assert len(scores) == 10 and max(scores) >= 90
    (best,) = work.glob('best_accuracy_top-1_epoch_*.pth')
    assert torch.load(best, weights_only=True)['meta']['CLASSES'] == CLASSES


@pytest.mark.parametrize('flags', [[], ['--fuse-conv-bn']])
def test_metrics_and_files(config, trained, tmp_path, capsys, flags):
    work, lines = trained
    names = ['accuracy', 'precision', 'recall', 'f1_score', 'support']
    out, drawn = tmp_path / 'scores.pkl', tmp_path / 'drawn'
    argv = [config, str(work / 'latest.pth'), '--metrics', *names, '--metric-options', 'topk=(1,2)', *flags]
    assert run_test([*argv, '--out', str(out), '--show-dir', str(drawn), '--device', 'cpu']) == 0
    metrics = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert list(metrics) == ['accuracy_top-1', 'accuracy_top-2', 'precision', 'recall', 'f1_score', 'support']
    assert metrics['accuracy_top-1'] == pytest.approx(lines[-1]['accuracy_top-1'], abs=1e-4)
    assert metrics['support'] == 12
    columns = pickle.loads(out.read_bytes())
    assert columns['class_scores'].shape == (12, 3)
    assert np.array_equal(columns['pred_label'], columns['class_scores'].argmax(1))
    assert columns['pred_class'] == [CLASSES[label] for label in columns['pred_label']]
    picture = cv2.imread(str(drawn / '2 red square' / '3.png'))
    assert picture.shape == (24, 28, 3)


def test_eval_is_the_same_option_and_json_the_same_columns(config, trained, tmp_path, capsys):
    argv = [config, str(trained[0] / 'latest.pth'), '--eval', 'accuracy', '--out', str(tmp_path / 'a.json')]
    assert run_test([*argv, '--device', 'cpu']) == 0
    assert list(json.loads(capsys.readouterr().out.strip().splitlines()[-1])) == ['accuracy_top-1']
    columns = json.loads((tmp_path / 'a.json').read_text())
    assert (
        list(columns) == ['class_scores', 'pred_score', 'pred_label', 'pred_class'] and len(columns['pred_score']) == 12
    )


def test_a_detector_takes_the_backbone(trained):
    checkpoint = trained[0] / 'latest.pth'
    cfg = Config.fromfile(ROOT / 'configs' / 'faster_rcnn' / 'faster_rcnn_r18_fpn_shapes.py')
    start = dict(type='Pretrained', checkpoint=str(checkpoint), prefix='backbone.')
    cfg.merge_from_dict(
        {
            'model.backbone.base_channels': 8,
            'model.backbone.stem_channels': 8,
            'model.backbone.init_cfg': start,
            'model.neck.in_channels': [8, 16, 32, 64],
        }
    )
    detector = build_detector(cfg.model)
    detector.init_weights()
    weights = torch.load(checkpoint, weights_only=True)['state_dict']
    taken = {name: value for name, value in detector.state_dict().items() if name.startswith('backbone.')}
    assert taken and all(torch.equal(value, weights[name]) for name, value in taken.items())


def test_single_images(config, trained):
    model = init_detector(config, trained[0] / 'latest.pth', device='cpu')
    rng = np.random.default_rng(5)
    predictions = inference_detector(model, [draw(label, rng) for label in (0, 1, 2)], batch_size=3)
    assert all(isinstance(each, ClassScores) for each in predictions)
    assert [model.CLASSES[each.label] for each in predictions] == list(CLASSES)
    assert inference_detector(model, draw(2, rng)).label == 2


def test_validation_losses_and_averaged_weights(config, tmp_path):
    options = ["workflow=[('train',1),('val',1)]", 'runner.max_epochs=1']
    options += [
        "custom_hooks=[{'type':'EMAHook'}]",
        "model.head.loss={'type':'LabelSmoothLoss','label_smooth_val':0.1}",
    ]
    lines = train(config, tmp_path, '--cfg-options', *options)
    modes = [line['mode'] for line in lines]
    assert modes == ['train'] * 6 + ['val'] * 2
    assert {'loss', 'top-1'} <= set(lines[-1]) | set(lines[-2])


@pytest.mark.slow
def test_kill_9_and_resume(config, tmp_path):
    (tmp_path / 'killed.py').write_text(KILLED.replace('== 3', '== 8'))
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''}

    def run(work, *flags):
        argv = [config, '--work-dir', str(tmp_path / work), '--device', 'cpu', '--seed', '0', *flags]
        options = [] if '--cfg-options' in flags else ['--cfg-options']
        command = [sys.executable, str(tmp_path / 'killed.py'), *argv, *options, 'runner.max_epochs=2']
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)

    assert run('whole').returncode == 0
    assert run('stopped', '--cfg-options', "custom_hooks=[{'type':'PowerCut'}]").returncode == -signal.SIGKILL
    resumed = run('stopped', '--auto-resume')
    assert resumed.returncode == 0 and 'at epoch 1, iteration 6' in resumed.stderr, resumed.stderr
    weights = [torch.load(tmp_path / w / 'epoch_2.pth', weights_only=True)['state_dict'] for w in ('whole', 'stopped')]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ('data.train.data_prefix=nowhere', 'no folder nowhere (ImageNet.data_prefix)'),
        ("data.train.classes=('cat','dog')", '2 classes cat, dog for the 3 folders'),
        ("model.train_cfg={'augments':{'type':'BatchMixup'}}", 'augments'),
        ('model.head.num_classes=7', 'model.head.num_classes is 7, but ImageNet has 3 classes'),
        ('evaluation.metric_option=1', "the nearest is 'metric_options' [evaluation.metric_option at --cfg-options]"),
    ],
)
def test_mistakes_are_explained(config, tmp_path, capsys, change, message):
    with pytest.raises(SystemExit) as stop:
        run_train([config, '--work-dir', str(tmp_path), '--device', 'cpu', '--cfg-options', change])
    assert stop.value.code == 2 and message in capsys.readouterr().err


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--metrics', 'acuracy'], "unknown metric 'acuracy', did you mean 'accuracy'"),
        (['--metrics', 'accuracy', '--metric-options', 'topk=4'], 'top-4 accuracy of 3 classes'),
        (['--metrics', 'recall', '--metric-options', 'average_mode=mean'], "unknown average_mode 'mean'"),
        (['--format-only'], 'ImageNet has no files for a test server, use --out'),
    ],
)
def test_wrong_metrics_are_refused_before_the_test(config, trained, capsys, monkeypatch, flags, message):
    monkeypatch.setattr('mmkit.cli.run_test.predict_dataset', lambda *args: pytest.fail('the test has begun'))
    with pytest.raises(SystemExit) as stop:
        run_test([config, str(trained[0] / 'latest.pth'), *flags])
    assert stop.value.code == 2 and message in capsys.readouterr().err


def test_options_of_classifiers_are_not_for_detectors(tiny, tmp_path, capsys):
    tiny[1].dump(tmp_path / 'cfg.py')
    with pytest.raises(SystemExit):
        run_test([str(tmp_path / 'cfg.py'), str(tiny[2]), '--eval', 'bbox', '--metric-options', 'topk=1'])
    assert '--metric-options is for classifiers, CocoDataset takes --eval-options' in capsys.readouterr().err
