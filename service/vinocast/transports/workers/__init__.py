"""Several HTTP processes behind one port."""
