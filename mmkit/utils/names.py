"""Names of types: those of other projects, and the nearest right ones for messages about wrong ones."""

from __future__ import annotations

from collections.abc import Iterable

# Projects whose types are here under the same names: a config may write 'mmcls.TIMMBackbone'.
SCOPES = ('mmdet', 'mmcls', 'mmcv')

# Types of mmdetection 2.28 and its mmcv that are not here. Whoever builds one takes it off the list: a test insists.
ELSEWHERE = frozenset(
    """
    Albu AnchorFreeHead ApproxMaxIoUAssigner AssociativeEmbeddingLoss AutoAssign AutoAssignHead BucketingBBoxCoder
    CascadeRPNHead CenterNet CenterNetHead CenterRegionAssigner CentripetalHead CityscapesDataset CoarseMaskHead
    CocoPanopticDataset CopyPaste CornerHead CornerNet Corrupt CrissCrossAttention CTResNetNeck CutOut DDOD DDODHead
    DecoupledSOLOHead DecoupledSOLOLightHead DeepFashionDataset DetectoRS_ResNet DetectoRS_ResNeXt DIIHead
    DilatedEncoder DoubleConvFCBBoxHead DoubleHeadRoIHead DyHead DynamicConv DynamicMaskHead DynamicRoIHead EfficientNet
    EmbeddingRPNHead FeatureRelayHead FOVEA FoveaHead FPG FPN_CARAFE FreeAnchorRetinaHead FSAF FSAFHead GARetinaHead
    GARPNHead GlobalContextHead GridHead GridRCNN GridRoIHead GuidedAnchorHead HeuristicFusionHead HourglassNet
    InstaBoost KnowledgeDistillationSingleStageDetector LAD LADHead LDHead LoadMultiChannelImageFromFiles
    LoadPanopticAnnotations LVISDataset LVISV05Dataset LVISV1Dataset Mask2Former Mask2FormerHead MaskFormer
    MaskFormerFusionHead MaskFormerHead MaskHungarianAssigner MaskIoUHead MaskPointHead MaskPseudoSampler
    MaskScoringRCNN MaskScoringRoIHead MSDeformAttnPixelDecoder NASFCOS NASFCOS_FPN NASFCOSHead NASFPN
    Objects365V1Dataset Objects365V2Dataset OccludedSeparatedCocoDataset OpenImagesChallengeDataset OpenImagesDataset
    PAA PAAHead PanopticFPN PanopticFPNHead PISARetinaHead PISARoIHead PISASSDHead PixelDecoder PointRend
    PointRendRoIHead QueryInst RandomCenterCropPad RandomShift RegionAssigner RepPointsDetector RepPointsHead RFP
    SABLHead SABLRetinaHead SAC SCNet SCNetBBoxHead SCNetMaskHead SCNetRoIHead SCNetSemanticHead ScoreHLRSampler
    SingleStageInstanceSegmentor SOLO SOLOHead SOLOv2 SOLOV2Head SparseConv2d SparseConv3d SparseConv4d
    SparseConvTranspose2d SparseConvTranspose3d SparseInverseConv2d SparseInverseConv3d SparseRCNN SparseRoIHead
    StageCascadeRPNHead SubMConv2d SubMConv3d SubMConv4d TOOD TOODHead TransformerEncoderPixelDecoder TridentFasterRCNN
    TridentResNet TridentRoIHead TwoStagePanopticSegmentor VFNet VFNetHead WIDERFaceDataset WrapFieldsToLists YOLACT
    YOLACTHead YOLACTProtonet YOLACTSegmHead YOLOF YOLOFHead
    """.split()
)


def unscoped(name: str) -> str:
    """The name without the project in front of it; every other dotted path stays what it is."""
    scope, _, rest = name.partition('.')
    return rest if scope in SCOPES and rest and '.' not in rest else name


def nearest(name: object, names: Iterable[object], count: int = 3) -> list[str]:
    """At most `count` of `names` that look like `name`, the most alike first; letter case is ignored."""
    from difflib import get_close_matches  # only errors need it

    by_lower: dict[str, str] = {}
    for candidate in names:
        by_lower.setdefault(str(candidate).lower(), str(candidate))
    return [by_lower[found] for found in get_close_matches(str(name).lower(), by_lower, count, cutoff=0.5)]
