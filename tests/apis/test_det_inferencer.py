from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pytest
import torch

from mmkit.apis import DetInferencer, det_inferencer, init_detector
from mmkit.config.shipped import find_config
from mmkit.structures import EncodedMasks, Instances
from tests.tiny import save_weights


@pytest.fixture(scope='module')
def inferencer(tiny):
    return DetInferencer(tiny[1], tiny[2], device='cpu', show_progress=False)


@pytest.fixture
def images(tiny):
    return [str(tiny[0] / 'images' / f'{number}.png') for number in range(3)]


def test_a_path_a_list_a_folder_and_an_array_agree(inferencer, images, tiny):
    one = inferencer(images[0])
    assert one.keys() == {'predictions', 'visualization'} and one['visualization'] == []
    (prediction,) = one['predictions']
    assert prediction.keys() == {'labels', 'scores', 'bboxes'}
    assert 0 < len(prediction['labels']) == len(prediction['scores']) == len(prediction['bboxes']) <= 5
    assert all(isinstance(value, float) for value in [*prediction['scores'], *prediction['bboxes'][0]])
    assert isinstance(prediction['labels'][0], int)
    assert inferencer(cv2.imread(images[0]))['predictions'] == [prediction]
    several = inferencer(images, batch_size=2)['predictions']
    assert [each['scores'][0] for each in several] == pytest.approx(
        [inferencer(image)['predictions'][0]['scores'][0] for image in images]
    )
    assert inferencer(tiny[0] / 'images', batch_size=2)['predictions'] == several
    assert inferencer([])['predictions'] == []


def test_the_config_in_the_checkpoint(inferencer, tiny, images, tmp_path):
    weights = save_weights(tmp_path / 'a.pth', tiny[1], config=tiny[1].pretty_text)
    other = DetInferencer(weights=weights, device='cpu', show_progress=False)
    assert other(images[0]) == inferencer(images[0])
    with pytest.raises(ValueError, match=r'a\.pth holds no config: give model='):
        DetInferencer(weights=tiny[2])
    with pytest.raises(ValueError, match='DetInferencer needs a model, or weights'):
        DetInferencer()


def test_samples_of_ours(inferencer, images):
    (detections,) = inferencer(images[0], return_datasamples=True)['predictions']
    assert isinstance(detections, Instances)
    assert detections.bboxes.tolist() == inferencer(images[0])['predictions'][0]['bboxes']


def test_files(tiny, images, tmp_path, capsys):
    inferencer = DetInferencer(tiny[1], tiny[2], device='cpu', show_progress=False)
    array = cv2.imread(images[1])
    outputs = inferencer([images[0], array, array], out_dir=tmp_path, no_save_pred=False, print_result=True)
    assert sorted(path.name for path in (tmp_path / 'vis').iterdir()) == ['0.png', '00000000.jpg', '00000001.jpg']
    written = {path.name: json.loads(path.read_text()) for path in (tmp_path / 'preds').iterdir()}
    assert [written[name] for name in ('0.json', '00000000.json', '00000001.json')] == outputs['predictions']
    assert "'bboxes'" in capsys.readouterr().out
    assert len(outputs['visualization']) == 3

    inferencer(images[0], out_dir=tmp_path / 'other', no_save_vis=True)
    assert not (tmp_path / 'other').exists()


def test_drawings_are_rgb(tiny, images, monkeypatch):
    inferencer = DetInferencer(tiny[1], tiny[2], 'cpu', palette=[[255, 0, 0], [255, 0, 0]], show_progress=False)
    (drawn,) = inferencer(images[0], return_vis=True, pred_score_thr=0)['visualization']
    red = (drawn == [255, 0, 0]).all(axis=2)
    assert red.any() and not (drawn == [0, 0, 255]).all(axis=2).any()
    (plain,) = inferencer(images[0], return_vis=True, pred_score_thr=0, draw_pred=False)['visualization']
    assert (plain[..., ::-1] == cv2.imread(images[0])).all()
    shown = []
    monkeypatch.setattr(det_inferencer, 'show_result_pyplot', lambda *args: shown.append(args[-2:]))
    inferencer(images[:2], show=True, wait_time=2)
    assert shown == [('0.png', 2), ('1.png', 2)]


def test_masks_are_run_length_codes():
    masks = EncodedMasks.from_bitmaps(np.ones((1, 2, 3), np.uint8))
    found = Instances(torch.zeros(1, 4), torch.zeros(1, dtype=torch.long), torch.ones(1), masks)
    assert json.loads(json.dumps(det_inferencer._as_dict(found)))['masks'] == [{'size': [2, 3], 'counts': '06'}]


def test_a_url_is_downloaded_once(inferencer, images, tmp_path, monkeypatch):
    asked = []

    def download(url, folder):
        asked.append((url, folder.name))
        return shutil.copy(images[0], tmp_path)

    monkeypatch.setattr(det_inferencer, 'download', download)
    assert inferencer('https://host/a.png') == inferencer(images[0])
    assert asked == [('https://host/a.png', 'images')]


def test_mistakes(inferencer, tiny, tmp_path, caplog):
    with pytest.raises(ValueError, match='no model here understands texts'):
        inferencer([], texts='cat')
    with pytest.raises(ValueError, match='no model here understands texts'):
        inferencer([], custom_entities=True)
    with pytest.raises(FileNotFoundError, match='there is no image in the folder'):
        inferencer(tmp_path)
    with pytest.raises(FileNotFoundError, match=r'none\.png'):
        inferencer('none.png')
    with pytest.raises(ValueError, match='no weights are hosted for it: give weights='):
        DetInferencer('retinanet_r50_fpn_1x_coco', device='cpu')
    with pytest.raises(FileNotFoundError, match='the nearest: retinanet_r50_fpn_1x_coco'):
        DetInferencer('retinanet_r50_fpn_1x_cocoo', device='cpu')
    with pytest.raises(ValueError, match="scope is 'mmocr', expected one of mmdet"):
        DetInferencer(tiny[1], tiny[2], scope='mmocr')
    DetInferencer(tiny[1], device='cpu')
    assert 'those of a model of random weights' in caplog.text


def test_colours_by_name(tiny):
    assert init_detector(tiny[1], device='cpu', palette='voc').PALETTE[0] == (106, 0, 228)
    assert init_detector(tiny[1], device='cpu', palette='random').PALETTE is None
    assert len(init_detector(tiny[1], device='cpu', palette='coco').PALETTE) == 80
    with pytest.raises(ValueError, match="palette is 'cocoo', expected 'none'"):
        init_detector(tiny[1], device='cpu', palette='cocoo')


def test_a_config_by_its_name():
    assert find_config('retinanet_r50_fpn_1x_coco').parent.name == 'retinanet'
    assert str(find_config('no/such.py')) == 'no/such.py'
