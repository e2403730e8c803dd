from __future__ import annotations

import copy

import cv2
import numpy as np
import pytest
import torch

from mmkit.apis import inference_detector, init_detector, show_result, show_result_pyplot
from mmkit.apis.inference import inference_pipeline
from mmkit.config import Config
from mmkit.structures import Instances
from mmkit.transforms import Compose
from tests.tiny import CLASSES, save_weights


@pytest.fixture(scope='module')
def model(tiny):
    _, cfg, checkpoint = tiny
    return init_detector(cfg, checkpoint, device='cpu')


def same(a, b):
    torch.testing.assert_close((a.bboxes, a.labels, a.scores), (b.bboxes, b.labels, b.scores))


class TestInit:
    def test_from_a_file(self, tiny, tmp_path, model):
        _, cfg, checkpoint = tiny
        cfg.dump(tmp_path / 'cfg.py')
        other = init_detector(tmp_path / 'cfg.py', str(checkpoint), 'cpu', {'model.test_cfg.rcnn.max_per_img': 2})
        assert not other.training
        assert other.CLASSES == CLASSES
        assert other.roi_head.test_cfg.max_per_img == 2
        assert other.cfg.model.test_cfg.rcnn.max_per_img == 2
        assert cfg.model.test_cfg.rcnn.max_per_img == 5
        for name, value in model.state_dict().items():
            assert torch.equal(value, other.state_dict()[name])

    def test_without_weights_the_config_names_the_classes(self, tiny):
        assert init_detector(tiny[1], device='cpu').CLASSES == CLASSES

    def test_nobody_names_the_classes(self, tiny, caplog):
        cfg = Config({'model': tiny[1].model})
        assert init_detector(cfg, device='cpu').CLASSES is None
        assert 'names the classes' in caplog.text

    def test_a_single_class_stored_as_text(self, tiny, tmp_path):
        checkpoint = save_weights(tmp_path / 'a.pth', tiny[1], CLASSES='person')
        assert init_detector(tiny[1], checkpoint, 'cpu').CLASSES == ('person',)

    def test_without_a_gpu(self, tiny, monkeypatch):
        monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
        assert next(init_detector(tiny[1], device='cuda:0').parameters()).device.type == 'cpu'

    def test_mistakes(self, tiny, tmp_path):
        with pytest.raises(TypeError, match='config is a int, expected a path or a Config'):
            init_detector(3)
        with pytest.raises(FileNotFoundError, match=r'no file .*none\.pth'):
            init_detector(tiny[1], tmp_path / 'none.pth')


class TestInference:
    def test_path_array_and_list_agree(self, tiny, model):
        path = tiny[0] / 'images' / '0.png'
        array = cv2.imread(str(path))
        before = array.copy()
        one = inference_detector(model, str(path))
        assert isinstance(one, Instances)
        assert 0 < len(one) <= 5
        same(inference_detector(model, array), one)
        assert (array == before).all()
        for batch_size in (1, 3):
            several = inference_detector(model, [path, array, str(path)], batch_size=batch_size)
            assert len(several) == 3
            for each in several:
                same(each, one)
        assert inference_detector(model, []) == []

    def test_several_views(self, tiny):
        cfg = Config(tiny[1])
        cfg.data.test.pipeline[1].update(flip=True, img_scale=[(64, 64), (96, 96)])
        detections = inference_detector(init_detector(cfg, tiny[2], 'cpu'), np.zeros((40, 50, 3), np.uint8))
        assert 0 < len(detections) <= 5
        assert (detections.bboxes >= 0).all()
        assert (detections.bboxes <= torch.tensor([50, 40, 50, 40])).all()

    def test_another_pipeline(self, tiny, model):
        path = str(tiny[0] / 'images' / '0.png')
        steps = tiny[1].data.test.pipeline
        same(inference_detector(model, path, test_pipeline=steps), inference_detector(model, path))
        smaller = copy.deepcopy(steps)
        smaller[1].img_scale = (32, 32)
        other = inference_detector(model, path, test_pipeline=smaller)
        assert not torch.equal(other.scores, inference_detector(model, path).scores)
        same(inference_detector(model, path, test_pipeline=Compose(smaller)), other)

    def test_the_mode_of_the_model_stays(self, tiny):
        model = init_detector(tiny[1], tiny[2], 'cpu').train()
        inference_detector(model, np.zeros((32, 32, 3), np.uint8))
        assert model.training

    @pytest.mark.parametrize('shape', [(32, 32), (32, 32, 4), (0, 32, 3)])
    def test_not_an_image(self, model, shape):
        with pytest.raises(ValueError, match=r'an image must be \(H, W, 3\) uint8 BGR, got'):
            inference_detector(model, np.zeros(shape, np.uint8))

    def test_a_missing_file(self, model):
        with pytest.raises(FileNotFoundError, match=r'none\.png'):
            inference_detector(model, 'none.png')

    def test_a_model_without_config(self):
        with pytest.raises(ValueError, match='the model has no config: make it with init_detector'):
            inference_detector(torch.nn.Linear(1, 1), 'a.png')


class TestPipeline:
    STEPS = [{'type': 'LoadImageFromWebcam'}, {'type': 'Collect'}]

    @pytest.mark.parametrize(
        'dataset',
        [
            {'pipeline': STEPS},
            [{'pipeline': STEPS}],
            {'type': 'RepeatDataset', 'dataset': {'pipeline': STEPS}},
            {'type': 'ConcatDataset', 'datasets': [{'pipeline': STEPS}]},
        ],
    )
    def test_of_the_first_dataset(self, dataset):
        assert inference_pipeline(dataset) == [{'type': 'LoadImageFromFile'}, {'type': 'Collect'}]

    @pytest.mark.parametrize('dataset', [None, {}, {'type': 'CocoDataset'}])
    def test_none(self, dataset):
        with pytest.raises(ValueError, match='no pipeline of a test dataset'):
            inference_pipeline(dataset)

    def test_a_strange_start(self):
        with pytest.raises(ValueError, match='starts with Resize, expected LoadImageFromFile'):
            inference_pipeline({'pipeline': [{'type': 'Resize'}]})


class TestShow:
    DETECTIONS = Instances(torch.tensor([[4.0, 4, 20, 20]]), torch.tensor([1]), torch.tensor([0.9]))

    def test_drawn_and_written(self, tiny, model, tmp_path):
        path = tiny[0] / 'images' / '0.png'
        drawn = show_result(model, path, self.DETECTIONS, out_file=str(tmp_path / 'new' / 'a.png'))
        assert (drawn == cv2.imread(str(tmp_path / 'new' / 'a.png'))).all()
        assert (drawn != cv2.imread(str(path))).any()
        assert (show_result(model, path, self.DETECTIONS, score_thr=0.95) == cv2.imread(str(path))).all()

    def test_colours_of_the_checkpoint_are_rgb(self, model, monkeypatch):
        monkeypatch.setattr(model, 'PALETTE', [[0, 0, 0], [255, 0, 10]])
        drawn = show_result(model, np.zeros((32, 32, 3), np.uint8), self.DETECTIONS)
        assert drawn[20, 12].tolist() == [10, 0, 255]

    def test_in_a_figure(self, model, monkeypatch):
        from matplotlib import pyplot

        pyplot.switch_backend('agg')
        calls = []
        monkeypatch.setattr(pyplot, 'show', lambda block: calls.append(block))
        monkeypatch.setattr(pyplot, 'pause', calls.append)
        image = np.zeros((32, 32, 3), np.uint8)
        show_result_pyplot(model, image, self.DETECTIONS)
        show_result_pyplot(model, image, self.DETECTIONS, wait_time=0.5)
        assert calls == [True, False, 0.5]
        assert pyplot.get_fignums() == []
