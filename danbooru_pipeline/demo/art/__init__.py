"""Pictures of the embedded booru, drawn from a seed and encoded in every format that the site accepts.

Shapes take their coordinates and sizes as positional arguments, in SVG's order (x, y, width, height, fill).
"""
