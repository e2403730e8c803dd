"""Pixels, boxes and mask areas after chains of transforms."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from mmkit.transforms import Compose
from tests.parity.recorded import FIGURES, read_json

CASES = read_json('pipeline/expected.json')


def load(image: str) -> dict[str, Any]:
    """A sample as a dataset hands it to its pipeline."""
    truth = read_json(f'pipeline/{image}.json')
    return dict(
        img_info=dict(filename=f'{image}.png', height=truth['height'], width=truth['width'], id=truth['img_id']),
        ann_info=dict(
            bboxes=np.asarray(truth['bboxes'], np.float32),
            labels=np.asarray(truth['labels'], np.int64),
            bboxes_ignore=np.asarray(truth['bboxes_ignore'], np.float32).reshape(-1, 4),
            masks=truth['masks'],
        ),
        img_prefix=str(FIGURES / 'pipeline'),
        seg_prefix=None,
        proposal_file=None,
        bbox_fields=[],
        mask_fields=[],
        seg_fields=[],
    )


def with_tuples(step: dict[str, Any]) -> dict[str, Any]:
    """JSON has made lists of what a config says as tuples, and to Resize a list of two is two scales."""
    step = copy.deepcopy(step)
    step.update({key: tuple(step[key]) for key in ('img_scale', 'size') if isinstance(step.get(key), list)})
    if isinstance(step.get('pad_val'), dict):
        step['pad_val'] = {key: tuple(value) for key, value in step['pad_val'].items()}
    return step


@pytest.mark.parametrize('name', sorted(CASES))
def test_transforms_give_the_recorded_values(name: str) -> None:
    image, _, masks = name.split('/')
    expected = CASES[name]['result']
    steps = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True, with_mask=True, poly2mask=masks == 'bitmap'),
        *(with_tuples(step) for step in CASES[name]['steps']),
    ]
    out = Compose(steps)(load(image))
    assert out is not None

    pixels = np.asarray(out['img'])
    assert list(pixels.shape) == expected['img']['shape']
    values = pixels.reshape(-1).astype(np.float64)[np.linspace(0, pixels.size - 1, 256).astype(np.int64)]
    tolerance = 1.0 if expected['img']['dtype'] == 'uint8' else 0.03
    np.testing.assert_allclose(values, expected['img']['samples'], rtol=0, atol=tolerance)

    assert list(out['img_shape'])[:2] == expected['img_shape'][:2]
    assert bool(out.get('flip', False)) == expected['flip']
    for key in ('gt_bboxes', 'gt_bboxes_ignore', 'scale_factor'):
        ours, theirs = np.asarray(out[key], np.float64), np.asarray(expected[key], np.float64)
        np.testing.assert_allclose(ours.reshape(-1), theirs.reshape(-1), rtol=0, atol=1e-2, err_msg=key)
    areas = np.asarray(expected['mask_areas'])
    np.testing.assert_allclose(out['gt_masks'].areas, areas, rtol=0, atol=2 + 0.002 * areas.max())
