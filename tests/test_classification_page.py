"""The commands and the script of docs/classification.md, on fewer images and for one epoch."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys

import pytest

from mmkit.cli.test import main as run_test
from mmkit.cli.train import main as run_train
from mmkit.utils.logging import get_logger
from tests.tiny import ROOT


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory that has the configs."""
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    monkeypatch.chdir(tmp_path)
    handler = signal.getsignal(signal.SIGTERM)
    yield tmp_path
    signal.signal(signal.SIGTERM, handler)
    for each in list(get_logger().handlers):
        if hasattr(each, 'baseFilename'):
            get_logger().removeHandler(each)
            each.close()


def test_the_page(place, capsys, caplog):
    text = (ROOT / 'docs' / 'classification.md').read_text()
    blocks = re.findall(r'```(?:python)?\n(.*?)```', text, flags=re.DOTALL)
    blocks = [block for block in blocks if not block.startswith(('# not a part', 'data/'))]
    assert len(blocks) == 4
    draw, cut, classify, detect = blocks
    _, *arguments = shlex.split(draw)
    few = ['--num-train', '8', '--num-val', '6']
    subprocess.run([sys.executable, ROOT / arguments[0], *arguments[1:], *few], check=True, capture_output=True)
    exec(compile(cut, 'docs/classification.md', 'exec'), {})

    caplog.set_level('INFO')
    short = ['--device', 'cpu', '--cfg-options', 'runner.max_epochs=1']
    commands = [shlex.split(line) for line in (classify + detect).replace('\\\n', ' ').splitlines()]
    for python, tool, *argv in commands:
        assert python == 'python'
        assert {'tools/train.py': run_train, 'tools/test.py': run_test}[tool]([*argv, *short]) == 0
    assert 'ResNet from work_dirs/pieces/latest.pth: 100 tensors loaded' in caplog.text
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith('{')]
    assert list(printed[-1]) == ['accuracy_top-1', 'accuracy_top-2', 'precision', 'recall', 'f1_score']
    assert (place / 'work_dirs' / 'shapes' / 'latest.pth').exists()
