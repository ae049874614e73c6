"""A small real virtual distributed system on one machine, and the recorder that measures it."""
