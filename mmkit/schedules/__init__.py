"""Schedules of learning rate and momentum, as numbers: nothing here knows an optimizer, a config or torch."""

from mmkit.schedules.curves import Curve, Position
from mmkit.schedules.segments import Clock, Schedule, Segment, Track, Unit, values_along

__all__ = ['Clock', 'Curve', 'Position', 'Schedule', 'Segment', 'Track', 'Unit', 'values_along']
