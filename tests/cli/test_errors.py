from __future__ import annotations

import argparse

import pytest

from mmkit.cli.errors import errors_in_one_line, one_line
from mmkit.config import Config
from mmkit.errors import ConfigError, MissingFileError
from mmkit.registry import BACKBONES
from mmkit.utils.logging import get_logger, log_to_file

WORKER = """Caught MissingFileError in DataLoader worker process 0.
Original Traceback (most recent call last):
  ...
mmkit.errors.MissingFileError: there is no image file 'x: y'
"""


@pytest.mark.parametrize(
    ('error', 'line'),
    [
        (ConfigError('no', 'model.neck', 'a.py:3'), 'no [model.neck at a.py:3]'),
        (MissingFileError(WORKER), "there is no image file 'x: y'"),
        (ConfigError(''), 'ConfigError'),
        (FileNotFoundError(2, 'No such file', 'x'), "[Errno 2] No such file: 'x'"),
    ],
)
def test_errors_end_in_one_line(error, line):
    assert one_line(error) == line


@pytest.fixture
def log(tmp_path):
    handler = log_to_file(tmp_path / 'a.log')
    yield tmp_path / 'a.log'
    get_logger().removeHandler(handler)
    handler.close()


def stopped(capsys, call, *arguments):
    with pytest.raises(SystemExit) as ended, errors_in_one_line(argparse.ArgumentParser(prog='train')):
        call(*arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_mistakes_of_users_are_explained_enough(capsys, log):
    message = stopped(capsys, BACKBONES.build, {'type': 'ResNeet'})
    assert message.startswith("train: 'ResNeet' is not a registered backbone") and 'traceback' not in message
    assert stopped(capsys, open, 'none') == "train: [Errno 2] No such file or directory: 'none'\n"
    assert 'Traceback (most recent call last)' in log.read_text()


def fail_in_a_part():
    try:
        int('x')
    except ValueError as error:
        raise ConfigError(str(error), 'model.neck', 'a.py:3') from error


def test_of_an_error_in_a_part_the_line_says_where_the_traceback_is(capsys, tmp_path):
    line = "train: invalid literal for int() with base 10: 'x' [model.neck at a.py:3] (traceback: "
    assert stopped(capsys, fail_in_a_part) == f'{line}with --work-dir in its log)\n'
    handler = log_to_file(tmp_path / 'a.log')
    try:
        assert stopped(capsys, fail_in_a_part) == f'{line}{tmp_path / "a.log"})\n'
    finally:
        get_logger().removeHandler(handler)
        handler.close()


def test_of_a_config_that_cannot_be_evaluated_the_line_is_enough(capsys, tmp_path):
    (tmp_path / 'a.py').write_text('x = 1 / 0')
    message = stopped(capsys, Config.fromfile, tmp_path / 'a.py')
    assert message.endswith('a.py:1: x = 1 / 0\n  ZeroDivisionError: division by zero\n')


def test_faults_in_code_keep_their_traceback(log):
    with pytest.raises(ZeroDivisionError), errors_in_one_line(argparse.ArgumentParser()):
        print(1 // 0)
    assert 'Traceback (most recent call last)' in log.read_text()
