"""YOLOX, which trains on images of changing size, arXiv:2107.08430."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from typing_extensions import Unpack

from mmkit.errors import ConfigError, InvalidTypeError, InvalidValueError
from mmkit.models.batch_augments import RandomSizes, resized
from mmkit.models.dense_heads import YOLOXHead
from mmkit.models.detectors.single_stage import SingleStageArgs, SingleStageDetector
from mmkit.protocols import Progress
from mmkit.registry import DETECTORS, Cfg
from mmkit.structures import Batch


@DETECTORS.register_module()
class YOLOX(SingleStageDetector):
    """A one-stage detector whose training images change their size (arXiv:2107.08430).

    Args:
        input_size: (height, width) of the images that the pipeline makes.
        size_multiplier: training sizes are multiples of this.
        random_size_range: (low, high), both included: training heights in units of `size_multiplier`; None keeps
            images as they are.
        random_size_interval: iterations after which another size is drawn; the first have `input_size`.

    Others as in `SingleStageDetector`.

    Attributes:
        iteration: training iterations so far. The size depends on it and on the seed, in all processes alike.

    Raises:
        InvalidValueError: if `random_size_interval` is below 1.
    """

    def __init__(
        self,
        backbone: Cfg,
        bbox_head: Cfg,
        input_size: Sequence[int] = (640, 640),
        size_multiplier: int = 32,
        random_size_range: Sequence[int] | None = (15, 25),
        random_size_interval: int = 10,
        **kwargs: Unpack[SingleStageArgs],
    ) -> None:
        super().__init__(backbone, bbox_head, **kwargs)
        if random_size_interval < 1:
            raise InvalidValueError(
                f'YOLOX: random_size_interval must be at least 1, got {random_size_interval}',
                key='random_size_interval',
            )
        self.input_size: tuple[int, int] = (input_size[0], input_size[1])
        self.sizes: RandomSizes | None = None
        if random_size_range is not None:
            self.sizes = RandomSizes(random_size_range, random_size_interval, size_multiplier)
        self.iteration = 0

    def set_progress(self, progress: Progress) -> None:
        self.iteration = progress.iter

    def use_extra_losses(self) -> None:
        """Add an L1 loss of the boxes from now on: for the last epochs, which train on images without mixing."""
        if not isinstance(self.bbox_head, YOLOXHead):
            raise InvalidTypeError(f'{type(self.bbox_head).__name__} has no extra losses, only a YOLOXHead has')
        self.bbox_head.use_l1 = True

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        if self.training and self.sizes is not None:
            new, given = self.training_size(self.iteration), tuple(batch.imgs.shape[-2:])
            if new != self.input_size != given:  # boxes would be scaled by another factor than images
                raise ConfigError(
                    f'model.input_size is {self.input_size} (height, width), but data.train gives images of {given}: '
                    'it must be the img_scale of the pipeline'
                )
            batch = resized(batch, new) if new != self.input_size else batch
        return super().loss(batch)

    def training_size(self, iteration: int) -> tuple[int, int]:
        """(height, width) of the images in an iteration."""
        size = None if self.sizes is None else self.sizes.at(iteration, self.input_size[1] / self.input_size[0])
        return size or self.input_size
