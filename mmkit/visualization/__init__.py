"""Pictures: predictions on images, and curves of a training run."""

from mmkit.visualization.curves import plot_curves, read_log
from mmkit.visualization.draw import draw_class, draw_detections, make_palette

__all__ = ['draw_class', 'draw_detections', 'make_palette', 'plot_curves', 'read_log']
