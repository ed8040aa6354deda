"""A space whose layers are converted and measured in a moment."""

TINY = """
name: tiny
resolution: 16
image_channels: 1
classes: 10
kernels: [3, 5]
expansions: [3, 6]
stem: {channels: 8}
stages:
  - {layers: 2, channels: 8}
  - {layers: 1, channels: 16, stride: 2}
head: {channels: 32}
"""
