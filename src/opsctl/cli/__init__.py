"""Parse, call one job, render."""
