from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from mmkit.datasets import build_dataloader
from mmkit.engine.hooks.eval_hook import EvalHook
from mmkit.engine.hooks.visualization import DetVisualizationHook, draw_to_file
from mmkit.structures import ClassScores, ImageMeta, Instances
from tests.engine.toys import ToyDataset, runner_of


class Pictures(ToyDataset):
    """Each image is a file."""

    def __init__(self, folder, length=4):
        super().__init__(length)
        self.folder = folder
        for index in range(length):
            cv2.imwrite(str(folder / f'{index}.png'), np.full((8, 8, 3), 40 * index, np.uint8))

    def get(self, index, rng):
        sample = super().get(index, rng)
        sample.meta.filename = str(self.folder / f'{index}.png')
        return sample


def test_some_images_of_an_evaluation_are_drawn(tmp_path):
    runner = runner_of(max_epochs=2, work_dir=tmp_path / 'run', timestamp='now')
    (tmp_path / 'images').mkdir()
    dataset = Pictures(tmp_path / 'images')
    runner.register_hook(EvalHook(build_dataloader(dataset, 3, 0, shuffle=False)))
    runner.register_hook(DetVisualizationHook(draw=True, interval=3))
    runner.register_hook(DetVisualizationHook())
    runner.run([build_dataloader(ToyDataset(4), 2, 0)])  # evaluations after 2 and 4 iterations
    drawn = tmp_path / 'run' / 'now' / 'vis_data' / 'vis_image'
    assert sorted(path.name for path in drawn.iterdir()) == ['val_img_3.png', 'val_img_6.png']
    assert cv2.imread(str(drawn / 'val_img_3.png'))[4, 4, 0] == 40


def meta_of(path):
    return ImageMeta(str(path), path.name, 0, (8, 8), (8, 8), (8, 8), np.ones(4, np.float32))


def test_boxes_have_the_colour_of_their_class_and_classes_their_name(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((64, 64, 3), np.uint8))
    box = Instances(torch.tensor([[20.0, 20.0, 60.0, 60.0]]), torch.tensor([0]), torch.tensor([0.9]))
    draw_to_file(tmp_path / 'b.png', meta_of(tmp_path / 'a.png'), box, ['cat'], [(255, 0, 0)])
    assert cv2.imread(str(tmp_path / 'b.png'))[60, 40].tolist() == [0, 0, 255]
    draw_to_file(tmp_path / 'c.png', meta_of(tmp_path / 'a.png'), box, ['cat'], score_thr=0.95)
    assert not cv2.imread(str(tmp_path / 'c.png')).any()
    draw_to_file(tmp_path / 'd.png', meta_of(tmp_path / 'a.png'), ClassScores(torch.tensor([1.0])), ['cat'])
    assert cv2.imread(str(tmp_path / 'd.png')).any()
    with pytest.raises((OSError, cv2.error)):
        draw_to_file(tmp_path / 'e.unknown', meta_of(tmp_path / 'a.png'), box)


@pytest.mark.parametrize('arguments', [{'show': True}, {'wait_time': 2.0}, {'interval': 0}, {'interval': 1.5}])
def test_wrong_arguments(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        DetVisualizationHook(**arguments)
