"""RTMDet, arXiv:2212.07784."""

from __future__ import annotations

from typing_extensions import Unpack

from mmkit.layers.norm import synchronise_batch_norm
from mmkit.models.detectors.single_stage import SingleStageArgs, SingleStageDetector
from mmkit.registry import DETECTORS, Cfg
from mmkit.utils.dist import get_world_size


@DETECTORS.register_module()
class RTMDet(SingleStageDetector):
    """A one-stage detector of real-time speed, which may segment, too (arXiv:2212.07784).

    Args:
        use_syncbn: with several processes, batch norms work over all of them.

    Others as in `SingleStageDetector`.
    """

    def __init__(
        self, backbone: Cfg, bbox_head: Cfg, use_syncbn: bool = True, **kwargs: Unpack[SingleStageArgs]
    ) -> None:
        super().__init__(backbone, bbox_head, **kwargs)
        if use_syncbn and get_world_size() > 1:
            synchronise_batch_norm(self)
