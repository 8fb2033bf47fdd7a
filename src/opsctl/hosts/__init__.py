"""Host over SSH and on this machine."""
