"""MRML: volumes, segmentations, slices and pictures of them."""
