"""Rules that make one operator of several, one family per file."""
