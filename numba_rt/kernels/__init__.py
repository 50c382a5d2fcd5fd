"""Loops without operators: they know arrays, nothing else.

Size letters: b batch; m, n, k matrix; c, h, w image; s, t sequence; d head; r rows. Inputs first, then
scalars, the outputs, and last `tasks`. A kernel may work in place only where its docstring says so.
"""
