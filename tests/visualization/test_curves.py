from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import pytest

from mmkit.visualization.curves import curve, default_keys, plot_curves, read_log

RECORDS: list[dict[str, Any]] = [
    dict(seed=0, exp_name='x'),
    dict(mode='train', epoch=1, iter=5, loss_cls=2.0, loss=3.0, lr=0.1),
    dict(mode='train', epoch=1, iter=10, loss_cls=1.0, loss=2.0, lr=0.1),
    dict(mode='val', epoch=1, iter=7, bbox_mAP=0.25, bbox_mAP_copypaste='0.250 0.500'),
    dict(mode='train', epoch=2, iter=5, loss_cls=0.5, loss=1.0, lr=0.1),
    dict(mode='val', epoch=2, iter=7, bbox_mAP=0.5, bbox_mAP_l=-1.0, bbox_mAP_copypaste='0.500 0.900'),
]


def written(tmp_path: Path, records: list[dict[str, Any]] = RECORDS) -> Path:
    path = tmp_path / 'run.log.json'
    path.write_text('\n'.join(json.dumps(record) for record in records) + '\n')
    return path


def test_points_are_in_epochs(tmp_path: Path) -> None:
    records = read_log(written(tmp_path))
    assert len(records) == 5
    assert curve(records, 'loss') == ([0.5, 1.0, 1.5], [3.0, 2.0, 1.0])
    assert curve(records, 'bbox_mAP') == ([1.0, 2.0], [0.25, 0.5])


def test_points_are_in_iterations_if_there_is_one_epoch(tmp_path: Path) -> None:
    records = read_log(written(tmp_path, RECORDS[:3]))
    assert curve(records, 'loss') == ([5.0, 10.0], [3.0, 2.0])


def test_a_log_of_3x(tmp_path: Path) -> None:
    records = [
        dict(lr=0.1, loss=3.0, epoch=1, iter=5, step=5),
        dict(lr=0.1, loss=2.0, epoch=1, iter=10, step=10),
        {'coco/bbox_mAP': 0.25, 'bbox_mAP/cat': 0.5, 'step': 1},
        dict(lr=0.1, loss=1.0, epoch=2, iter=15, step=15),
        {'coco/bbox_mAP': 0.5, 'step': 2},
    ]
    read = read_log(written(tmp_path, records))
    assert curve(read, 'loss') == ([0.5, 1.0, 1.5], [3.0, 2.0, 1.0])
    assert curve(read, 'coco/bbox_mAP') == ([1.0, 2.0], [0.25, 0.5])
    assert default_keys(read) == ['loss', 'coco/bbox_mAP']
    by_iteration = [dict(loss=3.0, iter=5, step=5), {'coco/bbox_mAP': 0.25, 'step': 8}]
    read = read_log(written(tmp_path, by_iteration))
    assert curve(read, 'loss') == ([5.0], [3.0]) and curve(read, 'coco/bbox_mAP') == ([8.0], [0.25])


def test_losses_and_metrics_are_drawn_by_default(tmp_path: Path) -> None:
    log = written(tmp_path)
    assert default_keys(read_log(log)) == ['loss_cls', 'loss', 'bbox_mAP']
    out = plot_curves(log, tmp_path / 'pictures' / 'curves.png')
    image = cv2.imread(str(out))
    assert image.shape[1] > image.shape[0]
    assert image.std() > 0


def test_unknown_keys_and_broken_lines(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='has no segm_mAP; it has: bbox_mAP'):
        plot_curves(written(tmp_path), tmp_path / 'curves.png', ['segm_mAP'])
    with pytest.raises(ValueError, match='has no losses'):
        plot_curves(written(tmp_path, RECORDS[:1]), tmp_path / 'curves.png')
    (tmp_path / 'broken.json').write_text('{"mode": "train"}\n{"mode": ')
    with pytest.raises(ValueError, match=r'broken.json:2: not a line of JSON'):
        read_log(tmp_path / 'broken.json')
