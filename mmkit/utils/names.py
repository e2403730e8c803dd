"""Names of types: scopes of other projects, and suggestions for wrong names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

# Projects whose types have the same names in mmkit: a config may write 'mmcls.TIMMBackbone'.
SCOPES = ('mmdet', 'mmcls', 'mmcv', 'mmengine', 'mmpretrain')

# Types of mmdetection 2.28 and 3.3 that mmkit does not have; a test checks that none of them is registered.
ELSEWHERE = frozenset(
    """
    AnchorFreeHead AssociativeEmbeddingLoss AutoAssign AutoAssignHead CascadeRPNHead
    CentripetalHead CoarseMaskHead CocoPanopticDataset CornerHead CornerNet
    CrissCrossAttention DDOD DDODHead DecoupledSOLOHead DecoupledSOLOLightHead DetectoRS_ResNet
    DetectoRS_ResNeXt DIIHead DoubleConvFCBBoxHead DoubleHeadRoIHead DyHead DynamicConv DynamicMaskHead
    DynamicRoIHead EfficientNet EmbeddingRPNHead FeatureRelayHead FPG FPN_CARAFE
    GlobalContextHead GridHead GridRCNN GridRoIHead HeuristicFusionHead HourglassNet InstaBoost
    KnowledgeDistillationSingleStageDetector LAD LADHead LDHead LoadMultiChannelImageFromFiles LoadPanopticAnnotations
    Mask2Former Mask2FormerHead MaskFormer MaskFormerFusionHead MaskFormerHead MaskHungarianAssigner MaskPointHead
    MaskPseudoSampler MSDeformAttnPixelDecoder NASFCOS NASFCOS_FPN NASFCOSHead NASFPN OccludedSeparatedCocoDataset
    OpenImagesChallengeDataset OpenImagesDataset PanopticFPN PanopticFPNHead
    PixelDecoder PointRend PointRendRoIHead QueryInst RegionAssigner RFP SAC
    SCNet SCNetBBoxHead SCNetMaskHead SCNetRoIHead SCNetSemanticHead SingleStageInstanceSegmentor SOLO
    SOLOHead SOLOv2 SOLOV2Head SparseConv2d SparseConv3d SparseConv4d SparseConvTranspose2d SparseConvTranspose3d
    SparseInverseConv2d SparseInverseConv3d SparseRCNN SparseRoIHead StageCascadeRPNHead SubMConv2d SubMConv3d
    SubMConv4d TransformerEncoderPixelDecoder TridentFasterRCNN TridentResNet TridentRoIHead
    TwoStagePanopticSegmentor WrapFieldsToLists YOLACT YOLACTHead YOLACTProtonet YOLACTSegmHead
    CityScapesMetric COCOCaptionMetric CocoPanopticMetric CocoVideoMetric DODCocoMetric DumpDetResults
    DumpODVGResults DumpProposals Flickr30kMetric LVISFixedAPMetric MOTChallengeMetric OpenImagesMetric
    OVCocoMetric RefExpMetric RefSegMetric ReIDMetrics SemSegMetric YouTubeVISMetric
    ADE20KPanopticDataset CocoCaptionDataset CustomSampleSizeSampler DODDataset DSDLDetDataset Flickr30kDataset
    GTBoxSubOne_GLIP LoadTextAnnotations LoadTrackAnnotations MDETRStyleRefCocoDataset MOTChallengeDataset ODVGDataset
    PackReIDInputs PackTrackInputs RandomFlip_GLIP RandomSamplingNegPos RefCocoDataset ReIDDataPreprocessor ReIDDataset
    TrackAspectRatioBatchSampler TrackDataPreprocessor TrackImgSampler TransformBroadcaster UniformRefFrameSample
    YouTubeVISDataset
    BaseReID ByteTrack DeepSORT Detectron2Wrapper GLIP GroundingDINO Mask2FormerVideo MaskTrackRCNN OCSORT QDTrack
    StrongSORT
    """.split()
)


def unscoped(name: str) -> str:
    """The name without its scope, `FCOS` of `mmdet.FCOS` and of `mmdet.models.FCOS`; any other path as it is."""
    return name.rpartition('.')[2] if name.partition('.')[0] in SCOPES else name


def first_of(names: Sequence[object], count: int) -> str:
    """The first `count` names, with ', ...' for the others."""
    return ', '.join(map(str, names[:count])) + (', ...' if len(names) > count else '')


def suggestion(name: object, names: Iterable[object]) -> str:
    """', did you mean ...?' with the name of `names` that resembles `name` most; '' if none does."""
    near = nearest(name, names, 1)
    return f', did you mean {near[0]!r}?' if near else ''


def nearest(name: object, names: Iterable[object], count: int = 3) -> list[str]:
    """At most `count` of `names` that resemble `name`, most similar first, regardless of case."""
    from difflib import get_close_matches  # only errors need it

    by_lower: dict[str, str] = {}
    for candidate in names:
        by_lower.setdefault(str(candidate).lower(), str(candidate))
    return [by_lower[match] for match in get_close_matches(str(name).lower(), by_lower, count, cutoff=0.5)]
