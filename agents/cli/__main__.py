"""`python -m agents.cli`: the command line without its installed script."""
from agents.cli import main

main()
