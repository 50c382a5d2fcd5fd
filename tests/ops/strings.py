"""Cases of numba_rt/ops/strings.py."""

import numpy as np

from tests.ops.cases import Case, f32, integers


def s(*texts, shape=None):
    return np.array(texts, object).reshape((len(texts),) if shape is None else shape)


def given(expected):
    return lambda *_, **__: expected


WORDS = s("monday", "Tuesday", "ÉTÉ", "straße")
POOL = {"ngram_counts": [0, 4], "ngram_indexes": [0, 1, 2, 3, 4, 5, 6], "mode": "TF"}
INTS = {**POOL, "pool_int64s": [2, 3, 5, 4, 5, 6, 7, 8, 6, 7]}
ROW = np.array([1, 1, 3, 3, 3, 7, 8, 6, 7, 5, 6, 8], np.int32)


def grams(low, high, skip):
    return {"min_gram_length": low, "max_gram_length": high, "max_skip_count": skip}


CASES = [
    Case("StringConcat", (s("a", "b", "", "é", shape=(2, 2)), s("x", "yz"))),
    Case("StringConcat", (s("a", "b"), s("x", "y", "z")), raises="cannot be broadcast"),
    Case("StringConcat", (s("a"), f32(1)), raises="Y = float32[1]"),
    Case("StringSplit", (s("a,b,,c", "", "x"),), {"delimiter": ","}, n_outputs=2),
    Case("StringSplit", (s(" a  b ", "x y z", shape=(1, 2)),), n_outputs=2),
    Case("StringSplit", (s("a-b-c-d", "q"),), {"delimiter": "-", "maxsplit": 2}, n_outputs=2),
    Case(
        "StringSplit",
        (s(shape=(0,)),),
        n_outputs=2,
        oracle=lambda x: (np.empty((0, 0), object), np.empty(0, np.int64)),
    ),
    Case("RegexFullMatch", (s("www.go.com", "www.x.org", "a\n"),), {"pattern": r"www\.[\w.-]+\.\bcom\b"}),
    Case("RegexFullMatch", (s("ab", "cd", shape=(2, 1)),), {"pattern": "(?i)A."}),
    Case("RegexFullMatch", (s("ab"),), {"pattern": "(a"}, raises="cannot be read"),
    Case("RegexFullMatch", (s("ab"),), {"pattern": r"(a)\1"}, raises="is not RE2 syntax"),
    Case("RegexFullMatch", (s("ab"),), {"pattern": "a(?=b)"}, raises="is not RE2 syntax"),
    Case(
        "StringNormalizer",
        (WORDS,),
        {"case_change_action": "UPPER", "stopwords": ["MONDAY"]},
        oracle=given(s("TUESDAY", "ÉTÉ", "STRASSE")),
    ),
    Case(
        "StringNormalizer",
        (WORDS.reshape(1, 4),),
        {"case_change_action": "LOWER", "is_case_sensitive": 1, "stopwords": ["MONDAY", "Tuesday"]},
        oracle=given(s("monday", "été", "straße", shape=(1, 3))),
    ),
    Case("StringNormalizer", (s("a", "a"),), {"stopwords": ["a"]}, oracle=given(s(""))),
    Case("StringNormalizer", (s("a", "b", shape=(2, 1)),), raises="[C] or [1, C]"),
    Case("StringNormalizer", (s("a"),), {"case_change_action": "x"}, raises="expected NONE, LOWER"),
    *(
        Case("TfIdfVectorizer", (ROW,), {**INTS, **grams(*n)})
        for n in ((1, 1, 0), (2, 2, 0), (2, 2, 5), (1, 2, 5))
    ),
    Case(
        "TfIdfVectorizer",
        (ROW.reshape(3, 4).astype(np.int64),),
        {**INTS, **grams(1, 2, 1), "mode": "IDF", "weights": [1.0] * 7},
    ),
    Case(
        "TfIdfVectorizer",
        (ROW.reshape(3, 4),),
        {**INTS, **grams(1, 2, 1), "mode": "TFIDF", "weights": [0.5, 1.0, 2.0, 3.0, 1.5, 4.0, 0.25]},
    ),
    Case(
        "TfIdfVectorizer",
        (s("a", "b", "c", "a", "b"),),
        {
            "mode": "TF",
            "ngram_counts": [0, 1],
            "ngram_indexes": [1, 0],
            "pool_strings": ["a", "a", "b"],
            **grams(1, 2, 0),
        },
    ),
    Case("TfIdfVectorizer", (ROW,), {**INTS, **grams(1, 2, 0), "mode": "X"}, raises="mode = 'X'"),
    Case("TfIdfVectorizer", (integers(2, 2, 2),), {**INTS, **grams(1, 2, 0)}, raises="[C] or [N, C]"),
    Case(
        "TfIdfVectorizer", (ROW,), {**INTS, **grams(1, 2, 0), "ngram_counts": [0, 5]}, raises="does not cut"
    ),
]
