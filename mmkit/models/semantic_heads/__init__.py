"""Heads that predict a semantic segmentation."""

from mmkit.models.semantic_heads.fused_semantic_head import FusedSemanticHead

__all__ = ['FusedSemanticHead']
