# SPDX-License-Identifier: Apache-2.0
"""dmemctl: every command and option, what it prints for people and for programs, and what bad input gets."""

import sys

sys.dont_write_bytecode = True  # before the imports: the source folder stays as it is

import cases_change  # noqa: E402, F401  (each registers its cases)
import cases_show  # noqa: E402, F401
import cases_usage  # noqa: E402, F401
from support import run_cases  # noqa: E402

sys.exit(run_cases())
