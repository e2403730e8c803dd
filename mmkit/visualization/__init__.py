"""What a model saw and how it learned, as pictures."""

from mmkit.visualization.curves import plot_curves, read_log
from mmkit.visualization.draw import draw_class, draw_detections
from mmkit.visualization.palette import make_palette

__all__ = ['draw_class', 'draw_detections', 'make_palette', 'plot_curves', 'read_log']
