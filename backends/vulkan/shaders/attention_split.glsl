// How the keys of a sequence's single token are shared out among groups.

/// Split s takes this many keys, from s times this on; the last splits may have none.
uint keys_per_split(uint n_keys, uint n_splits) {
    const uint even = (n_keys + n_splits - 1) / n_splits;
    return (even + 63) / 64 * 64;
}
