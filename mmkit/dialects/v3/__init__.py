"""The dialect of mmdetection 3.x: a merged config -> Recipe. See docs/training.md for each key."""

from mmkit.dialects.v3.reader import KNOWN_KEYS, override, read

__all__ = ['KNOWN_KEYS', 'override', 'read']
