from __future__ import annotations

import pytest
import torch

from mmkit.engine.runner import EpochBasedRunner
from mmkit.models import build_detector
from mmkit.models.batch_augments import resized
from mmkit.protocols import HasExtraLosses, Progress
from tests.models.scenes import batch_of, truth


def detector(seed=0, **arguments):
    torch.manual_seed(seed)
    cfg = dict(
        type='YOLOX',
        backbone=dict(type='CSPDarknet', deepen_factor=0.33, widen_factor=0.0625),
        neck=dict(type='YOLOXPAFPN', in_channels=[16, 32, 64], out_channels=8, num_csp_blocks=1),
        bbox_head=dict(type='YOLOXHead', num_classes=2, in_channels=8, feat_channels=8),
        train_cfg=dict(assigner=dict(type='SimOTAAssigner', center_radius=2.5)),
        test_cfg=dict(score_thr=0.01, nms=dict(type='nms', iou_threshold=0.65)),
        input_size=[64, 64],
        random_size_range=[1, 3],
        random_size_interval=2,
    )
    return build_detector(cfg | arguments)


def sizes_seen(model, num_iterations, first=0):
    seen = []
    watch = model.backbone.register_forward_pre_hook(lambda module, args: seen.append(tuple(args[0].shape[2:])))
    for iteration in range(first, first + num_iterations):
        model.set_progress(Progress(epoch=0, max_epochs=1, iter=iteration, max_iters=100))
        model.loss(batch_of(truth(([8, 8, 40, 40], 1)), truth(), height=64, width=64))
    watch.remove()
    return seen


def later_sizes(seed):
    model = detector(seed)
    return [model.training_size(iteration) for iteration in range(0, 60, 2)]


def test_sizes_change_with_the_iteration():
    model = detector(input_size=[64, 128], random_size_range=[1, 9])
    sizes = [model.training_size(iteration) for iteration in range(200)]
    assert sizes[:2] == [(64, 128)] * 2
    assert all(sizes[i] == sizes[i + 1] for i in range(0, 200, 2))
    assert {height // 32 for height, _ in sizes[2:]} == set(range(1, 10))
    assert all(width == 2 * height for height, width in sizes)


def test_sizes_follow_from_seed_and_iteration():
    seen = sizes_seen(detector().train(), 8)
    assert seen[:2] == [(64, 64)] * 2
    assert sizes_seen(detector().train(), 3, first=5) == seen[5:]
    assert later_sizes(seed=1) != later_sizes(seed=0)


def test_a_resumed_training_goes_on_with_its_sizes(tmp_path, monkeypatch):
    def runner():
        model = detector()
        return EpochBasedRunner(model, torch.optim.SGD(model.parameters(), lr=0.1), max_epochs=1)

    stopped = runner()
    stopped.iter = 7
    stopped.save(tmp_path / 'a.pth')
    resumed = runner()
    resumed.resume(tmp_path / 'a.pth')
    monkeypatch.setattr(resumed, 'train_step', lambda batch: None)
    batch = batch_of(truth(([8, 8, 40, 40], 1)), height=64, width=64)
    batch.imgs.normal_()  # batch norm blows up the gradient of a constant image
    resumed.run([[batch]])
    assert resumed.module.iteration == 7


def test_all_processes_use_the_seed_of_the_first(monkeypatch):
    monkeypatch.setattr('mmkit.models.batch_augments.broadcast_object', lambda value: 0)
    assert later_sizes(seed=7) == later_sizes(seed=0)


def test_validation_losses_leave_images_as_they_are():
    assert sizes_seen(detector().eval(), 2, first=4) == [(64, 64)] * 2


def test_boxes_are_resized_with_the_images():
    batch = batch_of(truth(([8, 8, 40, 40], 1)), height=64, width=64)
    small = resized(batch, (32, 96))
    assert small.imgs.shape == (1, 3, 32, 96)
    assert small.gts[0].bboxes.tolist() == [[12, 4, 60, 20]] and small.gts[0].labels.tolist() == [1]
    assert batch.gts[0].bboxes.tolist() == [[8, 8, 40, 40]]
    assert resized(batch, (64, 64)) is batch


def test_interval_must_be_positive():
    with pytest.raises(ValueError, match='random_size_interval'):
        detector(random_size_interval=0)


def test_images_of_another_size_are_refused():
    model = detector(input_size=[640, 640]).train()
    sizes_seen(model, 2)  # they stay as they are
    with pytest.raises(ValueError, match=r'model\.input_size is \(640, 640\).* gives images of \(64, 64\)'):
        sizes_seen(model, 1, first=2)


def test_extra_losses_begin_when_asked_for():
    model, batch = detector().train(), batch_of(truth(([8, 8, 40, 40], 1)), height=64, width=64)
    assert isinstance(model, HasExtraLosses) and 'loss_l1' not in model(batch)
    model.use_extra_losses()
    assert 'loss_l1' in model(batch)
