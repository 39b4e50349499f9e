"""Files to SimpleITK volumes, and back: formats, DICOM, voxel data."""
