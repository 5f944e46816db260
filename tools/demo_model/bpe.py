"""Byte-level BPE with the "lfm2" pre-tokenizer: training, encoding, decoding. Standard library only.

The pre-tokenizer's \\p{L} and \\p{N} are replaced by ASCII classes: the training text is ASCII. Text in other scripts still
encodes (its bytes are all in the vocabulary), only its boundaries could differ from the runtime's.
"""

import collections
import re

SPECIALS = ["<|pad|>", "<|startoftext|>", "<|endoftext|>", "<|fim_pre|>", "<|fim_mid|>", "<|fim_suf|>", "<|im_start|>",
            "<|im_end|>"]
PAD, BOS, EOS, IM_START, IM_END = 0, 1, 2, 6, 7
TYPE_NORMAL, TYPE_CONTROL = 1, 3

_WORDS = re.compile(r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\nA-Za-z0-9]?[A-Za-z]+|[0-9]{1,3}"
                    r"| ?[^\sA-Za-z0-9]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
_SPECIAL = re.compile("(" + "|".join(re.escape(s) for s in SPECIALS) + ")")


def byte_alphabet():
    """GPT-2's printable stand-in for each of the 256 bytes, as a list indexed by byte."""
    printable = set(range(33, 127)) | set(range(161, 173)) | set(range(174, 256))
    alphabet, extra = [], 0
    for byte in range(256):
        if byte in printable:
            alphabet.append(chr(byte))
        else:
            alphabet.append(chr(256 + extra))
            extra += 1
    return alphabet


ALPHABET = byte_alphabet()
_BYTE_OF = {character: byte for byte, character in enumerate(ALPHABET)}


def pre_tokens(text):
    """The text cut into pre-tokens, each written in the byte alphabet."""
    return ["".join(ALPHABET[b] for b in word.encode("utf-8")) for word in _WORDS.findall(text)]


def train_merges(texts, n_tokens):
    """Merges that make n_tokens different tokens, the most frequent pair first. Ties go to the smaller pair, so that the
    result does not depend on hashing."""
    counts = collections.Counter()
    for text in texts:
        for part in _SPECIAL.split(text):
            if part not in SPECIALS:
                counts.update(pre_tokens(part))
    words = [[list(word), count] for word, count in sorted(counts.items())]
    pairs, where = collections.Counter(), collections.defaultdict(set)
    for index, (pieces, count) in enumerate(words):
        for pair in zip(pieces, pieces[1:]):
            pairs[pair] += count
            where[pair].add(index)
    merges, made = [], set()
    while len(made) < n_tokens and pairs:
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        if pairs[best] < 2:
            break
        merges.append(best)
        made.add(best[0] + best[1])
        for index in where.pop(best):
            pieces, count = words[index]
            for pair in zip(pieces, pieces[1:]):
                pairs[pair] -= count
            words[index][0] = pieces = _merge(pieces, best)
            for pair in zip(pieces, pieces[1:]):
                pairs[pair] += count
                where[pair].add(index)
        del pairs[best]
    return merges


def _merge(pieces, pair):
    merged, i = [], 0
    while i < len(pieces):
        if i + 1 < len(pieces) and (pieces[i], pieces[i + 1]) == pair:
            merged.append(pieces[i] + pieces[i + 1])
            i += 2
        else:
            merged.append(pieces[i])
            i += 1
    return merged


class Tokenizer:
    """tokens[id] in the byte alphabet; ids 0-7 are control tokens, then the 256 bytes, then what the merges make."""

    def __init__(self, merges):
        self.merges = [tuple(pair) for pair in merges]
        self.tokens = SPECIALS + ALPHABET + list(dict.fromkeys(a + b for a, b in self.merges))
        self.types = [TYPE_CONTROL] * len(SPECIALS) + [TYPE_NORMAL] * (len(self.tokens) - len(SPECIALS))
        self.id_of = {token: i for i, token in enumerate(self.tokens)}
        self._rank = {pair: rank for rank, pair in enumerate(self.merges)}
        self._cache = {}

    def encode(self, text):
        """Ids of the text; control tokens written out in it become their ids. No token is added."""
        ids = []
        for part in _SPECIAL.split(text):
            if part in SPECIALS:
                ids.append(SPECIALS.index(part))
                continue
            for word in pre_tokens(part):
                found = self._cache.get(word)
                if found is None:
                    found = self._cache[word] = self._encode_word(word)
                ids.extend(found)
        return ids

    def _encode_word(self, word):
        if word in self.id_of:
            return [self.id_of[word]]
        pieces = list(word)
        while len(pieces) > 1:
            pair = min(zip(pieces, pieces[1:]), key=lambda p: self._rank.get(p, len(self.merges)))
            if pair not in self._rank:
                break
            pieces = _merge(pieces, pair)
        return [self.id_of[piece] for piece in pieces]

    def decode(self, ids):
        """Text of the ids, control tokens left out."""
        data = bytes(_BYTE_OF[c] for i in ids if i >= len(SPECIALS) for c in self.tokens[i])
        return data.decode("utf-8", "replace")
