"""Find complete files in the inbox and claim them."""
