"""The commands of the command line: parse arguments, call, print, exit."""
