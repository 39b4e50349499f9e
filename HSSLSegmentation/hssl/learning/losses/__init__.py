"""The losses of pretraining: a file each for the image, task and group levels, reconstruction, and dense contrast."""
