"""Detections in images, folders and arrays, drawn and written to files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from pprint import pprint
from typing import Any

import numpy as np
import torch

from mmkit.apis.inference import Image, inference_detector, init_detector, show_result, show_result_pyplot
from mmkit.config import Config
from mmkit.config.shipped import find_config
from mmkit.errors import InvalidTypeError, InvalidValueError, MissingFileError
from mmkit.structures import EncodedMasks, Instances
from mmkit.utils.download import download
from mmkit.utils.files import atomic_write
from mmkit.utils.logging import get_logger
from mmkit.utils.names import SCOPES
from mmkit.utils.progress import track
from mmkit.utils.weights import home, read_weights, resolve
from mmkit.visualization.palettes import Palette

IMAGES = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp')
Inputs = Image | Sequence[Image]


class DetInferencer:
    """A detector that takes whatever holds images, by the interface of mmdetection 3.x.

    Args:
        model: a config, its file, or the name of one that mmkit ships, such as 'rtmdet_tiny_8xb32-300e_coco'; None is
            the config that the checkpoint holds.
        weights: checkpoint: a file, URL or scheme. A config on its own predicts by random weights, after a warning.
        device: a GPU if there is one.
        scope: a project whose types have the same names here.
        palette: see `init_detector`.
        show_progress: a bar on stderr.

    Raises:
        InvalidValueError: for a name without weights, another scope, or a checkpoint that holds no config.
        UserError: as in `init_detector`.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Config | None = None,
        weights: str | os.PathLike[str] | None = None,
        device: str | torch.device | None = None,
        scope: str | None = 'mmdet',
        palette: str | Palette = 'none',
        show_progress: bool = True,
    ) -> None:
        if scope not in (None, *SCOPES):
            raise InvalidValueError(f'scope is {scope!r}, expected one of {", ".join(SCOPES)}', key='scope')
        if model is None:
            model = _config_in(weights)
        elif weights is None:
            _warn_of_random_weights(model)
        self.model = init_detector(model, weights, device or 'cuda:0', palette=palette)
        self.show_progress = show_progress
        self._num_arrays = 0  # they have no names for files

    def __call__(
        self,
        inputs: Inputs,
        batch_size: int = 1,
        *,
        return_vis: bool = False,
        show: bool = False,
        wait_time: float = 0,
        no_save_vis: bool = False,
        draw_pred: bool = True,
        pred_score_thr: float = 0.3,
        return_datasamples: bool = False,
        print_result: bool = False,
        no_save_pred: bool = True,
        out_dir: str | os.PathLike[str] = '',
        texts: object = None,
        custom_entities: bool = False,
    ) -> dict[str, list[Any]]:
        """Detect, and draw or write what is asked for.

        Args:
            inputs: the path or URL of an image, a folder of images, an array (H, W, 3) uint8 BGR, or a list of these.
            batch_size: images that go through the model together.
            return_vis: return the drawings.
            show: show them in windows, each for `wait_time` seconds; 0 waits for the user.
            no_save_vis: don't write the drawings into `out_dir`.
            draw_pred: draw the detections; otherwise the drawings are the images.
            pred_score_thr: 0..1, lowest score that is drawn; all detections are returned.
            return_datasamples: return `Instances` instead of dicts.
            print_result: print them.
            no_save_pred: don't write the detections into `out_dir`.
            out_dir: drawings go to `vis/<name of the image>`, detections to `preds/<its stem>.json`; '' writes nothing.
                Arrays are numbered.
            texts, custom_entities: of models that understand texts, which there are none of: an error.

        Returns:
            predictions: of each image `bboxes` [[x1, y1, x2, y2], ...] in its pixels, `labels`, `scores`, and, of a
                model that makes masks, `masks` as run-length codes; the best detections first.
            visualization: (H, W, 3) uint8 RGB of each image; empty unless they are returned, shown or written.

        Raises:
            InvalidValueError: for `texts` or `custom_entities`, or an array that is no image.
            MissingFileError: there is no such file, or no image in a folder.
        """
        if texts is not None or custom_entities:
            raise InvalidValueError('no model here understands texts', key='texts' if texts else 'custom_entities')
        images = [image for each in _as_list(inputs) for image in _images_in(each)]
        vis_dir = Path(out_dir) / 'vis' if out_dir and not no_save_vis else None
        outputs: dict[str, list[Any]] = {'predictions': [], 'visualization': []}
        for image, detections in self._detections(images, batch_size):
            name = self._name_of(image)
            content = _as_dict(detections)
            outputs['predictions'].append(detections if return_datasamples else content)
            if print_result:
                pprint(content)
            if out_dir and not no_save_pred:
                _write_json(Path(out_dir) / 'preds' / f'{Path(name).stem}.json', content)
            shown = detections if draw_pred else detections[:0]
            if return_vis or show or vis_dir is not None:
                out_file = None if vis_dir is None else str(vis_dir / name)
                drawn = show_result(self.model, image, shown, pred_score_thr, out_file)
                outputs['visualization'].append(drawn[..., ::-1])
            if show:
                show_result_pyplot(self.model, image, shown, pred_score_thr, name, wait_time)
        return outputs

    def _detections(self, images: Sequence[Image], batch_size: int) -> Iterator[tuple[Image, Instances]]:
        chunks = [images[start : start + batch_size] for start in range(0, len(images), batch_size)]
        for chunk in track(chunks, desc='inference', unit='batch') if self.show_progress else chunks:
            found = inference_detector(self.model, chunk, batch_size=batch_size)
            assert isinstance(found, list)
            for image, detections in zip(chunk, found, strict=True):
                if not isinstance(detections, Instances):
                    raise InvalidTypeError('DetInferencer is for detectors, and this is a classifier', key='model')
                yield image, detections

    def _name_of(self, image: Image) -> str:
        if not isinstance(image, np.ndarray):
            return Path(image).name
        self._num_arrays += 1
        return f'{self._num_arrays - 1:08}.jpg'


def _warn_of_random_weights(model: str | os.PathLike[str] | Config) -> None:
    if isinstance(model, str) and find_config(model) != Path(model).expanduser():
        message = (
            f'{model} is the name of a config, and no weights are hosted for it: give weights=, the path of a '
            'checkpoint that you trained or kept'
        )
        raise InvalidValueError(message, key='weights')
    get_logger().warning('without weights, the detections are those of a model of random weights')


def _config_in(weights: str | os.PathLike[str] | None) -> Config:
    """The config whose text a checkpoint holds: mmkit calls it `config`, 3.x `cfg`."""
    if weights is None:
        raise InvalidValueError('DetInferencer needs a model, or weights that hold its config', key='model')
    meta = read_weights(resolve(weights)).get('meta') or {}
    text = meta.get('config') or meta.get('cfg')
    if not isinstance(text, str):
        raise InvalidValueError(f'{weights} holds no config: give model=', key='model')
    return Config.fromstring(text)


def _as_list(inputs: Inputs) -> list[Image]:
    return [inputs] if isinstance(inputs, (str, os.PathLike, np.ndarray)) else list(inputs)


def _images_in(source: Image) -> list[Image]:
    """An image itself, the local file of a URL, or the images of a folder in the order of their names."""
    if isinstance(source, np.ndarray):
        return [source]
    text = os.fspath(source)
    if text.startswith(('http://', 'https://')):
        return [download(text, home() / 'images')]
    if not Path(text).is_dir():
        return [text]
    found = sorted(str(path) for path in Path(text).iterdir() if path.suffix.lower() in IMAGES)
    if not found:
        raise MissingFileError(f'there is no image in the folder {text}: expected {" ".join(IMAGES)}')
    return [*found]


def _as_dict(detections: Instances) -> dict[str, Any]:
    assert detections.labels is not None and detections.scores is not None
    content: dict[str, Any] = {
        'labels': detections.labels.tolist(),
        'scores': detections.scores.tolist(),
        'bboxes': detections.bboxes.tolist(),
    }
    if isinstance(detections.masks, EncodedMasks):
        content['masks'] = detections.masks.to_json()
    return content


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, 'w') as file:
        json.dump(content, file)
