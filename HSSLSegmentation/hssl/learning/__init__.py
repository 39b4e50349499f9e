"""How networks are trained: the loop, what it reads, its losses."""
