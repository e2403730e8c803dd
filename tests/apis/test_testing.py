from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import torch

from mmkit.apis import test_detector as run_detector
from mmkit.apis.test import per_class_arrays, write_outputs
from mmkit.config import Config
from mmkit.dialects import read_recipe
from mmkit.engine.parts import build_eval_dataset, build_loader
from mmkit.models import build_detector
from mmkit.structures import EncodedMasks, Instances

DETECTIONS = Instances(
    torch.tensor([[0.0, 0, 4, 4], [1, 1, 3, 5], [0, 0, 2, 2]]), torch.tensor([1, 0, 1]), torch.tensor([0.75, 0.5, 0.25])
)


def build_test_dataset(cfg):
    recipe = read_recipe(cfg, training=False)
    return build_eval_dataset(recipe.test, recipe.source('test'))


def test_dataset_and_loader_of_a_config(tiny):
    cfg = Config(tiny[1])
    cfg.data.test.samples_per_gpu = 2
    dataset = build_test_dataset(cfg)
    assert dataset.test_mode
    assert [len(batch) for batch in build_loader(dataset, read_recipe(cfg).test)] == [2, 1]
    cfg.data.test = [tiny[1].data.test, tiny[1].data.test]
    assert len(build_test_dataset(cfg)) == 6


def test_every_image_is_predicted(tiny):
    _, cfg, _ = tiny
    visited = []
    outputs = run_detector(
        build_detector(cfg.model), build_test_dataset(cfg), cfg, visit=lambda meta, _: visited.append(meta.img_id)
    )
    assert len(outputs) == 3
    assert visited == [10, 11, 12]


class TestFiles:
    def test_arrays_by_class(self):
        arrays = per_class_arrays(DETECTIONS, 3)
        first, second = [[1, 1, 3, 5, 0.5]], [[0, 0, 4, 4, 0.75], [0, 0, 2, 2, 0.25]]
        assert [array.tolist() for array in arrays] == [first, second, []]
        assert {(array.shape[1], array.dtype.name) for array in arrays} == {(5, 'float32')}

    def test_masks_by_class(self):
        detections = DETECTIONS[:2]
        detections.masks = EncodedMasks.from_bitmaps(np.stack([np.ones((6, 6)), np.zeros((6, 6))]))
        _, masks = per_class_arrays(detections, 2)
        assert [[mask['size'] for mask in of_class] for of_class in masks] == [[[6, 6]], [[6, 6]]]
        assert masks[1][0]['counts'] == detections.masks.masks[0]['counts']

    def test_proposals_have_no_classes(self):
        assert [array.tolist() for array in per_class_arrays(Instances(torch.ones(1, 4)), 1)] == [[[1, 1, 1, 1, 1]]]

    def test_pickle(self, tiny, tmp_path):
        outputs = [DETECTIONS, Instances.empty(), DETECTIONS[:1]]
        write_outputs(tmp_path / 'a.pkl', outputs, build_test_dataset(tiny[1]))
        content = pickle.loads((tmp_path / 'a.pkl').read_bytes())
        assert [[len(array) for array in image] for image in content] == [[1, 2], [0, 0], [0, 1]]

    def test_json(self, tiny, tmp_path):
        write_outputs(
            tmp_path / 'a.json', [DETECTIONS[:1], Instances.empty(), DETECTIONS[1:2]], build_test_dataset(tiny[1])
        )
        assert json.loads((tmp_path / 'a.json').read_text()) == [
            {'image_id': 10, 'category_id': 6, 'bbox': [0, 0, 4, 4], 'score': 0.75},
            {'image_id': 12, 'category_id': 5, 'bbox': [1, 1, 2, 4], 'score': 0.5},
        ]

    def test_other_names(self, tiny, tmp_path):
        with pytest.raises(ValueError, match=r"ends in '.csv', expected .pkl or .json"):
            write_outputs(tmp_path / 'a.csv', [], build_test_dataset(tiny[1]))
        with pytest.raises(ValueError, match='list has no COCO ids'):
            write_outputs(tmp_path / 'a.json', [], [])
