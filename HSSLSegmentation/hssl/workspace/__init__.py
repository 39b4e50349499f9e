"""Which images there are: the catalogue, what a folder holds, and what is wrong with it."""
