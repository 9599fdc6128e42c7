"""factors.py against lists with a fault: what is refused, what never meets, is said.

    factors_test.py ATTNC"""
import contextlib
import io
import sys

import factors

SPEC = "attnc: 1\nname: plain\ndtype: fp16\nhead_dim: 64\n"
LEGAL, NEVER, NO_TILE = "template=ref_fwd", "template=ref_fwd,block_m=0", "template=fwd_mma,block_m=48"


def said(attnc, hows, possible=lambda case: True):
    """Is the list whole, and what is printed."""
    a, out = factors.arguments(40).parse_args([attnc, "--list"]), io.StringIO()
    values = {"how": hows, "sizes": ("b1 h1 s16", "b2 h2 s20", "b1 h2 sq3 sk40")}
    with contextlib.redirect_stdout(out):
        code = factors.each(a, values, possible,
                            lambda case, i: factors.Case(SPEC, "sm_80", case["sizes"], case["how"]))
    return code, out.getvalue()


def main():
    attnc = sys.argv[1]
    code, text = said(attnc, (LEGAL, "template=fwd_mma"))
    assert code == 0 and "0 pairs that none has, 0 refused" in text, text
    for wrong in (NEVER, NO_TILE):
        code, text = said(attnc, (LEGAL, wrong))
        assert code == 1 and "3 pairs that none has" in text and f"no case has how {wrong} sizes b1 h1 s16" in text, text
        assert "refused: " in text and wrong in text.split("refused: ", 1)[1], text
        code, text = said(attnc, (LEGAL, wrong), lambda case: case["how"] == LEGAL)
        assert code == 0 and "0 pairs that none has, 0 refused" in text, text
    return 0


if __name__ == "__main__":
    sys.exit(main())
