"""Help and wrong arguments answer at once: nothing that takes seconds to import is imported for them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mmkit.cli import convert, options
from mmkit.engine.converters import CONVERTERS
from mmkit.utils.dist import LAUNCHERS
from tests.tiny import ROOT

# Runs a command and says on its last line which slow packages it has imported.
RUN = """
import runpy, sys
path, *sys.argv[1:] = sys.argv[1:]
sys.argv[0] = path
try:
    runpy.run_path(path, run_name='__main__')
except SystemExit as stop:
    print(file=sys.stderr)
    print(stop.code or 0, *sorted({'torch', 'torchvision', 'numpy', 'cv2', 'matplotlib'} & set(sys.modules)))
"""
MMKIT = 'mmkit/cli/main.py'
CONFIG = 'configs/faster_rcnn/faster_rcnn_r50_fpn_1x_coco.py'


@pytest.mark.parametrize(
    ('status', 'argv'),
    [
        (0, [MMKIT, '--help']),
        (2, [MMKIT, 'trian']),
        (0, [MMKIT, 'train', '--help']),
        (2, [MMKIT, 'train', CONFIG, '--no-such-option']),
        (2, [MMKIT, 'train', 'nowhere.py']),
        (2, [MMKIT, 'train', CONFIG, '--cfg-options', 'data.train.pipeline.99.x=1']),
        (2, [MMKIT, 'train', CONFIG, '--auto-resume', '--resume-from', 'x.pth']),
        (0, [MMKIT, 'test', '--help']),
        (2, [MMKIT, 'test', CONFIG, 'x.pth']),
        (2, [MMKIT, 'test', 'nowhere.py', 'x.pth', '--eval', 'bbox']),
        (2, [MMKIT, 'test', CONFIG, 'x.pth', '--eval', 'bbox', '--launcher', 'torch']),
        (0, [MMKIT, 'print-config', '--help']),
        (2, [MMKIT, 'print-config', 'nowhere.py']),
        (0, [MMKIT, 'convert', '--help']),
        (2, [MMKIT, 'convert', 'a.pth', 'b.pth', '--from', 'darknet']),
        (2, [MMKIT, 'convert', 'a.pth', 'b.pth', '--from', 'mmdet', '--config', 'nowhere.py']),
        (0, ['tools/train.py', '--help']),
        (0, ['tools/test.py', '--help']),
        (0, ['tools/print_config.py', '--help']),
        (0, ['tools/model_converters/convert.py', '--help']),
        (0, ['tools/make_shapes.py', '--help']),
        (0, ['tools/analysis/plot_curves.py', '--help']),
    ],
    ids=lambda value: ' '.join(value) if isinstance(value, list) else str(value),
)
def test_nothing_slow_is_imported(status, argv):
    command = [sys.executable, '-c', RUN, *argv]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1].split() == [str(status)], done.stderr


def test_choices_are_those_of_the_parts_that_are_imported_later():
    assert options.LAUNCHERS == LAUNCHERS
    assert convert.ORIGINS == tuple(CONVERTERS)
