"""`train_cfg.rcnn` and `test_cfg.rcnn`: the settings of a RoI head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mmkit.errors import InvalidValueError
from mmkit.models.settings import build_assigner, known_settings
from mmkit.ops import check_nms
from mmkit.protocols import Assigner, BoxSampler
from mmkit.registry import BBOX_SAMPLERS, Cfg, located


@dataclass(frozen=True)
class RoITrainSettings:
    """Training targets of the regions.

    Attributes:
        assigner: matches proposals with the ground truth.
        sampler: draws the regions that a head is trained on.
        pos_weight: weight of the positives in the classification loss; 0 or less is 1.
        mask_size: of the mask targets, int or (height, width).
        soft_mask_target: mask targets tell how much of a cell is covered, instead of 0 or 1.
    """

    assigner: Assigner
    sampler: BoxSampler
    pos_weight: float = -1
    mask_size: int | Sequence[int] = 28
    soft_mask_target: bool = False

    @classmethod
    def from_cfg(cls, cfg: Cfg) -> RoITrainSettings:
        """Read a `train_cfg.rcnn`.

        Raises:
            InvalidValueError: if `assigner` or `sampler` is missing.
            InvalidTypeError: if the assigner needs more than boxes.
        """
        with located(cfg):
            given = known_settings(cfg, cls, 'train_cfg.rcnn')
            given['assigner'] = build_assigner(given['assigner'], 'a RoI head')
            given['sampler'] = BBOX_SAMPLERS.build(given['sampler'])
            return cls(**given)


@dataclass(frozen=True)
class RoITestSettings:
    """The way from scored regions to detections.

    Attributes:
        score_thr: detections score above this.
        nms: arguments of `mmkit.ops.batched_nms`.
        max_per_img: detections kept per image; -1 keeps all.
        mask_thr_binary: probability from which a pixel belongs to the mask.
    """

    score_thr: float
    nms: Cfg
    max_per_img: int
    mask_thr_binary: float = 0.5

    @classmethod
    def from_cfg(cls, cfg: Cfg) -> RoITestSettings:
        """Read a `test_cfg.rcnn`.

        Raises:
            InvalidValueError: if `score_thr`, `nms` or `max_per_img` is missing, or `mask_thr_binary` is negative.
        """
        with located(cfg):
            given = known_settings(cfg, cls, 'test_cfg.rcnn')
            with located(cfg, 'nms'), located(given['nms'] or {}):
                check_nms(given['nms'])
            settings = cls(**given)
            if settings.mask_thr_binary < 0:
                raise InvalidValueError(
                    f'mask_thr_binary is in 0..1, got {settings.mask_thr_binary}: soft masks are not supported',
                    key='mask_thr_binary',
                )
            return settings
