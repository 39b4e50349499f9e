"""Generated scans, and the run through everything on them."""
