"""The command line: one command a file; each parses, calls one function, and shows the result."""
