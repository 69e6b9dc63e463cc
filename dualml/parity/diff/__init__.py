"""Two native models against each other: rung by rung, each side judged on what it recorded itself."""
