"""The command line: one module a command; each parses, calls one pipeline and prints what it gave back."""
