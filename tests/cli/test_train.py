from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmkit.cli.train import build_parser, main, overridden_config
from mmkit.config import Config
from mmkit.engine.hook import Hook
from mmkit.registry import HOOKS
from mmkit.utils.logging import get_logger

ROOT = Path(__file__).resolve().parents[2]
SHORT = [
    'data.samples_per_gpu=2',
    'runner.max_epochs=2',
    'log_config.interval=1',
    'data.train.pipeline.2.img_scale=(64,64)',
]

# A process that dies without a word in iteration 3, or trains on.
KILLED = """
import os, signal, sys
from mmkit.cli.train import main
from mmkit.engine.hook import Hook
from mmkit.registry import HOOKS

@HOOKS.register_module()
class PowerCut(Hook):
    def after_train_iter(self, runner):
        if runner.iter == 3:
            os.kill(os.getpid(), signal.SIGKILL)

sys.exit(main(sys.argv[1:]))
"""


@HOOKS.register_module(force=True)
class SignalHook(Hook):
    """Sends a signal to this process in the first iteration; `ended` tells whether the training ended properly."""

    ended = False

    def __init__(self, number: int) -> None:
        SignalHook.ended = False
        self.number = number

    def after_train_iter(self, runner):
        os.kill(os.getpid(), self.number)

    def after_run(self, runner):
        SignalHook.ended = True


@pytest.fixture
def config(tiny, tmp_path):
    """The path of a config; log files are closed and signals are as before afterwards."""
    tiny[1].dump(tmp_path / 'tiny_cfg.py')
    handler = signal.getsignal(signal.SIGTERM)
    yield str(tmp_path / 'tiny_cfg.py')
    signal.signal(signal.SIGTERM, handler)
    for each in list(get_logger().handlers):
        if hasattr(each, 'baseFilename'):
            get_logger().removeHandler(each)
            each.close()


def arguments(config, work_dir, *flags, options=()):
    return [
        *(config, '--work-dir', str(work_dir), '--device', 'cpu', '--seed', '1', *flags),
        *('--cfg-options', *SHORT, *options),
    ]


def fails(capsys, argv):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_a_training_leaves_everything_in_its_work_dir(config, tmp_path, monkeypatch):
    work, parted = tmp_path / 'work', []
    monkeypatch.setattr('mmkit.utils.dist.leave', lambda: parted.append(True))
    assert main(arguments(config, work)) == 0
    assert parted, 'processes that end without parting may abort'
    saved = Config.fromfile(work / 'tiny_cfg.py')
    assert saved.data.samples_per_gpu == 2 and saved.runner.max_epochs == 2
    (log,) = work.glob('*.log')
    text = log.read_text()
    assert 'git revision: ' in text and 'PyTorch: ' in text and 'samples_per_gpu=2' in text and 'seed 1' in text
    assert 'Epoch [2][1/2]' in text and 'Epoch(val) [2][3]' in text
    first, *lines = [json.loads(line) for line in Path(f'{log}.json').read_text().splitlines()]
    assert first['exp_name'] == 'tiny_cfg.py' and 'mmkit: ' in first['env_info'] and 'max_epochs=2' in first['config']
    assert [line['mode'] for line in lines] == ['train', 'train', 'val'] * 2
    assert {'loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'loss_bbox', 'loss', 'acc'} <= set(lines[0])
    assert 'bbox_mAP_50' in lines[2]
    checkpoint = torch.load(work / 'latest.pth', weights_only=True)
    assert checkpoint['meta']['CLASSES'] == ('dark', 'bright') and checkpoint['meta']['epoch'] == 2
    assert 'max_epochs=2' in checkpoint['meta']['config']

    assert main(arguments(config, work, '--resume-from', str(work / 'latest.pth'), '--no-validate')) == 0


def test_workflow_with_validation_losses(config, tmp_path):
    options = ["workflow=[('train',1),('val',1)]", 'runner.max_epochs=1', 'evaluation=None']
    assert main(arguments(config, tmp_path / 'work', options=options)) == 0
    lines = [json.loads(line) for line in next((tmp_path / 'work').glob('*.json')).read_text().splitlines()[1:]]
    assert [line['mode'] for line in lines] == ['train', 'train', 'val'] and 'loss_rpn_cls' in lines[2]


@pytest.mark.parametrize(('number', 'status'), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_end_the_training_properly(config, tmp_path, number, status):
    argv = arguments(
        config, tmp_path / 'work', options=[f"custom_hooks=[{{'type':'SignalHook','number':{int(number)}}}]"]
    )
    # A test run in the background of a shell ignores interrupts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert main(argv) == status
    except SystemExit as stop:
        assert stop.code == status
    finally:
        signal.signal(signal.SIGINT, before)
    assert SignalHook.ended


@pytest.mark.slow
def test_kill_9_and_resume(config, tmp_path):
    script = tmp_path / 'killed.py'
    script.write_text(KILLED)
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''}

    def run(work, *flags, options=()):
        argv = [sys.executable, str(script), *arguments(config, tmp_path / work, *flags, options=options)]
        return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=300)

    whole = run('whole')
    assert whole.returncode == 0, whole.stderr
    assert run('stopped', options=["custom_hooks=[{'type':'PowerCut'}]"]).returncode == -signal.SIGKILL
    resumed = run('stopped', '--auto-resume')
    assert resumed.returncode == 0, resumed.stderr
    assert 'resumed from' in resumed.stderr and 'at epoch 1, iteration 2' in resumed.stderr
    weights = [torch.load(tmp_path / w / 'epoch_2.pth', weights_only=True)['state_dict'] for w in ('whole', 'stopped')]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


@pytest.mark.parametrize(
    ('flags', 'key', 'value'),
    [
        ([], 'work_dir', 'work_dirs/tiny_cfg'),
        (['--work-dir', 'a/b'], 'work_dir', 'a/b'),
        (['--resume-from', 'a.pth'], 'resume_from', 'a.pth'),
        (['--resume', 'a.pth'], 'resume_from', 'a.pth'),
        (['--resume'], 'auto_resume', True),
        (['--amp'], 'fp16', {'loss_scale': 'dynamic'}),
        (['--load-from', 'a.pth'], 'load_from', 'a.pth'),
        (['--auto-resume'], 'auto_resume', True),
        (['--seed', '0'], 'seed', 0),
        (['--deterministic'], 'deterministic', True),
        (['--device', 'cpu'], 'device', 'cpu'),
        (['--gpu-id', '3'], 'device', 'cuda:3'),
        (['--gpu-ids', '2'], 'device', 'cuda:2'),
    ],
)
def test_flags_change_the_config(config, flags, key, value):
    assert overridden_config(build_parser().parse_args([config, *flags])).get(key) == value


def test_auto_scale(config, tmp_path):
    options = ['--cfg-options', 'auto_scale_lr.base_batch_size=16', 'auto_scale_lr.enable=False']
    cfg = overridden_config(build_parser().parse_args([config, '--auto-scale-lr', *options]))
    assert cfg.auto_scale_lr == {'enable': True, 'base_batch_size': 16}
    assert overridden_config(build_parser().parse_args([config, *options])).auto_scale_lr.enable is False
    work = tmp_path / 'work'
    extra = [
        'auto_scale_lr.base_batch_size=16',
        'lr_config.warmup=None',
        'runner.max_epochs=1',
        'checkpoint_config=None',
    ]
    assert main(arguments(config, work, '--auto-scale-lr', '--no-validate', options=extra)) == 0
    first = json.loads(next(work.glob('*.json')).read_text().splitlines()[1])
    assert first['lr'] == pytest.approx(0.001 * 2 / 16)


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--resume-from', 'x', '--auto-resume'], 'exclude each other'),
        (['--resume', '--auto-resume'], 'exclude each other'),
        (['--device', 'cpu', '--gpu-id', '0'], 'exclude each other'),
        (['--gpus', '2'], 'torchrun'),
        (['--gpu-ids', '0', '1'], 'torchrun'),
        (['--gpu-id', '1', '--launcher', 'pytorch'], 'local rank'),
        (['--launcher', 'pytorch'], 'torchrun'),
        (['--auto-scale-lr', '--cfg-options', 'auto_scale_lr=None'], 'base_batch_size'),
        (['--cfg-options', 'model.backbone.type=ResNot'], 'ResNet'),
        (['--cfg-options', 'data.train.ann_file=nowhere.json'], 'nowhere.json'),
        (['--cfg-options', 'data.train.pipeline.99.x=1'], '99'),
        (
            ['--cfg-options', 'model.backbone.init_cfg={"type":"Pretrained","checkpoint":"no.pth"}'],
            'there is no file no.pth [model.backbone.init_cfg.checkpoint at --cfg-options]',
        ),
        (['--cfg-options', 'optimizer.type=SDG'], "'SDG' is not a registered optimizer; the nearest: SGD"),
        (['--cfg-options', 'optimizer.lrr=1'], "'lrr'; the nearest is 'lr' [optimizer.lrr at --cfg-options]"),
        (['--cfg-options', 'lr_config.policy=stepp'], '[lr_config.policy at --cfg-options]'),
        (['--cfg-options', 'lr_config.warmup_iters=0'], '[lr_config.warmup_iters at --cfg-options]'),
        (['--cfg-options', 'lr_config.min_lrr=1'], "argument 'min_lrr'; the nearest is 'min_lr' [lr_config.min_lrr at"),
        (['--cfg-options', 'lr_config.warmup_iter=1'], "the nearest is 'warmup_iters' [lr_config.warmup_iter at --cfg"),
        (['--cfg-options', 'checkpoint_config.interval=x'], "interval is the text 'x', expected a number"),
        (['--cfg-options', 'workflow=train,1'], "workflow has 'train', expected ('train' or 'val', number)"),
        (['--cfg-options', 'checkpoint_config.intervall=1'], '[checkpoint_config.intervall at --cfg-options]'),
        (['--cfg-options', 'evaluation.metric=bbx'], "did you mean 'bbox'? there are: bbox"),
        (['--cfg-options', 'evaluation.metric=bbx'], '[evaluation.metric at --cfg-options]'),
        (['--cfg-options', 'evaluation.metric=segm'], "metric 'segm' compares masks, and none of the 3 objects of"),
        (['--cfg-options', 'evaluation.class_wise=1'], "the nearest is 'classwise' [evaluation.class_wise at --cfg"),
        (['--cfg-options', 'evaluation.save_best=bbox_map'], "did you mean 'bbox_mAP'? [evaluation.save_best at --cfg"),
        (['--cfg-options', 'evaluation.metric_items=mAP50'], "'mAP50', did you mean 'mAP_50'? there are: "),
        (['--cfg-options', 'runner.max_epoch=1'], "the nearest is 'max_epochs' [runner.max_epoch at --cfg-options]"),
        (['--cfg-options', "custom_hooks=[{'type':'EMAHok'}]"], '[custom_hooks.0.type at --cfg-options]'),
        (['--cfg-options', "custom_hooks=[{'type':'torch.nn.Identity'}]"], 'Identity is no hook: derive it from'),
        (['--cfg-options', 'runner.type=torch.nn.Identity', 'runner.max_epochs=1'], 'Identity is no runner'),
        (['--cfg-options', "custom_hooks=[{'type':'EMAHook','momentun':1}]"], '[custom_hooks.0.momentun at'),
        (['--cfg-options', 'optimizer_config.grad_clip={"max_nrom":1}'], "grad_clip has no 'max_nrom', expected"),
        (['--cfg-options', 'load_from=no.pth'], 'no file no.pth [load_from at --cfg-options]'),
        (
            ['--cfg-options', 'model.roi_head.bbox_head.num_classes=7'],
            'bbox_head.num_classes is 7, but CocoDataset has',
        ),
        (
            ['--cfg-options', 'model.roi_head.bbox_head.num_classes=1', 'custom_hooks=[]'],
            'bbox_head.num_classes is 1, but CocoDataset has',
        ),
        (['--cfg-options', 'data.train.pipeline.1.with_bbox=False'], "has no ['gt_bboxes'], it has"),
        (['--cfg-options', 'data.train.pipeline.1.with_bbox=False'], '[data.train at '),
        (['--cfg-options', 'data.val.img_prefix=nowhere'], 'no image file nowhere/'),
        (['--cfg-options', 'data.val.img_prefix=nowhere'], '[data.val.img_prefix at --cfg-options]'),
        (['--cfg-options', 'model.test_cfg.rcnn.nms.iou_thrs=0.5'], "nms has no argument 'iou_thrs'"),
        (['--no-validate', '--cfg-options', 'data.train.img_prefix=nowhere', 'data.workers_per_gpu=1'], 'nowhere/'),
        (['--no-validate', '--cfg-options', 'model.neck.in_channels=[5,6,7,8]'], '[model.neck.in_channels at --cfg'),
    ],
)
def test_mistakes_are_explained_in_one_line(config, tmp_path, capsys, monkeypatch, flags, message):
    monkeypatch.delenv('RANK', raising=False)
    err = fails(capsys, [config, '--work-dir', str(tmp_path / 'work'), *flags])
    assert message in err and 'Traceback' not in err


def test_validation_with_the_labels_of_other_classes(config, tmp_path, caplog):
    options = ['data.val.classes=bright,dark', 'runner.max_epochs=1']
    assert main(arguments(config, tmp_path / 'work', options=options)) == 0
    assert "data.val has the classes ('bright', 'dark'), data.train has ('dark', 'bright')" in caplog.text


def test_a_config_that_is_not_there(tmp_path, capsys):
    assert 'nowhere.py' in fails(capsys, [str(tmp_path / 'nowhere.py')])


def test_help_teaches_by_example(capsys):
    with pytest.raises(SystemExit) as stop:
        main(['--help'])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert 'examples:' in text and 'torchrun' in text and '--resume' in text
