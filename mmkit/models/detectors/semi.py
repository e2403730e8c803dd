"""Semi-supervised training of a detector: a student learns from what a teacher detects in images without labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from mmkit.bbox import clip_bboxes, project_bboxes
from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.layers import BaseModule
from mmkit.layers.init import InitCfg
from mmkit.models.builder import build_neutral_model
from mmkit.models.detectors.base import Detector
from mmkit.models.preprocessor import DataPreprocessor
from mmkit.models.settings import known_settings
from mmkit.protocols import NMSSettings
from mmkit.registry import DETECTORS, Cfg
from mmkit.structures import Batch, ImageMeta, Instances, SemiBatch

InstancesT = TypeVar('InstancesT', bound=Instances)
BRANCHES = ('teacher', 'student')


@dataclass(frozen=True)
class SemiTrainSettings:
    """`semi_train_cfg`.

    Attributes:
        freeze_teacher: the optimizer does not see the teacher, which follows the student (`MeanTeacherHook`).
        sup_weight, unsup_weight: of the losses on labelled and on unlabelled images.
        cls_pseudo_thr: detections of the teacher that score above this are labels.
        min_pseudo_bbox_wh: width and height in pixels, which the box of a label exceeds.
    """

    freeze_teacher: bool = True
    sup_weight: float = 1.0
    unsup_weight: float = 1.0
    cls_pseudo_thr: float = 0.5
    min_pseudo_bbox_wh: Sequence[float] = (1e-2, 1e-2)


@dataclass(frozen=True)
class SemiTestSettings:
    """`semi_test_cfg`: whether the 'teacher' or the 'student' predicts."""

    predict_on: str = 'teacher'


@DETECTORS.register_module()
class SemiBaseDetector(BaseModule):
    """Two detectors of one kind, of which the student learns.

    Labelled images give the student's usual losses, as `sup_*`. The teacher detects objects in a weakly augmented view
    of each unlabelled image; those it is sure of are the ground truth of the student's, strongly augmented view, whose
    losses are `unsup_*`. The weights of a detector on its own load into both.

    Args:
        detector: config of both, which makes boxes only.
        semi_train_cfg: see `SemiTrainSettings`.
        semi_test_cfg: see `SemiTestSettings`.

    Attributes:
        predict_on: the branch that predicts.

    Raises:
        InvalidValueError: for an unknown branch, or a detector of masks.
        InvalidTypeError: if `detector` is something else.
    """

    def __init__(
        self,
        detector: Cfg,
        semi_train_cfg: Cfg | None = None,
        semi_test_cfg: Cfg | None = None,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(init_cfg)
        self.data_preprocessor = DataPreprocessor()
        self.student = _build_branch(detector)
        self.teacher = _build_branch(detector)
        self.semi_train_cfg = self._read_settings(semi_train_cfg or {})
        test_settings = SemiTestSettings(**known_settings(semi_test_cfg or {}, SemiTestSettings, 'semi_test_cfg'))
        self.predict_on = _check_branch(test_settings.predict_on)
        if self.semi_train_cfg.freeze_teacher:
            self.teacher.requires_grad_(False)
        self.teacher.eval()

    def _read_settings(self, cfg: Cfg) -> SemiTrainSettings:
        return SemiTrainSettings(**known_settings(cfg, SemiTrainSettings, 'semi_train_cfg'))

    @property
    def with_mask(self) -> bool:
        """False: both make boxes only."""
        return self.teacher.with_mask

    @property
    def nms_settings(self) -> NMSSettings | None:
        """Settings by which detections in several views of an image are merged; None without NMS."""
        return self.teacher.nms_settings

    def train(self, mode: bool = True) -> SemiBaseDetector:
        super().train(mode)
        self.teacher.eval()
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        own = [name for name in state_dict if name.startswith(prefix)]
        if not any(name.startswith(prefix + branch) for name in own for branch in BRANCHES):
            for name in own:  # of a detector on its own
                value = state_dict.pop(name)
                state_dict |= {f'{prefix}{branch}.{name.removeprefix(prefix)}': value for branch in BRANCHES}
        super()._load_from_state_dict(state_dict, prefix, *args)

    def preprocess(self, batch: Batch) -> Batch:
        """The batch with normalised float images, on the device of the model."""
        preprocessed: Batch = self.data_preprocessor(batch)
        return preprocessed

    @contextmanager
    def predicting_on(self, branch: str) -> Iterator[None]:
        """Inside this block the branch predicts, whatever the config says."""
        before, self.predict_on = self.predict_on, _check_branch(branch)
        try:
            yield
        finally:
            self.predict_on = before

    def forward(self, batch: Batch) -> dict[str, Tensor] | list[Instances]:
        batch = self.preprocess(batch)
        return self.loss(batch) if self.training else self.predict(batch)

    def predict(self, batch: Batch, rescale: bool = True) -> list[Instances]:
        """Detections of each image, in pixels of the original image with `rescale`."""
        return (self.teacher if self.predict_on == 'teacher' else self.student).predict(batch, rescale)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Losses of the student: `sup_*` of labelled images and `unsup_*` of unlabelled ones, where there are any."""
        settings = self.semi_train_cfg
        losses: dict[str, Tensor] = {}
        if len(batch):
            losses |= _weighted(self.student.loss(batch), 'sup_', settings.sup_weight)
        if isinstance(batch, SemiBatch) and batch.teacher is not None and batch.student is not None:
            losses |= _weighted(self.unsupervised_loss(batch.teacher, batch.student), 'unsup_', settings.unsup_weight)
        return losses

    def unsupervised_loss(self, teacher: Batch, student: Batch) -> dict[str, Tensor]:
        """Losses of the student, by its own names, on what the teacher detects in its views of the same images."""
        with torch.no_grad():
            detections = self.teacher.predict(teacher, rescale=False)
            labels = self.seen_by_student(detections, teacher, student)
        labels = [above(each, self.semi_train_cfg.cls_pseudo_thr) for each in labels]
        losses = self.student.loss(replace(student, gts=labels))
        if any(map(len, labels)):
            return losses
        return {name: value * 0 if 'loss' in name else value for name, value in losses.items()}

    def seen_by_student(self, labels: Sequence[InstancesT], teacher: Batch, student: Batch) -> list[InstancesT]:
        """Objects in the teacher's views as they are in the student's, without those that are too small there."""
        smallest = torch.tensor(self.semi_train_cfg.min_pseudo_bbox_wh)
        seen = []
        for each, source, target in zip(labels, teacher.metas, student.metas, strict=True):
            bboxes = project_view(each.bboxes, source, target)
            sizes = bboxes[:, 2:] - bboxes[:, :2]
            seen.append(replace(each, bboxes=bboxes)[(sizes > smallest.to(sizes)).all(dim=1)])
        return seen


def project_view(bboxes: Tensor, source: ImageMeta, target: ImageMeta) -> Tensor:
    """Boxes (N, 4) in one view of an image as they are in another one, clipped to that.

    Raises:
        InvalidValueError: if the pipeline has not kept the geometry of the views.
    """
    if source.homography_matrix is None or target.homography_matrix is None:
        raise InvalidValueError('a view of an unlabelled image does not know its homography_matrix')
    matrix = target.homography_matrix @ np.linalg.inv(source.homography_matrix.astype(np.float64))
    return clip_bboxes(project_bboxes(bboxes, bboxes.new_tensor(matrix)), target.img_shape)


def above(labels: InstancesT, threshold: float) -> InstancesT:
    """The objects that score above the threshold."""
    assert labels.scores is not None
    return labels[labels.scores > threshold]


def _build_branch(cfg: Cfg) -> Detector:
    detector = build_neutral_model(cfg)
    if not isinstance(detector, Detector):
        raise InvalidTypeError(f'a {type(detector).__name__} is no detector', key='detector')
    if detector.with_mask:
        raise InvalidValueError(f'{type(detector).__name__} makes masks, and pseudo labels are boxes', key='detector')
    return detector


def _check_branch(name: str) -> str:
    if name not in BRANCHES:
        raise InvalidValueError(f"predict_on is {name!r}, expected 'teacher' or 'student'", key='predict_on')
    return name


def _weighted(losses: Mapping[str, Tensor], prefix: str, weight: float) -> dict[str, Tensor]:
    return {prefix + name: value * weight if 'loss' in name else value for name, value in losses.items()}
