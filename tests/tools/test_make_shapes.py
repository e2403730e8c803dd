from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

TOOL = Path(__file__).parents[2] / 'tools' / 'make_shapes.py'


def make(out: Path, *more: str) -> dict[str, str]:
    """Runs the tool; the hash of every file by name."""
    command = [sys.executable, str(TOOL), str(out), '--num-train', '6', '--num-val', '2', '--size', '96', *more]
    subprocess.run(command, check=True, capture_output=True)
    files = sorted(path for path in out.rglob('*') if path.is_file())
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_same_arguments_same_files(tmp_path: Path) -> None:
    first, second = make(tmp_path / 'a'), make(tmp_path / 'b')
    assert first == second
    assert len(first) == 6 + 2 + 2
    assert make(tmp_path / 'c', '--seed', '1')['train/00001.png'] != first['train/00001.png']
    assert first['train/00001.png'] != first['val/00001.png']


def test_annotations_fit_the_pictures(tmp_path: Path) -> None:
    make(tmp_path)
    content = json.loads((tmp_path / 'annotations' / 'train.json').read_text())
    assert [category['name'] for category in content['categories']] == ['circle', 'square', 'triangle']
    assert {annotation['image_id'] for annotation in content['annotations']} == {1, 2, 3, 4, 5, 6}
    assert cv2.imread(str(tmp_path / 'train' / content['images'][0]['file_name'])).shape == (96, 96, 3)
    for annotation in content['annotations']:
        x, y, w, h = annotation['bbox']
        polygon = np.array(annotation['segmentation'][0]).reshape(-1, 2)
        np.testing.assert_allclose(polygon.min(0), [x, y], atol=0.02)
        np.testing.assert_allclose(polygon.max(0), [x + w, y + h], atol=0.02)
        assert 0 <= x and 0 <= y and x + w <= 96 and y + h <= 96
        area = cv2.contourArea(polygon.astype(np.float32))
        assert abs(annotation['area'] - area) < 1
