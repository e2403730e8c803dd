"""Drawings of what a model predicts while it is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2

from mmkit.engine.hook import Hook, Trainer
from mmkit.errors import InvalidValueError
from mmkit.registry import HOOKS
from mmkit.structures import ClassScores, ImageMeta, Prediction
from mmkit.transforms.images import read_image
from mmkit.utils.files import check_disk
from mmkit.visualization import draw_class, draw_detections

VIS_FOLDER = 'vis_data/vis_image'


@HOOKS.register_module()
class DetVisualizationHook(Hook):
    """Draws predictions of evaluations on their images, to `vis_data/vis_image` of the run; of a test, all of them.

    Args:
        draw: whether it does anything.
        interval: one image of so many is drawn; counting begins with the iteration of the training, so that not all
            evaluations draw the same images.
        score_thr: 0..1, detections below are left out.
        show, wait_time: only False and 0; the test command has `--show` and `--wait-time` for them.
        test_out_dir: in place of `vis_data/vis_image`, the folder for drawings of a test.
        backend_args: only None or the disk.

    Raises:
        InvalidValueError: naming the argument that is wrong.
    """

    def __init__(
        self,
        draw: bool = False,
        interval: int = 50,
        score_thr: float = 0.3,
        show: bool = False,
        wait_time: float = 0.0,
        test_out_dir: str | None = None,
        backend_args: Mapping[str, Any] | None = None,
    ) -> None:
        check_disk(backend_args)
        for key, value, option in (('show', show, '--show'), ('wait_time', wait_time, '--wait-time')):
            if value:
                raise InvalidValueError(f'{key}={value!r} is for tests: use {option} of the test command', key=key)
        if not isinstance(interval, int) or interval < 1:
            raise InvalidValueError(f'interval is {interval!r}, expected a positive whole number', key='interval')
        self.draw = draw
        self.interval = interval
        self.score_thr = score_thr
        self.test_folder = test_out_dir or VIS_FOLDER

    def on_prediction(self, runner: Trainer, number: int, meta: ImageMeta, prediction: Prediction) -> None:
        step = runner.iter + number
        if not self.draw or step % self.interval:
            return
        path = runner.work_dir / runner.timestamp / VIS_FOLDER / f'val_img_{step}.png'
        draw_to_file(
            path,
            meta,
            prediction,
            classes=runner.meta.get('CLASSES'),
            palette=runner.meta.get('PALETTE'),
            score_thr=self.score_thr,
        )


def draw_to_file(
    path: Path,
    meta: ImageMeta,
    prediction: Prediction,
    classes: Sequence[str] | None = None,
    palette: Sequence[Sequence[int]] | None = None,
    score_thr: float = 0.3,
) -> None:
    """Draw the predictions for an image of a dataset; directories are made.

    Args:
        meta: names the file of the image.
        classes, palette: names of the labels, and their colours (RGB).
        score_thr: 0..1, detections below are left out.

    Raises:
        OSError: the drawing cannot be written.
    """
    image = read_image(meta.filename, 'color', 'bgr')
    colours = [(blue, green, red) for red, green, blue in palette] if palette else None
    if isinstance(prediction, ClassScores):
        drawn = draw_class(image, prediction, classes, colours)
    else:
        drawn = draw_detections(image, prediction, classes, score_thr, colours)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), drawn):
        raise OSError(f'{path} could not be written')
