"""docs/extend.md, followed literally."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmkit import Config
from mmkit.registry import HEADS
from tests.tiny import CLASSES, ROOT, make_dataset

PAGE = (ROOT / 'docs' / 'extend.md').read_text()
FILES = dict(re.findall(r'^`(projects/\S+)`:\n\n```\w+\n(.*?)^```$', PAGE, flags=re.MULTILINE | re.DOTALL))
CONFIG = 'projects/one_tower/one_tower_r18_fpn_shapes.py'


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with the page's files where it says, beside the configs."""
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path


def python(clone: Path, *arguments: str) -> str:
    """Run Python in the clone with the page's PYTHONPATH, and return what it says."""
    path = os.pathsep.join([str(clone / 'projects'), str(ROOT)])
    env = {**os.environ, 'PYTHONPATH': path, 'PYTHONDONTWRITEBYTECODE': '1'}
    run = subprocess.run([sys.executable, *arguments], cwd=clone, env=env, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_the_page_has_five_steps_and_their_files() -> None:
    assert re.findall(r'^## (\d)\.', PAGE, flags=re.MULTILINE) == ['1', '2', '3', '4', '5']
    assert sorted(Path(name).name for name in FILES) == sorted(
        ['README.md', '__init__.py', 'one_tower_head.py', 'one_tower_r18_fpn_shapes.py', 'test_one_tower.py']
    )


def test_the_head_trains(clone: Path) -> None:
    """Two iterations and an evaluation of the page's config, on other images."""
    images = make_dataset(clone / 'data')
    options = ['data.samples_per_gpu=2', 'runner.max_epochs=1', 'model.bbox_head.num_classes=2']
    for split in ('train', 'val'):
        options += [f'data.{split}.classes={",".join(CLASSES)}', f'data.{split}.img_prefix={images}/images']
        options += [f'data.{split}.ann_file={images}/annotations.json']
    python(clone, str(ROOT / 'tools/train.py'), CONFIG, '--trust-config', '--device', 'cpu', '--cfg-options', *options)
    weights = torch.load(clone / 'work_dirs/one_tower_r18_fpn_shapes/latest.pth')['state_dict']
    heads = {name.split('.')[1] for name in weights if name.startswith('bbox_head')}
    assert heads == {'tower', 'retina_cls', 'retina_reg'}


def test_the_test_passes(clone: Path) -> None:
    assert '5 passed' in python(clone, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', 'projects/one_tower')


def test_without_trust_nothing_is_imported(clone: Path) -> None:
    with pytest.warns(UserWarning, match='--trust-config'):
        Config.fromfile(str(clone / CONFIG))
    assert 'one_tower.one_tower_head' not in sys.modules and 'OneTowerHead' not in HEADS
