from __future__ import annotations

import argparse

import pytest

from mmkit.cli.mistakes import one_line, stop
from mmkit.ops import check_nms
from mmkit.utils.logging import get_logger, log_to_file

WORKER = (
    "Caught KeyError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n ...\nKeyError: 'x'"
)


@pytest.mark.parametrize(
    ('error', 'line'),
    [
        (ValueError('no'), 'no'),
        (KeyError('no'), 'no'),
        (KeyError(WORKER), "'x'"),
        (RuntimeError(), 'RuntimeError'),
        (FileNotFoundError(2, 'No such file', 'x'), "[Errno 2] No such file: 'x'"),
    ],
)
def test_errors_end_in_one_line(error, line):
    assert one_line(error) == line


def stopped(capsys, call, *arguments):
    with pytest.raises(SystemExit) as ended:
        try:
            call(*arguments)
        except Exception as error:
            stop(argparse.ArgumentParser(prog='train'), error)
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_what_mmkit_raises_itself_is_explained_enough(capsys):
    message = stopped(capsys, check_nms, {'type': 'nsm'})
    assert message.startswith("train: nms_cfg: type is 'nms'") and 'traceback' not in message
    assert stopped(capsys, open, 'none') == "train: [Errno 2] No such file or directory: 'none'\n"


def test_a_fault_inside_of_mmkit_is_not_taken_for_an_explanation(capsys):
    assert '(traceback: ' in stopped(capsys, check_nms, 5)


def test_of_other_errors_the_traceback_is_in_the_log(capsys, tmp_path):
    assert stopped(capsys, int, 'x').endswith("'x' (traceback: with --work-dir in its log)\n")
    handler = log_to_file(tmp_path / 'a.log')
    try:
        message = stopped(capsys, int, 'x')
    finally:
        get_logger().removeHandler(handler)
        handler.close()
    assert message == f"train: invalid literal for int() with base 10: 'x' (traceback: {tmp_path / 'a.log'})\n"
    assert 'Traceback (most recent call last)' in (tmp_path / 'a.log').read_text()
