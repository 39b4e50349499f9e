"""The folder that Slicer takes as the name of the effect's module; the effect's parts are in HSSLSegmentationLib."""
