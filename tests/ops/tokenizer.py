"""Cases of numba_rt/ops/tokenizer.py."""

import numpy as np

from tests.ops.cases import Case

MS = {"domain": "com.microsoft"}
TEXTS = np.array(["a bc, def", "", "ghi"], object)
PLAIN = {"mark": 0, "mincharnum": 1, "pad_value": "#"}


def tokens(*rows):
    return lambda *_, **__: np.array(rows, object)


CASES = [
    Case(
        "Tokenizer",
        (TEXTS,),
        {**PLAIN, "tokenexp": "[a-z]+"},
        oracle=tokens(["a", "bc", "def"], ["#", "#", "#"], ["ghi", "#", "#"]),
        **MS,
    ),
    Case(
        "Tokenizer",
        (TEXTS[:, None],),
        {**PLAIN, "mincharnum": 2, "separators": [" ", ","]},
        oracle=tokens([["bc", "def"]], [["#", "#"]], [["ghi", "#"]]),
        **MS,
    ),
    Case(
        "Tokenizer",
        (TEXTS[2:],),
        {**PLAIN, "mark": 1, "separators": [""]},
        oracle=tokens(["\x02", "g", "h", "i", "\x03"]),
        **MS,
    ),
    Case("Tokenizer", (TEXTS,), PLAIN, raises="expected one of them", **MS),
    Case("Tokenizer", (TEXTS,), {**PLAIN, "tokenexp": "["}, raises="is not a pattern", **MS),
    Case("Tokenizer", (TEXTS,), {**PLAIN, "mincharnum": 0, "tokenexp": "."}, raises="mincharnum = 0", **MS),
]
