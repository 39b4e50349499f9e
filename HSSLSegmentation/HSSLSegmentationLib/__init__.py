"""Everything of HSSL that touches Slicer: panel sections, scene nodes, jobs, plots, installation."""
