"""Prior generators: boxes and points on the cells of feature maps."""

from mmkit.bbox.priors.anchors import AnchorGenerator, LegacyAnchorGenerator
from mmkit.bbox.priors.fixed_anchors import LegacySSDAnchorGenerator, SSDAnchorGenerator, YOLOAnchorGenerator
from mmkit.bbox.priors.points import MlvlPointGenerator, PointGenerator

__all__ = [
    'AnchorGenerator',
    'LegacyAnchorGenerator',
    'LegacySSDAnchorGenerator',
    'MlvlPointGenerator',
    'PointGenerator',
    'SSDAnchorGenerator',
    'YOLOAnchorGenerator',
]
