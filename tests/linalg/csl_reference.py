"""Words of a Tiled-CSL tile, packed as the method says, step by step."""

import numpy as np

BANKS, LANES, VECTOR = 32, 32, 4


def pack_tile(tile, reorder):
    """Words of a float16 tile (128, 64), padded to whole vectors, in row order or reordered against bank conflicts."""
    rows, columns = np.nonzero(tile)  # NaN counts as non-zero
    place = locations(rows, columns)
    words = tile[rows, columns].view(np.uint16).astype(np.uint32) | (place.astype(np.uint32) << 16)
    missing = -len(words) % VECTOR
    zeros = locations(*np.nonzero(tile == 0))
    if not reorder:
        return np.concatenate([words, np.full(missing, zeros[0] << 16 if missing else 0, np.uint32)])
    lists = [[] for _ in range(BANKS)]
    for word, bank in zip(words.tolist(), (place % 64 // 2).tolist()):
        lists[bank].append(word)
    if missing:
        bank_of_zero = zeros % 64 // 2
        padding = {int(b): int(zeros[np.argmax(bank_of_zero == b)]) << 16 for b in np.unique(bank_of_zero)}
        for _ in range(missing):  # a bank without a zero cannot take padding
            shortest = min(padding, key=lambda b: (len(lists[b]), b))
            lists[shortest].append(padding[shortest])
    return deal(lists)


def locations(rows, columns):
    return rows * 64 + (columns ^ (rows % 8 << 3))


def deal(lists):
    vectors = sum(map(len, lists)) // VECTOR
    rounds, tail = divmod(vectors, LANES)
    out = np.zeros(VECTOR * vectors, np.uint32)
    for base, lanes in [
        (rounds * LANES, tail),
        *((r * LANES, LANES) for r in range(rounds)),
    ]:  # the tail first
        for v in range(VECTOR):
            for lane in range(lanes):
                longest = max(range(BANKS), key=lambda b: (len(lists[b]), -b))
                out[(base + lane) * VECTOR + v] = lists[longest].pop()
    return out
