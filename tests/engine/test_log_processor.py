from __future__ import annotations

import pytest

from mmkit.engine.hook import Record
from mmkit.engine.log_processor import LogProcessor
from mmkit.engine.meters import Meters
from tests.engine.toys import loaders_of, runner_of


def meters_of(**histories):
    meters = Meters(window=100)
    for name, values in histories.items():
        for value in values:
            meters.update({name: value}, weight=7)
    return meters


def test_means_are_of_a_window_and_other_figures_are_the_latest():
    meters = meters_of(loss=[9, 1, 2, 6], acc=[10, 20])
    assert LogProcessor(window_size=3).figures(meters, 4) == {'loss': 3, 'acc': 20}
    assert LogProcessor(window_size=2, mean_pattern='acc').figures(meters, 4) == {'loss': 6, 'acc': 15}


@pytest.mark.parametrize(
    ('cfg', 'expected'),
    [
        ({'data_src': 'loss', 'log_name': 'best', 'method_name': 'min', 'window_size': 3}, {'loss': 6, 'best': 1}),
        ({'data_src': 'loss', 'method_name': 'max', 'window_size': 'epoch'}, {'loss': 6}),
        ({'data_src': 'loss', 'log_name': 'all', 'window_size': 'global'}, {'loss': 6, 'all': 4.5}),
        ({'data_src': 'loss', 'log_name': 'now', 'method_name': 'current'}, {'loss': 6, 'now': 6}),
        ({'data_src': 'nothing', 'log_name': 'now'}, {'loss': 6}),
    ],
)
def test_more_figures(cfg, expected):
    meters = meters_of(loss=[9, 1, 2, 6])
    assert LogProcessor(window_size=1, custom_cfg=[cfg]).figures(meters, 2) == expected


def test_windows_decide_what_is_kept():
    meters = Meters(window=1)
    LogProcessor(window_size=3).widen(meters, 5, 50)
    assert meters.window == 3
    LogProcessor(custom_cfg=[{'data_src': 'loss', 'window_size': 'global'}]).widen(meters, 5, 50)
    assert meters.window == 50


def test_lines():
    runner = runner_of(max_epochs=12)
    runner.train_loader, runner.epoch, runner.iter, runner.inner_iter = loaders_of(240)[0], 2, 250, 10
    runner.max_iters = 1440
    values = {'lr': 0.02, 'loss': 0.5, 'time': 0.25, 'memory': 100}
    record = Record('train', 3, 250, values)
    line = LogProcessor(num_digits=3).line(runner, record, '0:05:00')
    assert line == 'Epoch(train) [ 3][ 10/120]  lr: 2.000e-02  eta: 0:05:00  time: 0.250  memory: 100  loss: 0.500'
    assert LogProcessor(by_epoch=False).line(runner, record, None).startswith('Iter(train) [ 250/1440]  lr: 2.0000e-02')
    val = Record('val', 3, 40, {'coco/bbox_mAP': 0.5, 'table': 'a'})
    assert LogProcessor().line(runner, val, None) == 'Epoch(val) [3][40/40]  coco/bbox_mAP: 0.5000  table: a'
    assert LogProcessor(by_epoch=False).line(runner, val, None).startswith('Iter(val) [40]')
    assert LogProcessor(log_with_hierarchy=True).tags(val) == {'val/coco/bbox_mAP': 0.5, 'val/table': 'a'}


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'window_size': 0}, 'window_size is 0'),
        ({'window_size': 'epoch'}, 'expected a whole number'),
        ({'custom_cfg': [{'data_src': 'loss', 'method_name': 'median'}]}, "method_name is 'median'"),
        ({'custom_cfg': [{'data_src': 'loss', 'window': 1}]}, "no argument 'window'; the nearest is 'window_size'"),
        ({'custom_cfg': [{'data_src': 'loss', 'window_size': 'epoch'}], 'by_epoch': False}, 'needs by_epoch'),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        LogProcessor(**arguments)
