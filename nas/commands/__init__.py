"""What a person types: one file for each group of commands, with its screens; `app` has them all by name. Only here are
typer and rich imported.

Commands parse, call a public function and print. `nas --help` imports every file here, so that none imports more than
typer and what its help needs of rich at the top; a command imports the rest when it runs.
"""
