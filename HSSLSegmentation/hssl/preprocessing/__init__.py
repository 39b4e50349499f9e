"""From a volume to the working array: fingerprint, normalisation, grid, store."""
