"""Other ways to run the same models, to compare with."""
