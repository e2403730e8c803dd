"""Soft Teacher, arXiv:2106.09018."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.layers.init import InitCfg
from mmkit.models.detectors.base import Detector
from mmkit.models.detectors.semi import SemiBaseDetector, SemiTrainSettings, above, project_view
from mmkit.models.detectors.two_stage import TwoStageDetector
from mmkit.models.roi_heads.roi_extractors import bboxes_to_rois
from mmkit.models.roi_heads.standard_roi_head import StandardRoIHead
from mmkit.models.settings import known_settings, required
from mmkit.registry import DETECTORS, Cfg
from mmkit.structures import Batch, ImageMeta, Instances, SamplingResult


@dataclass(frozen=True)
class SoftTeacherSettings(SemiTrainSettings):
    """`semi_train_cfg` of `SoftTeacher`.

    Attributes:
        pseudo_label_initial_score_thr: detections of the teacher that score above this are candidates.
        rpn_pseudo_thr: those that score above this are objects for the region proposal network,
        cls_pseudo_thr: and above this for the classification of regions.
        reg_pseudo_thr: boxes are learnt from those whose uncertainty is below this.
        jitter_times: jittered copies of a box by which its uncertainty is measured, at least 2.
        jitter_scale: standard deviation of their corners, as a part of width and height.
    """

    pseudo_label_initial_score_thr: float = 0.5
    rpn_pseudo_thr: float = 0.9
    cls_pseudo_thr: float = 0.9
    reg_pseudo_thr: float = 0.02
    jitter_times: int = 10
    jitter_scale: float = 0.06


@dataclass
class PseudoLabels(Instances):
    """Detections of the teacher.

    Attributes:
        uncertainties: (N,) of the boxes, as parts of their mean edge; 0 is certain.
    """

    uncertainties: Tensor | None = None


class Regions(NamedTuple):
    """Sampled regions of all images, and what a head says of them."""

    samples: list[SamplingResult]
    rois: Tensor  # (R, 5)
    cls_score: Tensor | None  # (R, C + 1)
    bbox_pred: Tensor | None  # (R, 4 or 4C)


@DETECTORS.register_module()
class SoftTeacher(SemiBaseDetector):
    """A two-stage detector whose student learns from the teacher's detections, each as far as it can be trusted.

    Regions that match no label count in the classification as far as the teacher, too, takes them for background.
    Boxes are learnt from those detections only that the teacher finds again wherever it begins: it refines jittered
    copies of each box, and their spread is its uncertainty.

    Args:
        detector: config of a two-stage detector with one box branch, such as Faster R-CNN.
        semi_train_cfg: see `SoftTeacherSettings`.

    Others as in `SemiBaseDetector`.
    """

    student: TwoStageDetector
    teacher: TwoStageDetector
    semi_train_cfg: SoftTeacherSettings

    def __init__(
        self,
        detector: Cfg,
        semi_train_cfg: Cfg | None = None,
        semi_test_cfg: Cfg | None = None,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(detector, semi_train_cfg, semi_test_cfg, init_cfg)
        _roi_head(self.student)

    def _read_settings(self, cfg: Cfg) -> SoftTeacherSettings:
        settings = SoftTeacherSettings(**known_settings(cfg, SoftTeacherSettings, 'semi_train_cfg'))
        if settings.jitter_times < 2:
            message = f'jitter_times is {settings.jitter_times}: a spread needs at least 2 boxes'
            raise InvalidValueError(message, key='jitter_times')
        return settings

    def unsupervised_loss(self, teacher: Batch, student: Batch) -> dict[str, Tensor]:
        settings = self.semi_train_cfg
        with torch.no_grad():
            teacher_feats = self.teacher.extract_feat(teacher.imgs)
            labels = self.seen_by_student(self.pseudo_labels(teacher_feats, teacher.metas), teacher, student)
        feats = self.student.extract_feat(student.imgs)
        rpn_head = self.student.rpn_head
        assert rpn_head is not None
        outs = rpn_head(feats)
        losses = rpn_head.loss(outs, replace(student, gts=[above(each, settings.rpn_pseudo_thr) for each in labels]))
        proposals = rpn_head.predict(outs, student.metas, self.student.train_proposals, rescale=False)

        sure = replace(student, gts=[above(each, settings.cls_pseudo_thr) for each in labels])
        losses |= self._cls_loss(self._regions(feats, proposals, sure), teacher_feats, teacher, student)
        exact = replace(student, gts=[_below(each, settings.reg_pseudo_thr) for each in labels])
        return losses | self._box_loss(self._regions(feats, proposals, exact))

    # ------------------------------------------------------------------ labels

    def pseudo_labels(self, feats: Sequence[Tensor], metas: Sequence[ImageMeta]) -> list[PseudoLabels]:
        """Candidates with the uncertainty of their boxes, in pixels of the teacher's input."""
        rpn_head = self.teacher.rpn_head
        assert rpn_head is not None
        proposals = rpn_head.predict(rpn_head(feats), metas, rescale=False)
        detections = self.teacher.roi_head.predict(feats, proposals, metas, rescale=False)
        detections = [above(each, self.semi_train_cfg.pseudo_label_initial_score_thr) for each in detections]
        spreads = self._uncertainties(feats, detections, metas)
        return [
            PseudoLabels(bboxes=each.bboxes, labels=each.labels, scores=each.scores, uncertainties=spread)
            for each, spread in zip(detections, spreads, strict=True)
        ]

    def _uncertainties(
        self, feats: Sequence[Tensor], detections: Sequence[Instances], metas: Sequence[ImageMeta]
    ) -> list[Tensor]:
        """(N,) of each image: the spread of the refined copies of its boxes."""
        times, head = self.semi_train_cfg.jitter_times, _roi_head(self.teacher)
        copies = [jitter(each.bboxes, times, self.semi_train_cfg.jitter_scale) for each in detections]  # (T, N, 4)
        rois = bboxes_to_rois([each.flatten(0, 1) for each in copies])
        _, bbox_pred = head.bbox_head(head.pool(head.bbox_roi_extractor, feats, rois))
        assert bbox_pred is not None
        deltas = bbox_pred.split([times * len(each) for each in detections])
        spreads = []
        for each, boxes, pred, meta in zip(detections, copies, deltas, metas, strict=True):
            assert each.labels is not None
            refined = head.bbox_head.regress_by_class(boxes.flatten(0, 1), each.labels.repeat(times), pred, meta)
            mean_edge = (each.bboxes[:, 2:] - each.bboxes[:, :2]).mean(dim=1).clamp(min=1)
            spread = refined.view(times, len(each), 4).std(dim=0) if len(each) else each.bboxes
            spreads.append(spread.mean(dim=1) / mean_edge)
        return spreads

    # ------------------------------------------------------------------ losses

    def _regions(self, feats: Sequence[Tensor], proposals: Sequence[Instances], batch: Batch) -> Regions:
        """Regions that the student samples for these labels."""
        head = _roi_head(self.student)
        samples = head.sample(feats, proposals, batch)
        rois = bboxes_to_rois([each.bboxes for each in samples])
        return Regions(samples, rois, *head.bbox_head(head.pool(head.bbox_roi_extractor, feats, rois)))

    def _cls_loss(
        self, regions: Regions, teacher_feats: Sequence[Tensor], teacher: Batch, student: Batch
    ) -> dict[str, Tensor]:
        """Classification loss, its background weighted by the teacher; the weights' sum normalises it."""
        head = _roi_head(self.student)
        targets = head.bbox_head.targets(regions.samples, required(head.train_cfg, 'train_cfg.rcnn', head).pos_weight)
        background = targets.labels == head.bbox_head.num_classes
        trust = self._background_scores(regions.samples, teacher_feats, teacher, student)
        targets.label_weights = torch.where(background, trust, targets.label_weights)
        losses = head.bbox_head.loss(regions.cls_score, None, regions.rois, targets)
        num_weighted = (targets.label_weights > 0).sum().clamp(min=1)  # by which the loss is normalised now
        losses['loss_cls'] = losses['loss_cls'] * num_weighted / targets.label_weights.sum().clamp(min=1)
        return losses

    @torch.no_grad()
    def _background_scores(
        self, samples: Sequence[SamplingResult], feats: Sequence[Tensor], teacher: Batch, student: Batch
    ) -> Tensor:
        """(R,) the teacher's probabilities that there is no object in the student's regions."""
        head = _roi_head(self.teacher)
        views = zip(samples, student.metas, teacher.metas, strict=True)
        rois = bboxes_to_rois([project_view(each.bboxes, source, target) for each, source, target in views])
        cls_score, _ = head.bbox_head(head.pool(head.bbox_roi_extractor, feats, rois))
        return head.bbox_head.probabilities(cls_score)[:, -1]

    def _box_loss(self, regions: Regions) -> dict[str, Tensor]:
        head = _roi_head(self.student)
        return head.bbox_head.loss(None, regions.bbox_pred, regions.rois, head.bbox_head.targets(regions.samples))


def jitter(bboxes: Tensor, times: int, scale: float) -> Tensor:
    """Copies (times, N, 4) of boxes (N, 4) with corners moved at random.

    Args:
        scale: standard deviation of the moves, as a part of width and height.
    """
    sizes = (bboxes[:, 2:] - bboxes[:, :2]).clamp(min=1).repeat(1, 2)  # w, h, w, h
    return bboxes + torch.randn(times, *bboxes.shape, device=bboxes.device) * sizes * scale


def _below(labels: PseudoLabels, threshold: float) -> Instances:
    """The labels whose boxes are less uncertain than the threshold."""
    assert labels.uncertainties is not None
    return labels[labels.uncertainties < threshold]


def _roi_head(detector: Detector) -> StandardRoIHead:
    """The second stage.

    Raises:
        InvalidTypeError: for a detector that has no such stage, or is no two-stage detector.
    """
    head = detector.roi_head if isinstance(detector, TwoStageDetector) and detector.rpn_head is not None else None
    if not isinstance(head, StandardRoIHead):
        kind = type(detector).__name__
        raise InvalidTypeError(f'SoftTeacher needs a two-stage detector with a StandardRoIHead, got {kind}', 'detector')
    return head
