"""Colours of the classes of well-known datasets, RGB."""

from __future__ import annotations

from collections.abc import Sequence

from mmkit.errors import InvalidValueError

Palette = Sequence[Sequence[int]]

# Of the 80 things, as the categories of COCO's panoptic annotations have them.
COCO = [
    tuple(bytes.fromhex(colour))
    for colour in """
    dc143c 770b20 00008e 0000e6 6a00e4 003c64 005064 000046 0000c0 faaa1e 64aa1e dcdc00 af74af fa001e a52a2a ff4dff
    00e2fc b6b6ff 005200 78a69d 6e4c00 ae39ff c76400 480076 ffb3f0 007d5c d10097 bcd0b6 00dcb0 ff63a4 5c0049 8581ff
    4eb4ff 00e400 aefff3 2d59ff 868667 9194ae ffd0ba c5e2ff ab8601 6d3f36 cf8aff 97005f 09503d 546933 4a4169 a6c466
    d0c3d2 ff6d41 008f95 b300c2 d1636a 057900 e3ffcd 93bad0 994501 035fa1 a3ff00 7700aa 00b6c7 00a578 b78258 5f2000
    827287 6e8185 a64a76 db8eb9 4fd272 b25a3e 41460f 7fa773 3b696a 8e6c2d c4ac00 5f3650 804cff c93901 f6007a bfa2d0
    """.split()
]
# The same objects have the same colours: aeroplane, bicycle, bird, boat, bottle, ...
VOC = [COCO[index] for index in (4, 1, 14, 8, 39, 5, 2, 15, 56, 19, 60, 16, 17, 3, 0, 58, 18, 57, 6, 62)]
# person, rider, car, truck, bus, train, motorcycle, bicycle
CITYSCAPES = [COCO[0], (255, 0, 0), COCO[2], COCO[7], COCO[5], COCO[6], COCO[3], COCO[1]]
PALETTES = {'coco': COCO, 'voc': VOC, 'citys': CITYSCAPES}


def find_palette(palette: str | Palette) -> Palette | None:
    """The colours by label that 'coco', 'voc' or 'citys' names; 'none' and 'random' leave the choice to the drawing.

    Raises:
        InvalidValueError: for another name.
    """
    if not isinstance(palette, str):
        return palette
    if palette in ('none', 'random'):
        return None
    if palette not in PALETTES:
        message = f"palette is {palette!r}, expected 'none', 'random', {', '.join(map(repr, PALETTES))} or RGB colours"
        raise InvalidValueError(message, key='palette')
    return PALETTES[palette]
