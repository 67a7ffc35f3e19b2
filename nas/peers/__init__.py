"""Other people's searches as contestants of `nas bench-strategies` and of `benchmarks/regret.py`, as they are.

`catalog` has their names, `here` the searches of packages of this Python, `elsewhere` and `server` those of another
one, and `playing` makes a run of a search that can be compared with those of our strategies.
"""
