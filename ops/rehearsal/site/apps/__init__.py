"""The applications of the stand-in site."""
