"""The engine and compose over a Host, and pure parsers of what they say."""
