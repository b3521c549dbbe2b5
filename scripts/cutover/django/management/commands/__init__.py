"""The commands of the drop-in app."""
