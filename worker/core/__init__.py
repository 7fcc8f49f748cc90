"""The order's life as pure data and functions: no I/O, no clock, no chance, the standard library only."""
