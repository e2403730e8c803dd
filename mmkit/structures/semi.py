"""Labelled and unlabelled images together, for semi-supervised training."""

from __future__ import annotations

from dataclasses import dataclass

from mmkit.structures.batch import Batch, Sample


@dataclass
class UnlabelledSample:
    """Two views of one image without labels.

    Attributes:
        teacher: weakly augmented, whose detections are taken for labels (branch `unsup_teacher`).
        student: strongly augmented, to learn from those (branch `unsup_student`).

    Both need `meta.homography_matrix`, which leads from one view to the other.
    """

    teacher: Sample
    student: Sample


@dataclass
class SemiBatch(Batch):
    """A batch of labelled images, and two views of each unlabelled one, in the same order; None if there are none."""

    teacher: Batch | None = None
    student: Batch | None = None

    @property
    def filenames(self) -> list[str]:
        return super().filenames + (self.student.filenames if self.student is not None else [])
