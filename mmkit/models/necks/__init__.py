"""Necks: from the feature maps of a backbone to those of the heads."""

from mmkit.models.necks.bfp import BFP
from mmkit.models.necks.channel_mapper import ChannelMapper
from mmkit.models.necks.csp_pafpn import YOLOXPAFPN, CSPNeXtPAFPN
from mmkit.models.necks.ct_resnet_neck import CTResNetNeck
from mmkit.models.necks.dilated_encoder import DilatedEncoder
from mmkit.models.necks.fpn import FPN, PAFPN
from mmkit.models.necks.gap import GlobalAveragePooling
from mmkit.models.necks.hrfpn import HRFPN
from mmkit.models.necks.ssd_neck import SSDNeck
from mmkit.models.necks.yolo_neck import YOLOV3Neck

__all__ = [
    'BFP',
    'FPN',
    'HRFPN',
    'PAFPN',
    'YOLOXPAFPN',
    'CSPNeXtPAFPN',
    'CTResNetNeck',
    'ChannelMapper',
    'DilatedEncoder',
    'GlobalAveragePooling',
    'SSDNeck',
    'YOLOV3Neck',
]
