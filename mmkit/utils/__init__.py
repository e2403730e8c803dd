"""Foundations of all rooms: logging, processes, seeds, files, weight files.

Import the modules themselves (`from mmkit.utils import dist`): this file imports nothing, so that a command that needs
only the logger doesn't wait for torch.
"""
