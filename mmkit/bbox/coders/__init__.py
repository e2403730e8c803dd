"""Box coders: from a prior and a box to regression targets and back."""

from mmkit.bbox.coders.bucketing import BucketingBBoxCoder
from mmkit.bbox.coders.delta_xywh import DeltaXYWHBBoxCoder, LegacyDeltaXYWHBBoxCoder
from mmkit.bbox.coders.plain import DistancePointBBoxCoder, PseudoBBoxCoder, TBLRBBoxCoder, YOLOBBoxCoder

__all__ = [
    'BucketingBBoxCoder',
    'DeltaXYWHBBoxCoder',
    'DistancePointBBoxCoder',
    'LegacyDeltaXYWHBBoxCoder',
    'PseudoBBoxCoder',
    'TBLRBBoxCoder',
    'YOLOBBoxCoder',
]
