from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mmkit.engine.predict import predict_views
from mmkit.errors import InvalidValueError
from mmkit.models import build_detector
from mmkit.models.detectors import semi, soft_teacher
from mmkit.models.roi_heads.roi_extractors import bboxes_to_rois
from mmkit.structures import Batch, Instances, SemiBatch
from mmkit.utils.state_dict import load_state_dict
from tests.models.detectors.test_two_stage import CFG, ROI_HEAD, RPN_TRAIN, SIZE, scene
from tests.models.roi_heads.parts import MASK
from tests.models.scenes import meta, truth

ALL_ANCHORS = {**CFG['train_cfg'], 'rpn': dict(RPN_TRAIN, sampler=dict(RPN_TRAIN['sampler'], num=10**6))}
DETECTOR = dict(CFG, type='FasterRCNN', train_cfg=ALL_ANCHORS)  # nothing is drawn
MIRRORED = np.array([[-1, 0, SIZE], [0, 1, 0], [0, 0, 1]], dtype=np.float32)  # x -> 64 - x
HALF = np.diag([0.5, 0.5, 1]).astype(np.float32)
LOW = dict(pseudo_label_initial_score_thr=0.2, rpn_pseudo_thr=0.2, cls_pseudo_thr=0.2, reg_pseudo_thr=10.0)


def make_model(kind='SoftTeacher', train_cfg=LOW, detector=DETECTOR, **arguments):
    torch.manual_seed(0)
    return build_detector(dict(type=kind, detector=detector, semi_train_cfg=train_cfg, **arguments))


def view(homography, size=SIZE):
    torch.manual_seed(1)
    image = replace(meta(size, size), homography_matrix=homography)
    return Batch(imgs=torch.randn(1, 3, size, size), metas=[image])


def semi_batch():
    """Two labelled images; one unlabelled that the student sees mirrored and at half the size."""
    labelled = scene()
    return SemiBatch(
        imgs=labelled.imgs,
        metas=labelled.metas,
        gts=labelled.gts,
        teacher=view(np.eye(3, dtype=np.float32)),
        student=view(HALF @ MIRRORED, 32),
    )


def detect(model, bboxes, labels, scores):
    """Let the teacher detect these objects."""
    found = Instances(torch.tensor(bboxes).reshape(-1, 4), torch.tensor(labels).long(), torch.tensor(scores))
    model.teacher.roi_head.predict = lambda feats, proposals, metas, rescale: [found for _ in metas]
    return model


class TestBase:
    """Labels of the teacher as ground truth of any detector."""

    def test_the_weights_of_one_detector_go_into_both(self):
        model, detector = make_model(), build_detector(DETECTOR)
        report = load_state_dict(model, detector.state_dict())
        assert report.complete
        for branch in (model.teacher, model.student):
            for name, value in branch.state_dict().items():
                assert torch.equal(value, detector.state_dict()[name])
        assert load_state_dict(make_model(), model.state_dict()).complete

    def test_one_of_them_predicts(self):
        model = make_model(semi_test_cfg=dict(predict_on='student')).eval()
        own = {name: getattr(model, name)(scene()) for name in semi.BRANCHES}
        assert not torch.equal(own['teacher'][0].scores, own['student'][0].scores)
        assert torch.equal(model(scene())[0].scores, own['student'][0].scores)
        with model.predicting_on('teacher'):
            assert torch.equal(model(scene())[0].scores, own['teacher'][0].scores)
        assert model.predict_on == 'student'

    def test_views_of_an_image_are_merged_as_by_its_detectors(self):
        model = make_model().eval()
        assert not model.with_mask and model.nms_settings.max_per_img == 6
        (merged, _) = predict_views(model, [scene(), scene()])
        assert torch.equal(merged.scores, predict_views(model, scene())[0].scores)

    def test_the_teacher_stays_in_evaluation_mode(self):
        model = make_model().eval().train()
        assert model.student.training and not model.teacher.training

    def test_losses_have_names_and_weights_of_their_part(self):
        weights = dict(sup_weight=0.5, unsup_weight=4.0)
        model = detect(make_model('SemiBaseDetector', weights), [[8.0, 8, 40, 40]], [1], [0.8])
        losses = model(semi_batch())
        own = model.student(scene())
        assert losses['sup_loss_rpn_cls'].item() == pytest.approx(0.5 * own['loss_rpn_cls'].item())
        assert losses['sup_acc'].item() == own['acc'].item()
        batch = replace(semi_batch().student, gts=[truth(([12, 4, 28, 20], 1))])  # mirrored, then halved
        assert losses['unsup_loss_rpn_cls'].item() == pytest.approx(4 * model.student(batch)['loss_rpn_cls'].item())

    def test_without_labels_nothing_is_learnt_from_their_part(self):
        model = detect(make_model('SemiBaseDetector', {}), [[8.0, 8, 40, 40]], [1], [0.4])
        losses = {name: value for name, value in model(semi_batch()).items() if 'unsup_loss' in name}
        assert len(losses) == 4 and all(value.item() == 0 for value in losses.values())

    def test_a_batch_of_labelled_images_alone_and_of_unlabelled_ones_alone(self):
        model = make_model()
        assert {name.split('_')[0] for name in model(scene())} == {'sup'}
        unlabelled = replace(semi_batch(), imgs=torch.zeros(0, 3, 32, 32), metas=[], gts=None)
        assert {name.split('_')[0] for name in model(unlabelled)} == {'unsup'}

    @pytest.mark.parametrize(
        ('changes', 'message'),
        [
            (dict(semi_test_cfg=dict(predict_on='both')), "predict_on is 'both', expected 'teacher' or 'student'"),
            (dict(train_cfg=dict(jitter_times=1)), 'jitter_times is 1'),
            (
                dict(detector=dict(DETECTOR, type='MaskRCNN', roi_head=dict(ROI_HEAD, mask_head=MASK))),
                'TwoStageDetector makes masks',
            ),
            (dict(detector=dict(DETECTOR, type='RPN', roi_head=None)), 'roi_head'),
        ],
    )
    def test_mistakes(self, changes, message):
        with pytest.raises((ValueError, TypeError), match=message):
            make_model(**changes)

    def test_a_detector_of_one_stage(self):
        rpn = {key: value for key, value in DETECTOR.items() if key != 'roi_head'} | dict(type='RPN')
        with pytest.raises(TypeError, match='SoftTeacher needs a two-stage detector'):
            make_model(detector=rpn)

    def test_views_of_unknown_geometry(self):
        batch = semi_batch()
        batch.student.metas[0] = replace(batch.student.metas[0], homography_matrix=None)
        with pytest.raises(InvalidValueError, match='does not know its homography_matrix'):
            detect(make_model(), [[8.0, 8, 40, 40]], [1], [0.95])(batch)


def test_boxes_in_the_view_of_the_student():
    source, target = view(HALF, 32).metas[0], view(MIRRORED).metas[0]
    boxes = torch.tensor([[2.0, 4, 10, 20], [-8, 0, 4, 4]])
    assert semi.project_view(boxes, source, target).tolist() == [[44, 8, 60, 40], [56, 0, 64, 8]]


def test_labels_that_leave_the_view_are_none():
    batch, model = semi_batch(), make_model()
    shifted = np.array([[1, 0, 60], [0, 1, 0], [0, 0, 1]], dtype=np.float32)
    batch.student = view(shifted)
    labels = [Instances(torch.tensor([[8.0, 8, 40, 40], [0, 0, 20, 20]]), scores=torch.tensor([0.9, 0.8]))]
    (seen,) = model.seen_by_student(labels, batch.teacher, batch.student)
    assert seen.bboxes.tolist() == [[60, 0, 64, 20]] and seen.scores.tolist() == pytest.approx([0.8])


class TestSoftTeacher:
    def test_gradients(self):
        model = detect(make_model(), [[8.0, 8, 40, 40], [20, 4, 52, 30]], [1, 0], [0.95, 0.9])
        unlabelled = replace(semi_batch(), imgs=torch.zeros(0, 3, 32, 32), metas=[], gts=None)
        losses = model(unlabelled)
        assert losses.keys() == {f'unsup_{name}' for name in model.student(scene())}
        sum(value for name, value in losses.items() if 'loss' in name).backward()
        for name, parameter in model.student.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().sum() > 0, name
        assert not any(parameter.requires_grad for parameter in model.teacher.parameters())

    @pytest.mark.parametrize('score', [0.1, 0.95])
    def test_empty_labels(self, score):
        """No detection at all, or none that is certain."""
        bboxes = [[8.0, 8, 40, 40]] if score > 0.5 else []
        model = detect(
            make_model(train_cfg=dict(LOW, reg_pseudo_thr=0.0)), bboxes, [1] * len(bboxes), [score][: len(bboxes)]
        )
        losses = model(semi_batch())
        assert losses['unsup_loss_bbox'].item() == 0
        assert losses['unsup_loss_cls'].item() > 0, 'there is background to learn'
        sum(value for name, value in losses.items() if 'loss' in name).backward()

    def test_uncertainty_is_the_spread_of_refined_boxes(self, monkeypatch):
        """Deltas of 0 refine nothing: the spread is that of the jitter, by the paper in parts of the mean edge."""
        model = make_model(train_cfg=dict(LOW, jitter_times=2))
        moves = torch.tensor([-1.0, 1.0]).view(2, 1, 1).expand(2, 1, 4)
        monkeypatch.setattr(soft_teacher, 'jitter', lambda bboxes, times, scale: bboxes + moves)
        for parameter in model.teacher.roi_head.bbox_head.fc_reg.parameters():
            parameter.data.zero_()
        detect(model, [[10.0, 10, 30, 20]], [1], [0.95])
        feats = model.teacher.extract_feat(torch.zeros(1, 3, SIZE, SIZE))
        (labels,) = model.pseudo_labels(feats, [meta(SIZE, SIZE)])
        assert labels.uncertainties.tolist() == pytest.approx([2**0.5 / 15], rel=1e-4)  # the edges are 20 and 10

    def test_jitter_is_as_large_as_the_box(self):
        torch.manual_seed(0)
        copies = soft_teacher.jitter(torch.tensor([[0.0, 0, 100, 10], [5, 5, 5, 5]]), 4000, 0.06)
        assert copies.shape == (4000, 2, 4)
        assert copies.mean(dim=0)[0].tolist() == pytest.approx([0, 0, 100, 10], abs=0.3)
        assert copies.std(dim=0)[0].tolist() == pytest.approx([6, 0.6, 6, 0.6], rel=0.05)
        assert copies.std(dim=0)[1].tolist() == pytest.approx([0.06] * 4, rel=0.05)  # at least a pixel wide

    def test_background_counts_as_far_as_the_teacher_believes_in_it(self, monkeypatch):
        model = make_model()
        batch = semi_batch()
        model.student.roi_head.train_cfg.sampler.add_gt_as_proposals = True
        gts = replace(batch.student, gts=[truth(([8.0, 8, 24, 24], 1))])
        proposals = [Instances(torch.tensor([[0.0, 0, 4, 4], [26, 26, 30, 31]]))]
        regions = model._regions(model.student.extract_feat(batch.student.imgs), proposals, gts)
        assert len(regions.rois) == 3  # the object, and two of background
        monkeypatch.setattr(model, '_background_scores', lambda *args: torch.tensor([0.7, 0.5, 0.25]))
        losses = model._cls_loss(regions, [], batch.teacher, batch.student)
        each = torch.nn.functional.cross_entropy(regions.cls_score, torch.tensor([1, 3, 3]), reduction='none')
        expected = (each * torch.tensor([1, 0.5, 0.25])).sum() / 1.75
        assert losses['loss_cls'].item() == pytest.approx(expected.item(), rel=1e-5)

    def test_the_teacher_looks_at_the_students_regions_in_its_own_view(self, monkeypatch):
        model, batch = make_model(), semi_batch()
        feats = model.teacher.extract_feat(batch.teacher.imgs)
        rois = bboxes_to_rois([torch.tensor([[8.0, 8, 40, 40]])])
        head = model.teacher.roi_head
        expected = head.bbox_head(head.pool(head.bbox_roi_extractor, feats, rois))[0].softmax(1)[:, -1]
        gts = replace(batch.student, gts=[truth(([12.0, 4, 28, 20], 1))])  # the same region, mirrored and halved
        regions = model._regions(model.student.extract_feat(batch.student.imgs), [Instances(torch.zeros(0, 4))], gts)
        scores = model._background_scores(regions.samples, feats, batch.teacher, batch.student)
        torch.testing.assert_close(scores, expected)
