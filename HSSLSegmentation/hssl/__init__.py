"""HSSL: hierarchical self-supervised learning for segmentation of medical volumes (Zheng et al., MICCAI 2021)."""

__version__ = "0.1.0"
