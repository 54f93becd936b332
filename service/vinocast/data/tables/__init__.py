"""Series out of a table that somebody else has made: cells out of a file, and what they mean."""
