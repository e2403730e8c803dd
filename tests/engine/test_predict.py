from __future__ import annotations

import os
import socket
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from mmkit.engine import predict
from mmkit.models.detectors.base import Detector
from mmkit.structures import Batch, ClassScores, EncodedMasks, ImageMeta, Instances
from mmkit.utils import dist


def make_meta(index=0, flip=None, shape=(40, 100)):
    scale = np.ones(4, dtype=np.float32)
    meta = ImageMeta(f'{index}.png', f'{index}.png', index, shape, shape, shape, scale)
    meta.flip, meta.flip_direction = flip is not None, flip
    return meta


def make_batch(indices, flip=None):
    return Batch(imgs=torch.zeros(len(indices), 3, 40, 100), metas=[make_meta(index, flip) for index in indices])


NMS = {'type': 'nms', 'iou_threshold': 0.5}


class ToyDetector(Detector):
    """Finds, in image n, one box of class n with its left edge at n, as it looks in the view."""

    def __init__(self, nms=True):
        super().__init__(nn.Linear(1, 1))
        self.nms = nms

    @property
    def nms_settings(self):
        return SimpleNamespace(score_thr=0.0, nms=NMS, max_per_img=2) if self.nms else None

    def loss(self, batch):
        raise AssertionError('a test learns nothing')

    def decode(self, batch):
        raise AssertionError('a test exports nothing')

    def predict(self, batch, rescale=True):
        assert not self.training
        assert not torch.is_grad_enabled()
        return [self.predict_one(meta) for meta in batch.metas]

    def predict_one(self, meta):
        left, score = float(meta.img_id), 0.5
        if meta.flip:
            left, score = 100 - left - 10, 0.75
        detections = Instances(
            torch.tensor([[left, 0, left + 10, 20]]), torch.tensor([meta.img_id]), torch.tensor([score])
        )
        bitmap = np.zeros((1, 40, 100), dtype=np.uint8)
        bitmap[0, :20, int(left) : int(left) + 10] = 1
        detections.masks = EncodedMasks.from_bitmaps(bitmap)
        return detections


def make_loader(number=5, sampler=None, collate=make_batch):
    return DataLoader(range(number), batch_size=2, sampler=sampler, collate_fn=collate)


def test_detections_come_in_order_and_the_mode_is_restored(capsys):
    model = ToyDetector().train()
    visited = []
    detections = predict.single_gpu_test(model, make_loader(), lambda meta, each: visited.append((meta.img_id, each)))
    assert [each.labels.item() for each in detections] == [0, 1, 2, 3, 4]
    assert [index for index, _ in visited] == [0, 1, 2, 3, 4]
    assert model.training
    assert '5/5' in capsys.readouterr().err


def test_the_mode_is_restored_after_an_error():
    model = ToyDetector().train()

    def fail(meta, detections):
        raise KeyError

    with pytest.raises(KeyError):
        predict.single_gpu_test(model, make_loader(), fail)
    assert model.training


def test_a_parallel_model():
    detections = predict.single_gpu_test(nn.DataParallel(ToyDetector()), make_loader())
    assert len(detections) == 5


class TestViews:
    def test_a_flipped_view_agrees_and_its_score_wins(self):
        loader = make_loader(collate=lambda indices: [make_batch(indices), make_batch(indices, 'horizontal')])
        detections = predict.single_gpu_test(ToyDetector(), loader)
        assert [len(each) for each in detections] == [1] * 5
        assert [each.bboxes[0, 0].item() for each in detections] == [0, 1, 2, 3, 4]
        assert {each.scores.item() for each in detections} == {0.75}
        assert [each.masks.to_ndarray().nonzero()[2].min() for each in detections] == [0, 1, 2, 3, 4]

    def test_a_single_view_needs_no_nms(self):
        loader = make_loader(collate=lambda indices: [make_batch(indices)])
        assert len(predict.single_gpu_test(ToyDetector(nms=False), loader)) == 5

    def test_without_nms_views_cannot_be_merged(self):
        with pytest.raises(ValueError, match='the test_cfg of ToyDetector has no nms'):
            predict.predict_views(ToyDetector(nms=False).eval(), [make_batch([0]), make_batch([0])])

    def test_the_nms_of_a_config_merges_in_place_of_the_models(self):
        class Shifted(ToyDetector):
            def predict_one(self, meta):
                detections = super().predict_one(meta)
                return replace(detections, bboxes=detections.bboxes + torch.tensor([1.0, 0, 1, 0]), masks=None)

        def merge(nms, iou_threshold, max_per_img):
            merging = predict.Merging(dict(type='nms', iou_threshold=iou_threshold), max_per_img)
            views = [make_batch([4]), make_batch([4], 'horizontal')]
            (merged,) = predict.predict_views(Shifted(nms).eval(), views, merging)
            return [(*box, score) for box, score in zip(merged.bboxes.tolist(), merged.scores.tolist(), strict=True)]

        mirrored, upright = (3, 0, 13, 20, 0.75), (5, 0, 15, 20, 0.5)  # 12 wide together, 8 in common
        assert merge(False, 0.7, -1) == merge(True, 0.7, 100) == [mirrored, upright]
        assert merge(False, 0.6, -1) == merge(True, 0.7, 1) == [mirrored]

    @pytest.mark.parametrize(
        ('direction', 'box'),
        [('horizontal', [70, 4, 90, 8]), ('vertical', [10, 32, 30, 36]), ('diagonal', [70, 32, 90, 36])],
    )
    def test_flip_back(self, direction, box):
        detections = Instances(torch.tensor([[10.0, 4, 30, 8]]))
        meta = make_meta(flip=direction)
        assert predict.flip_back(detections, meta).bboxes.tolist() == [box]
        assert (
            predict.flip_back(predict.flip_back(detections, meta), meta).bboxes.tolist() == detections.bboxes.tolist()
        )

    def test_merging_keeps_classes_apart_and_the_best(self):
        boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 10], [50, 0, 60, 10]])
        views = [
            Instances(boxes[:2], torch.tensor([0, 0]), torch.tensor([0.3, 0.4])),
            Instances(boxes[2:], torch.tensor([1, 0]), torch.tensor([0.9, 0.2])),
        ]
        merged = predict.merge_views(views, NMS)
        assert merged.labels.tolist() == [1, 0, 0]
        assert merged.scores.tolist() == pytest.approx([0.9, 0.4, 0.2])
        assert merged.bboxes[1].tolist() == [0, 0, 10, 9]
        assert len(predict.merge_views(views, NMS, 2)) == 2

    def test_proposals_of_no_class_are_merged_too(self):
        views = [Instances(torch.tensor([[0.0, 0, 10, 10]]), scores=torch.tensor([score])) for score in (0.3, 0.4)]
        assert predict.merge_views(views, NMS).scores.tolist() == pytest.approx([0.4])

    def test_scores_of_whole_images_are_averaged(self):
        class Classifier(nn.Linear):
            def forward(self, batch):
                scores = [0.2, 0.8] if batch.metas[0].flip else [0.6, 0.4]
                return [ClassScores(torch.tensor(scores)) for _ in batch.metas]

        views = [make_batch([0, 1]), make_batch([0, 1], 'horizontal')]
        merged = predict.predict_views(Classifier(1, 1).eval(), views)
        assert [each.scores.tolist() for each in merged] == [pytest.approx([0.4, 0.6])] * 2

    def test_merging_nothing(self):
        assert len(predict.merge_views([Instances.empty(), Instances.empty()], NMS)) == 0


def interleaved(rank, number=5):
    """Indices of a distributed sampler for two processes: the second repeats an image so that both have as many."""
    return [index % number for index in range(rank, 6, 2)]


def test_the_parts_of_all_processes_are_put_in_order(monkeypatch):
    def gather(own):
        other = predict.single_gpu_test(ToyDetector(), make_loader(sampler=interleaved(1)))
        return [own, (interleaved(1), other)]

    monkeypatch.setattr(dist, 'all_gather_object', gather)
    detections = predict.multi_gpu_test(ToyDetector(), make_loader(sampler=interleaved(0)))
    assert [each.labels.item() for each in detections] == [0, 1, 2, 3, 4]


def test_an_image_that_nobody_predicted():
    with pytest.raises(RuntimeError, match='no process predicted image 1 of 5'):
        predict.multi_gpu_test(ToyDetector(), make_loader(sampler=[0, 2, 3, 4]))


def _worker(rank, port, answers):
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2', MASTER_ADDR='localhost')
    os.environ['MASTER_PORT'] = str(port)
    dist.init_dist('pytorch', backend='gloo')
    detections = predict.multi_gpu_test(ToyDetector(), make_loader(sampler=interleaved(rank)))
    answers.put([each.labels.item() for each in detections])
    dist.leave()


@pytest.mark.slow
def test_two_processes(spawn_context):
    with socket.socket() as probe:
        probe.bind(('localhost', 0))
        port = probe.getsockname()[1]
    answers = spawn_context.Queue()
    processes = [spawn_context.Process(target=_worker, args=(rank, port, answers)) for rank in range(2)]
    for process in processes:
        process.start()
    collected = [answers.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert collected == [[0, 1, 2, 3, 4]] * 2


def test_mixed_precision_is_bfloat16_on_the_cpu():
    layer, cpu = nn.Linear(2, 2), torch.device('cpu')
    for wanted, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        with predict.mixed_precision(cpu, wanted):
            assert layer(torch.ones(1, 2)).dtype == dtype
