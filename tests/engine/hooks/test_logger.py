from __future__ import annotations

import json

import pytest

from mmkit.apis import train_detector
from mmkit.engine.hooks.logger import LoggerHook, ProgressHook
from tests.engine.toys import ToyDataset, run_with, toy_config, toy_model


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
    run_with(lines, epochs=2)
    assert lines.records == expected
    with pytest.raises(ValueError, match='interval'):
        Lines(interval=0)


def test_loggers_average_over_their_interval():
    class Values(LoggerHook):
        seen = []

        def after_train_iter(self, runner):
            self.seen.append(runner.losses['loss'])
            super().after_train_iter(runner)

        def write(self, runner, record):
            self.seen.append(('mean', record.values['loss']))

    run_with(Values(interval=4, reset_flag=True))
    *losses, (_, mean) = Values.seen
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
    run_with(bar, epochs=2)
    assert bar.bar.n == bar.bar.total == 8
