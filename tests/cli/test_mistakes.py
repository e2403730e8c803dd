from __future__ import annotations

import argparse

import pytest

from mmkit.cli.mistakes import one_line, stop

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
def test_errors_end_in_one_line(capsys, error, line):
    assert one_line(error) == line
    with pytest.raises(SystemExit) as ended:
        stop(argparse.ArgumentParser(prog='train'), error)
    assert ended.value.code == 2 and capsys.readouterr().err == f'train: {line}\n'
