from __future__ import annotations

import logging

import pytest

from mmkit.utils.logging import get_logger, log_to_file, warn_once


@pytest.fixture
def log_file(tmp_path):
    handler = log_to_file(tmp_path / 'run' / 'x.log')
    yield tmp_path / 'run' / 'x.log'
    handler.close()
    get_logger().removeHandler(handler)


def test_repeated_calls_add_no_handlers():
    handlers = list(get_logger().handlers)
    get_logger('mmkit.engine')
    assert get_logger().handlers == handlers


def test_a_file_gets_the_messages_of_every_room(log_file):
    get_logger('mmkit.engine').info('epoch %d', 3)
    assert log_file.read_text().endswith('mmkit.engine - INFO - epoch 3\n')


def test_a_second_file_replaces_the_first(log_file, tmp_path):
    second = log_to_file(tmp_path / 'second.log')
    get_logger().info('now here')
    assert not log_file.exists()
    assert 'now here' in (tmp_path / 'second.log').read_text()
    second.close()
    get_logger().removeHandler(second)


def test_only_the_first_process_writes(log_file, monkeypatch):
    monkeypatch.setenv('RANK', '1')
    get_logger().warning('from another process')
    get_logger().error('broken')
    assert 'from another' not in log_file.read_text()
    assert 'broken' in log_file.read_text()


def test_the_terminal_is_left_to_a_program_that_set_up_logging(capsys, monkeypatch):
    root = logging.getLogger()
    assert root.handlers, 'pytest has its own'
    get_logger().info('to pytest')
    assert capsys.readouterr().err == ''
    monkeypatch.setattr(root, 'handlers', [])
    get_logger().info('to stderr')
    assert 'to stderr' in capsys.readouterr().err


def test_warn_once(caplog):
    for _ in range(3):
        warn_once('a warning of the test of warn_once')
    assert len(caplog.records) == 1
