import subprocess
import sys
from pathlib import Path

import pytest

from mmkit.cli import main as command
from mmkit.cli.print_config import main
from mmkit.config import Config

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('base.py').write_text('model = dict(\n    type="A",\n    n=[1, 2])\n')
    Path('top.py').write_text("_base_ = 'base.py'\nmodel = dict(type='B')\nx = 1\n")


def test_prints_python_that_reads_back(files, capsys):
    assert main(['top.py']) == 0
    text = capsys.readouterr().out
    assert text == "model = dict(type='B', n=[1, 2])\nx = 1\n"
    assert Config.fromstring(text) == Config.fromfile('top.py')


def test_origin(files, capsys):
    assert main(['top.py', '--origin', '--cfg-options', 'model.k=x,y']) == 0
    assert capsys.readouterr().out.splitlines() == [
        "model.type = 'B'  # top.py:2",
        'model.n = [1, 2]  # base.py:3',
        "model.k = ['x', 'y']  # --cfg-options",
        'x = 1  # top.py:3',
    ]


def test_diff(files, capsys):
    assert main(['base.py', '--diff', 'top.py']) == 0
    assert capsys.readouterr().out.splitlines() == ["- model.type = 'A'", "+ model.type = 'B'", '+ x = 1']
    assert main(['base.py', '--diff', 'top.py', '--origin']) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["+ model.type = 'B'  # top.py:2", '+ x = 1  # top.py:3']
    assert main(['top.py', '--diff', 'top.py']) == 0
    assert capsys.readouterr().out == 'no difference\n'


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['tip.py'], 'tip.py does not exist; the nearest in its folder: top.py'),
        (['top.py', '--cfg-options', 'model.n.5=1'], 'index 5 is outside the list of 2'),
        (['unsafe.py'], '--trust-config'),
    ],
)
def test_errors_are_one_message(files, capsys, args, message):
    Path('unsafe.py').write_text('import math\nx = math.pi')
    with pytest.raises(SystemExit) as caught:
        main(args)
    assert caught.value.code == 2 and message in capsys.readouterr().err


def test_trust(files, capsys):
    Path('unsafe.py').write_text('import math\nx = math.floor(2.5)')
    assert main(['unsafe.py', '--trust-config']) == 0
    assert capsys.readouterr().out == 'x = 2\n'


def test_tool_and_command_do_the_same(files):
    calls = ([str(ROOT / 'tools' / 'print_config.py')], ['-m', 'mmkit.cli.main', 'print-config'])
    outs = [
        subprocess.run([sys.executable, *call, 'top.py'], capture_output=True, env=None, text=True) for call in calls
    ]
    assert outs[0].stdout == outs[1].stdout == "model = dict(type='B', n=[1, 2])\nx = 1\n"


def test_command_dispatches_by_name(files, capsys, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['mmkit'])
    assert command.main(['print-config', 'base.py']) == 0
    assert 'model' in capsys.readouterr().out
    assert command.main(['print-confg']) == 2
    assert 'did you mean print-config?' in capsys.readouterr().err
    assert command.main(['--help']) == 0 and command.main([]) == 2
    assert 'print-config  show a config' in capsys.readouterr().out


def test_a_config_in_the_other_dialect(capsys, tmp_path):
    path = str(Path(__file__).parents[2] / 'configs' / 'retinanet' / 'retinanet_r50_fpn_1x_coco.py')
    assert main([path, '--as', '3']) == 0
    text = capsys.readouterr().out
    assert 'optim_wrapper = dict(' in text and "type='PackDetInputs'" in text
    (tmp_path / 'in_3x.py').write_text(text)
    assert main([str(tmp_path / 'in_3x.py'), '--as', '2']) == 0
    text = capsys.readouterr().out
    assert "policy='step'" in text and 'step=[8, 11]' in text and "type='Collect'" in text
    assert main([path, '--as', '2']) == 0
    assert 'optimizer = dict(' in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([path, '--as', '3', '--origin'])
