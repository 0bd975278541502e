"""What tests of several wings share. Tests, and the programs that they start, import it from the folder `tests`."""
