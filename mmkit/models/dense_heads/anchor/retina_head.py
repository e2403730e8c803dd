"""RetinaNet's head, arXiv:1708.02002."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn
from typing_extensions import Unpack

from mmkit.models.dense_heads.anchor.anchor_head import AnchorOuts, losses_of
from mmkit.models.dense_heads.anchor.base_anchor_head import AnchorHeadArgs, AnchorTraining, BaseAnchorHead
from mmkit.models.dense_heads.anchor.prime_training import PrimeTraining
from mmkit.models.dense_heads.detections import LevelPredictions
from mmkit.models.dense_heads.towers import apply_convs, conv_tower
from mmkit.registry import HEADS, Cfg
from mmkit.structures import Batch


# The Ascend variant of mmdetection is for another processor and computes the same; PISA's (arXiv:1904.04821) differs by
# its train_cfg.
@HEADS.register_module(['RetinaHead', 'AscendRetinaHead', 'PISARetinaHead'])
class RetinaHead(BaseAnchorHead[AnchorOuts]):
    """Two towers of 3x3 convolutions, one for classes and one for boxes, shared by the levels.

    Args:
        stacked_convs: convolutions in each tower.
        conv_cfg, norm_cfg: kinds of layer of the towers.
        train_cfg: see `PrimeTraining`.

    Others as in `BaseAnchorHead`.
    """

    defaults = AnchorHeadArgs(
        anchor_generator=dict(
            type='AnchorGenerator',
            octave_base_scale=4,
            scales_per_octave=3,
            ratios=[0.5, 1.0, 2.0],
            strides=[8, 16, 32, 64, 128],
        ),
        init_cfg=dict(
            type='Normal',
            layer='Conv2d',
            std=0.01,
            override=dict(type='Normal', name='retina_cls', std=0.01, bias_prob=0.01),
        ),
    )

    training_settings: ClassVar[type[AnchorTraining]] = PrimeTraining
    in_channels: int

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        stacked_convs: int = 4,
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg | None = None,
        **kwargs: Unpack[AnchorHeadArgs],
    ) -> None:
        self.stacked_convs = stacked_convs
        self.conv_cfg = conv_cfg
        self.norm_cfg = norm_cfg
        super().__init__(num_classes, in_channels, **(self.defaults | kwargs))

    def _tower(self) -> nn.ModuleList:
        return conv_tower(
            self.in_channels, self.feat_channels, self.stacked_convs, conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg
        )

    def _init_layers(self) -> None:
        self.cls_convs = self._tower()
        self.reg_convs = self._tower()
        self.retina_cls = nn.Conv2d(self.feat_channels, self.num_base_priors * self.cls_out_channels, 3, padding=1)
        self.retina_reg = nn.Conv2d(self.feat_channels, self.num_base_priors * 4, 3, padding=1)

    def forward(self, feats: Sequence[Tensor]) -> AnchorOuts:
        """Features (B, in_channels, H, W) of each level -> scores (B, A*C, H, W) and deltas (B, A*4, H, W)."""
        pairs = [self.forward_single(feat) for feat in feats]
        return AnchorOuts([scores for scores, _ in pairs], [deltas for _, deltas in pairs])

    def forward_single(self, feat: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and deltas of one level."""
        return self.retina_cls(apply_convs(self.cls_convs, feat)), self.retina_reg(apply_convs(self.reg_convs, feat))

    def loss(self, outs: AnchorOuts, batch: Batch) -> dict[str, Tensor]:
        return losses_of(self, outs, batch)

    def level_predictions(self, outs: AnchorOuts) -> list[LevelPredictions]:
        return self.anchor_predictions(*outs)
