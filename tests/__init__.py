"""What digitd promises, tested on the real program."""
