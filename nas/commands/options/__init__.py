"""Every argument and option of the command line, each declared once; a command takes it in one line: `options.Budget`.

Declared by what they are about: runs and networks (`networks`), studies (`studies`), trainings (`training`).
"""

from nas.commands.options.networks import *
from nas.commands.options.studies import *
from nas.commands.options.training import *
from nas.commands.options.words import *
