"""The script of docs/notebook.md, word for word, on a few drawn squares."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import cv2
import pytest
import torch
import torchvision

from mmkit.config import Config
from mmkit.utils.logging import get_logger
from tests.tiny import ROOT, make_dataset, tiny_config

NAMES = 'General trash,Paper,Paper pack,Metal,Glass,Plastic,Styrofoam,Plastic bag,Battery,Clothing'.split(',')
CONFIG = Path('configs/faster_rcnn/faster_rcnn_r50_fpn_1x_coco.py')


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with the data set that the page speaks of."""
    made = make_dataset(tmp_path / 'made', num_images=4)
    content = json.loads((made / 'annotations.json').read_text())
    content['categories'] = [{'id': index, 'name': name} for index, name in enumerate(NAMES)]
    shutil.move(made / 'images', tmp_path / 'dataset' / 'images')
    for image in content['images']:
        image['file_name'] = f'images/{image["file_name"]}'
    for split in ('train', 'test'):
        (tmp_path / 'dataset' / f'{split}.json').write_text(json.dumps(content))
    (tmp_path / CONFIG.parent).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for handler in list(get_logger().handlers):
        if hasattr(handler, 'baseFilename'):
            get_logger().removeHandler(handler)
            handler.close()


def run_page():
    text = (ROOT / 'docs' / 'notebook.md').read_text()
    script = '\n'.join(re.findall(r'```python\n(.*?)```', text, flags=re.DOTALL))
    exec(compile(script, 'docs/notebook.md', 'exec'), {})


def check(place):
    rows = list(csv.DictReader((place / 'submission.csv').read_text().splitlines()))
    assert [row['image_id'] for row in rows] == [f'images/{number}.png' for number in range(4)]
    for row in rows:
        values = [float(word) for word in row['PredictionString'].split()]
        assert len(values) % 6 == 0
        assert all(value in range(10) for value in values[::6])
        assert all(0 <= value <= 64 for start in range(2, 6) for value in values[start::6])
    assert any(row['PredictionString'] for row in rows)
    checkpoints = list((place / 'work_dirs' / 'faster_rcnn_r50_fpn_1x_trash').glob('epoch_*.pth'))
    assert 1 <= len(checkpoints) <= 3
    meta = torch.load(checkpoints[0], weights_only=True)['meta']
    assert list(meta['CLASSES']) == NAMES
    assert 'max_norm=35' in meta['config'].replace(' ', '')
    assert cv2.imread(str(place / 'drawn.png')).shape == (64, 64, 3)


def test_with_a_tiny_network(place):
    cfg = tiny_config(Path('nowhere'))
    cfg.runner.max_epochs = 1
    cfg.dump(place / CONFIG)
    run_page()
    check(place)


@pytest.mark.slow
def test_with_the_config_that_it_names(place, monkeypatch):
    cfg = Config.fromfile(ROOT / CONFIG)
    cfg.runner.max_epochs = 1
    cfg.model.test_cfg.rcnn.score_thr = 0.0
    cfg.dump(place / CONFIG)
    monkeypatch.setenv('MMKIT_HOME', str(place / 'home'))
    (place / 'home' / 'checkpoints').mkdir(parents=True)
    torch.save(torchvision.models.resnet50().state_dict(), place / 'home' / 'checkpoints' / 'resnet50-0676ba61.pth')
    run_page()
    check(place)
