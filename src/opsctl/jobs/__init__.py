"""One module a capability: decides, acts through ports, returns frozen results."""
