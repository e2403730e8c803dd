from __future__ import annotations

import copy
import json
import pickle
import re

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from mmkit.cli.test import main
from mmkit.config import Config
from mmkit.engine.checkpoint import save_checkpoint
from mmkit.models import build_detector
from mmkit.registry import METRICS
from mmkit.utils.logging import get_logger
from tests.tiny import CLASSES, save_weights


@pytest.fixture
def files(tiny, tmp_path):
    """[config, checkpoint] as a user names them."""
    _, cfg, checkpoint = tiny
    cfg.dump(tmp_path / 'cfg.py')
    yield [str(tmp_path / 'cfg.py'), str(checkpoint)]
    for handler in list(get_logger().handlers):
        if hasattr(handler, 'baseFilename'):
            get_logger().removeHandler(handler)
            handler.close()


def fails(capsys, argv):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_everything_at_once(files, tmp_path, capsys, caplog):
    caplog.set_level('INFO')
    work = tmp_path / 'work'
    flags = ['--eval', 'bbox', '--out', str(work / 'a.pkl'), '--show-dir', str(work / 'drawn'), '--show-score-thr', '0']
    flags += ['--work-dir', str(work), '--eval-options', 'classwise=True', '--fuse-conv-bn', '--device', 'cpu']
    assert main([*files, *flags, '--cfg-options', 'model.test_cfg.rcnn.max_per_img=4']) == 0

    metrics = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert 0 <= metrics['bbox_mAP'] <= 1
    record = json.loads(next(work.glob('eval_*.json')).read_text())
    assert record['metric'] == metrics
    assert record['checkpoint'] == files[1]
    detections = pickle.loads((work / 'a.pkl').read_bytes())
    assert [sum(map(len, image)) for image in detections] == [4, 4, 4]
    assert sorted(path.name for path in (work / 'drawn').iterdir()) == ['0.png', '1.png', '2.png']
    assert cv2.imread(str(work / 'drawn' / '0.png')).shape == (64, 64, 3)
    assert re.search(r'[1-9]\d* batch norms folded', caplog.text)
    assert 'bbox_mAP' in next(work.glob('test_*.log')).read_text()


def test_fused_branches_detect_the_same(files, tiny, tmp_path, capsys, caplog):
    """RepVGG as it was trained, folded, and built in its deployed form, from one checkpoint."""
    caplog.set_level('INFO')
    arch = dict(num_blocks=[1, 2, 1, 1], width_factor=[1, 1, 1, 1], group_layer_map={2: 2}, se_cfg=None)
    cfg = copy.deepcopy(tiny[1])
    backbone = dict(type='RepVGG', arch=arch, base_channels=8, out_indices=(0, 1, 2, 3))
    cfg.merge_from_dict({'model.backbone': dict(backbone, _delete_=True)})
    torch.manual_seed(0)
    model = build_detector(cfg.model)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.running_mean, -1, 1)
            nn.init.uniform_(norm.running_var, 0.5, 2)
            nn.init.uniform_(norm.weight, 0.5, 1)
    save_checkpoint(tmp_path / 'a.pth', model, meta={'CLASSES': CLASSES})
    cfg.dump(tmp_path / 'repvgg.py')

    outputs = []
    for flags in ([], ['--fuse-conv-bn'], ['--cfg-options', 'model.backbone.deploy=True']):
        command = [str(tmp_path / 'repvgg.py'), str(tmp_path / 'a.pth'), '--out', str(tmp_path / 'a.pkl')]
        assert main([*command, *flags, '--device', 'cpu']) == 0
        outputs.append(pickle.loads((tmp_path / 'a.pkl').read_bytes()))
    assert sum(map(len, outputs[0][0])) == 5
    for other in outputs[1:]:
        for image, same in zip(outputs[0], other, strict=True):
            for boxes, others in zip(image, same, strict=True):
                np.testing.assert_allclose(others, boxes, rtol=1e-4, atol=1e-4)


def test_coco_files(files, tmp_path, capsys):
    prefix = tmp_path / 'for_server'
    assert main([*files, '--format-only', '--eval-options', f'jsonfile_prefix={prefix}', '--device', 'cpu']) == 0
    written = json.loads((tmp_path / 'for_server.bbox.json').read_text())
    assert {entry['image_id'] for entry in written} == {10, 11, 12}
    assert main([*files, '--out', str(tmp_path / 'a.json'), '--device', 'cpu']) == 0
    assert json.loads((tmp_path / 'a.json').read_text()) == written


def test_windows(files, monkeypatch, capsys):
    monkeypatch.setattr('matplotlib.get_backend', lambda: 'agg')
    assert '--show: there is no screen' in fails(capsys, [*files, '--show'])
    monkeypatch.setattr('matplotlib.get_backend', lambda: 'tkagg')
    shown = []
    monkeypatch.setattr('mmkit.cli.run_test.show_result_pyplot', lambda *args: shown.append(args[-2:]))
    assert main([*files, '--show', '--device', 'cpu']) == 0
    assert shown == [('0.png', 0), ('1.png', 0), ('2.png', 0)]


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        ([], 'nothing to do with the predictions: add --eval METRIC'),
        (['--eval', 'bbox', '--format-only'], '--eval and --format-only exclude each other'),
        (['--out', 'a.csv'], '--out a.csv: the name must end in .pkl or .json'),
        (['--eval', 'bbox', '--gpu-id', '0', '--device', 'cpu'], '--gpu-id is for a single process'),
        (['--eval', 'bbox', '--launcher', 'torch'], "invalid choice: 'torch'"),
    ],
)
def test_flags_that_make_no_sense(files, capsys, flags, message):
    assert message in fails(capsys, [*files, *flags])


def test_missing_files(files, tmp_path, capsys):
    assert 'there is no file none.pth' in fails(capsys, [files[0], 'none.pth', '--eval', 'bbox'])
    assert 'none.py' in fails(capsys, ['none.py', files[1], '--eval', 'bbox'])
    options = ['--cfg-options', 'data.test.ann_file=none.json']
    assert 'none.json' in fails(capsys, [*files, '--eval', 'bbox', *options])


def test_options_that_nothing_reads(files, caplog):
    assert (
        main([*files, '--eval', 'bbox', '--device', 'cpu', '--cfg-options', 'modle.test_cfg.rcnn.score_thr=0.1']) == 0
    )
    assert "nothing reads the top-level key 'modle' (at --cfg-options), did you mean 'model'?" in caplog.text


def test_mistakes_that_an_image_shows(files, capsys):
    flags = [*files, '--eval', 'bbox', '--device', 'cpu', '--cfg-options']
    message = fails(capsys, [*flags, 'data.test.img_prefix=nowhere'])
    assert 'no image file nowhere/0.png [data.test.img_prefix at --cfg-options]' in message
    message = fails(capsys, [*flags, 'model.test_cfg.rcnn.score_thr=None'])
    assert 'NoneType' in message and '[model.roi_head.' in message


def test_a_pipeline_that_is_meant_for_training(files, tiny, caplog):
    steps = repr([dict(step) for step in tiny[1].data.train.pipeline])
    options = ['--cfg-options', f'data.test.pipeline={steps}']
    assert main([*files, '--eval', 'bbox', '--device', 'cpu', *options]) == 0
    assert 'data.test gives ground truth as data.train does' in caplog.text


def test_other_classes_than_those_of_the_model(files, capsys):
    flags = ['--device', 'cpu', '--cfg-options', 'data.test.classes=dark,']
    message = fails(capsys, [*files, '--eval', 'bbox', *flags])
    assert 'bbox_head.num_classes is 2, but CocoDataset has 1 classes (dark)' in message


def test_a_checkpoint_of_another_model(files, tmp_path, capsys):
    flags = ['--eval', 'bbox', '--cfg-options', 'model.roi_head.bbox_head.num_classes=7']
    message = fails(capsys, [*files, *flags])
    assert 'does not fit the model of' in message
    assert 'roi_head.bbox_head.fc_cls.weight [8, 16], in the file [3, 16]' in message
    save_checkpoint(tmp_path / 'b.pth', nn.Linear(1, 1))
    message = fails(capsys, [files[0], str(tmp_path / 'b.pth'), '--eval', 'bbox'])
    assert 'is not a checkpoint of this model: 0 of' in message


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--eval', 'bbx'], "unknown metric 'bbx', did you mean 'bbox'? there are: bbox, segm"),
        (['--eval', 'segm'], "metric 'segm' compares masks, and none of the 3 objects of"),
        (['--eval', 'bbox', '--eval-options', 'clas_wise=True'], "no argument 'clas_wise'; the nearest is 'classwise'"),
        (['--eval', 'bbox', '--eval-options', 'engine=coco'], "unknown engine 'coco'"),
        (['--eval', 'bbox', '--eval-options', 'metric_items=mAP_5'], "unknown metric item 'mAP_5', did you mean 'mAP_"),
        (['--format-only', '--eval-options', 'prefix=a'], '--format-only has no --eval-options prefix'),
        (
            ['--eval', 'bbox', '--cfg-options', 'data.test.type=CustomDataset'],
            "metric is 'mAP' or 'recall', got 'bbox'",
        ),
        (['--format-only', '--cfg-options', 'data.test.type=CustomDataset'], 'CustomDataset has no files for a test'),
        (['--out', 'a.json', '--cfg-options', 'data.test.type=CustomDataset'], 'CustomDataset has no COCO ids: write'),
    ],
)
def test_what_only_the_evaluation_would_refuse_is_refused_before_the_test(
    files, tiny, tmp_path, capsys, monkeypatch, flags, message
):
    monkeypatch.setattr('mmkit.cli.run_test.predict_dataset', lambda *args: pytest.fail('the test has begun'))
    if 'data.test.type=CustomDataset' in flags:
        middle = [dict(filename='0.png', width=64, height=64, ann=dict(bboxes=[[0, 0, 9, 9]], labels=[0]))]
        (tmp_path / 'middle.json').write_text(json.dumps(middle))
        flags = [*flags, f'data.test.ann_file={tmp_path / "middle.json"}']
    assert message in fails(capsys, [*files, *flags])


def test_several_datasets_are_all_asked_before_the_test(files, capsys):
    cfg = Config.fromfile(files[0])
    cfg.data.test = [cfg.data.test, cfg.data.test]
    cfg.dump(files[0])
    assert "unknown metric 'bbx'" in fails(capsys, [*files, '--eval', 'bbx'])


class CountMetric:
    """The number of images, by the three methods alone."""

    def reset(self):
        self.images = 0

    def process(self, metas, predictions):
        self.images += len(metas)

    def evaluate(self):
        return {'images': self.images}


def test_metrics_of_a_user_count_beside_those_of_the_dataset(files, capsys, monkeypatch):
    monkeypatch.setitem(METRICS._entries, 'CountMetric', CountMetric)
    assert main([*files, '--eval', 'bbox', 'CountMetric', '--device', 'cpu']) == 0
    values = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert values['images'] == 3 and 'bbox_mAP' in values
    cfg = Config.fromfile(files[0])
    cfg.evaluation = dict(metric='bbox', metrics=[dict(type='CocoMetric', iou_thrs=[50])])
    cfg.dump(files[0])
    message = fails(capsys, [*files, '--eval', 'CountMetric'])
    assert (
        'iou_thrs is [50], expected numbers from 0 to 1' in message and '[evaluation.metrics.0.iou_thrs at' in message
    )


def test_other_classes_are_mentioned(files, tiny, tmp_path, caplog):
    checkpoint = save_weights(tmp_path / 'c.pth', tiny[1], CLASSES=('cat', 'dog'))
    assert main([files[0], str(checkpoint), '--out', str(tmp_path / 'a.pkl'), '--device', 'cpu', '--gpu-collect']) == 0
    assert "trained on the classes ('cat', 'dog'), the dataset has ('dark', 'bright')" in caplog.text
    assert '--gpu-collect changes nothing' in caplog.text


def test_help_shows_examples(capsys):
    with pytest.raises(SystemExit):
        main(['--help'])
    text = capsys.readouterr().out
    assert 'examples:' in text
    assert '--eval bbox segm' in text
