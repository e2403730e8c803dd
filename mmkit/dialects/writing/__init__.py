"""A recipe in either dialect: what a config says, as the other one spells it."""

from mmkit.dialects.writing.canonical import canonical
from mmkit.dialects.writing.notes import Notes
from mmkit.dialects.writing.v2 import write_v2
from mmkit.dialects.writing.v3 import write_v3

__all__ = ['Notes', 'canonical', 'write_v2', 'write_v3']
