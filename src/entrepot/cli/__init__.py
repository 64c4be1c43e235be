"""The command line. ``main.py`` knows the commands by name and imports only the one that is run."""
