"""Arguments and settings of RTMDet's heads, arXiv:2212.07784."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from typing_extensions import Self

from mmkit.errors import InvalidValueError
from mmkit.layers.init import InitCfg
from mmkit.models.dense_heads.detections import PostProcessing
from mmkit.models.settings import build_assigner, known_settings
from mmkit.protocols import Assigner
from mmkit.registry import Cfg, located


@dataclass(frozen=True)
class RTMDetTraining:
    """`train_cfg` of RTMDet's heads.

    Attributes:
        assigner: matches predictions with objects, such as a `DynamicSoftLabelAssigner`.
        allowed_border: must be negative, as points do not stick out of an image.
        pos_weight: weight of positive points in the classification loss; up to 0: 1.
    """

    assigner: Assigner
    allowed_border: float = -1
    pos_weight: float = -1

    @classmethod
    def from_cfg(cls, cfg: Cfg, head: str) -> Self:
        """Read a config for the head of this name; see `build_assigner`.

        Raises:
            InvalidValueError: if `allowed_border` is not negative.
        """
        with located(cfg):
            given = known_settings(cfg, cls, 'train_cfg')
            given['assigner'] = build_assigner(given['assigner'], head, ['points', 'cls_scores', 'scores'])
            settings = cls(**given)
            if settings.allowed_border >= 0:
                raise InvalidValueError(
                    f'{head} has points, which do not stick out: allowed_border is -1, got {settings.allowed_border}',
                    key='allowed_border',
                )
            return settings


@dataclass(frozen=True)
class RTMDetPostProcessing(PostProcessing):
    """`test_cfg` of RTMDet's heads: predicted sides may be of negative length, unless distances are exponentials."""

    strict_min_size: bool = True


class RTMDetArgs(TypedDict, total=False):
    """Arguments that all heads of RTMDet share; see `RTMDetHead`."""

    stacked_convs: int
    conv_cfg: Cfg | None
    feat_channels: int
    anchor_generator: Cfg
    bbox_coder: Cfg
    loss_cls: Cfg
    loss_bbox: Cfg
    train_cfg: Cfg | None
    test_cfg: Cfg | None
    init_cfg: InitCfg


class RTMDetHeadArgs(RTMDetArgs, total=False):
    """Arguments for which the heads with norm layers for each level have defaults of their own."""

    with_objectness: bool
    norm_cfg: Cfg | None
    act_cfg: Cfg | None
    pred_kernel_size: int
