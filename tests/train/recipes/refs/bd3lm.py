"""BD3-LM (arXiv:2503.09573): sum over blocks of E_t[ 1/t x sum over the block's masks of CE ] by the number of tokens;
one t a block. A noised block sees itself and the clean blocks before it; clean blocks see clean ones up to their own."""

from .mdlm import summed


def sees(f, block):
    """The mask by the definition, for documents packed in a row."""
    v = f["view"]
    for row in range(len(f["x"])):
        for a in range(v["pos"].shape[1]):
            for b in range(v["pos"].shape[1]):
                blocks = int(v["pos"][row, a]) // block, int(v["pos"][row, b]) // block
                streams = int(v["stream"][row, a]), int(v["stream"][row, b])  # 0 noised, 1 clean
                inside = streams[0] == streams[1] and blocks[0] == blocks[1]
                earlier = streams == (0, 1) and blocks[0] > blocks[1]
                clean = streams == (1, 1) and blocks[0] >= blocks[1]
                there = v["document"][row, a] == v["document"][row, b] and v["document"][row, a] >= 0
                assert bool(v["sees"][row, a, b]) == (bool(there and (inside or earlier or clean)) or a == b), (a, b)


def one_time_a_block(f, block):
    found = {}
    for row, i in f["valid"].nonzero().tolist():
        key = (row, int(f["document"][row, i]), int(f["place"][row, i]) // block)
        found.setdefault(key, set()).add(float(f["t"][row, i]))
    assert all(len(times) == 1 for times in found.values())
    assert len({t for times in found.values() for t in times}) > len(f["x"])


def loss(forwards, models):
    (f,) = forwards
    sees(f, f["block"])
    one_time_a_block(f, f["block"])
    total, each, _ = summed(f, lambda row, i: 1.0 / f["t"][row, i])
    return total / f["answer"].sum(), each


GRAMMAR_STEPS = 700
