"""The command line: each command is a file that parses, calls one function and shows the result."""
