"""Words shared by all rooms: values without I/O, and the two ports through which time and events pass.

Everything here is a small immutable value or a `Protocol`. A room above may rely on any of it;
nothing here may import from a room above, open a file or look at the clock.
"""
