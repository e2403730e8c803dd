from __future__ import annotations

import json

import pytest

from mmkit.apis import train_detector
from mmkit.engine.hooks.vis_logger import VisLoggerHook
from tests.engine.test_resume import Killed
from tests.engine.toys import ToyDataset, run_with, toy_config, toy_model

LOSSES = {'loss', 'loss_bbox', 'loss_cls', 'acc', 'grad_norm'}


def train(work_dir, length=12, custom_hooks=(), processor=None, auto_resume=False, runner=None, **logger):
    hook = {'type': 'LoggerHook', 'interval': 2, 'processor': processor or {}, **logger}
    cfg = toy_config(
        work_dir, evaluation={'interval': 1}, custom_hooks=list(custom_hooks), auto_resume=auto_resume,
        checkpoint_config={'interval': 1}, runner=runner or {'type': 'EpochBasedRunner', 'max_epochs': 2},
    )  # fmt: skip
    cfg['log_config'] = {'hooks': [hook], 'interval': 2}
    return train_detector(toy_model(), ToyDataset(length), cfg, validate=True)


def lines_of(runner):
    text = (runner.work_dir / runner.timestamp / 'vis_data' / 'scalars.json').read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_figures_of_training_and_evaluation(tmp_path, caplog):
    runner = train(tmp_path)
    training = [line for line in lines_of(runner) if 'loss' in line]
    assert [(line['epoch'], line['iter'], line['step']) for line in training] == [
        *((1, i, i) for i in (2, 4, 6)),
        *((2, i, i) for i in (8, 10, 12)),
    ]
    assert set(training[0]) == {'lr', 'data_time', 'time', 'epoch', 'iter', 'step', *LOSSES}
    assert [line for line in lines_of(runner) if 'bbox_mAP' in line] == [
        {'bbox_mAP': 4.0, 'step': 1},
        {'bbox_mAP': 4.0, 'step': 2},
    ]
    text = [record.getMessage() for record in caplog.records]
    assert any(line.startswith('Epoch(train) [1][2/6]  lr: 1.6250e-02  eta: 0:00:00  time: ') for line in text)
    assert 'Epoch(val) [2][4/4]  bbox_mAP: 4.0000' in text


def test_iterations(tmp_path):
    processor = {'by_epoch': False, 'log_with_hierarchy': True}
    runner = train(tmp_path, runner={'type': 'IterBasedRunner', 'max_iters': 4}, processor=processor)
    lines = lines_of(runner)
    assert [line['step'] for line in lines if 'train/loss' in line] == [2, 4]
    assert {line['step'] for line in lines if 'val/bbox_mAP' in line} == {1, 2, 3, 4}
    assert 'epoch' not in lines[0]


def test_an_epoch_shorter_than_the_interval_has_its_line():
    for arguments, expected in [
        ({'interval': 9}, [4]),
        ({'interval': 3}, [3]),
        ({'interval': 3, 'ignore_last': False}, [3, 4]),
    ]:
        steps = []
        hook = VisLoggerHook(backends=[], **arguments)
        hook.write = lambda runner, record, steps=steps: steps.append(record.iter)
        run_with(hook, length=8)
        assert steps == expected


def test_a_resumed_training_logs_the_same(tmp_path):
    processor = {'custom_cfg': [{'data_src': 'loss', 'log_name': 'long', 'window_size': 'global'}]}
    whole = train(tmp_path / 'whole', processor=processor)
    with pytest.raises(Killed):
        train(tmp_path / 'stopped', processor=processor, custom_hooks=[{'type': 'KillHook', 'at': 7}])
    resumed = train(tmp_path / 'stopped', processor=processor, auto_resume=True)
    timeless = [
        [{key: value for key, value in line.items() if 'time' not in key} for line in lines_of(each) if 'loss' in line]
        for each in (whole, resumed)
    ]
    assert timeless[0][-3:] == timeless[1][-3:]


def test_files_are_copied(tmp_path):
    runner = train(tmp_path / 'run', out_dir=str(tmp_path / 'far'), keep_local=False, interval_exp_name=1)
    copied = tmp_path / 'far' / 'run' / runner.timestamp / 'vis_data'
    assert sorted(path.name for path in copied.iterdir()) == ['config.py', 'scalars.json']
    assert not (tmp_path / 'run' / runner.timestamp / 'vis_data' / 'scalars.json').exists()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'processor': {'windw_size': 3}}, "no argument 'windw_size'; the nearest is 'window_size'"),
        ({'backends': [{'type': 'AimVisBackend'}]}, "'AimVisBackend' is not a registered visualization backend"),
        ({'interval': 0}, 'interval'),
        ({'backend_args': {'backend': 'petrel'}}, 'only'),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises((TypeError, ValueError, KeyError), match=message):
        VisLoggerHook(**arguments)
