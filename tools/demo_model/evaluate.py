"""Measures demo.gguf from the file itself (its Q8_0-rounded weights): perplexity on held-out text, stories, facts, copying.

`python3 evaluate.py [demo.gguf] [--seed 1]`; it exits 1 when one of the acceptance rules fails.
"""

import argparse
import math
import os
import random
import sys

import torch
import torch.nn.functional as F

import bpe
import chat_samples
import gguf_writer
import grammar_check
import model
import story_words as words
from story_grammar import Story, mentions, made_up_word, repeated_ngram, with_article

HERE = os.path.dirname(os.path.abspath(__file__))
ASKED = """fox bear rabbit hedgehog owl duck cow horse dog cat frog mouse lion tiger elephant penguin whale crab bee
snail""".split()
LONGEST_ANSWER = 250
SAMPLING = {"greedy": dict(temperature=0.0),
            "temp 0.1, top_k 50, repeat 1.05 over 64 tokens": dict(temperature=0.1, top_k=50, repeat_penalty=1.05),
            "temp 0.1, top_k 50, repeat 1.05 over everything": dict(temperature=0.1, top_k=50, repeat_penalty=1.05,
                                                                    window=4096)}
OTHER_WORDINGS = [("tell me a story about a dog", ["dog"]), ("story about owl", ["owl"]), ("Story about cats", ["cat"]),
                  ("Tell me a story about a fox and a bear.", ["fox", "bear"]), ("a story with a turtle please",
                                                                                 ["turtle"]),
                  ("Can you write a short story with a hedgehog in it?", ["hedgehog"]), ("i want a story about a dragon",
                                                                                         ["dragon"]),
                  ("Please tell me a bedtime story about a little robot", ["robot"]), ("write a story about a unicorn!",
                                                                                       ["unicorn"]),
                  ("Tell me a story about an elephant named Bob.", ["elephant"])]


def load(path):
    """(weights, config, tokenizer) from the file alone."""
    keys, arrays = gguf_writer.read(path)
    a = "lfm2moe."
    config = model.Config(
        n_vocab=keys[a + "vocab_size"], n_embd=keys[a + "embedding_length"], n_head=keys[a + "attention.head_count"],
        head_dim=keys[a + "embedding_length"] // keys[a + "attention.head_count"],
        n_head_kv=tuple(keys[a + "attention.head_count_kv"]), n_ff=keys[a + "feed_forward_length"],
        n_ff_exp=keys[a + "expert_feed_forward_length"], n_expert=keys[a + "expert_count"],
        n_expert_used=keys[a + "expert_used_count"], n_dense=keys[a + "leading_dense_block_count"],
        n_taps=keys[a + "shortconv.l_cache"], rope_base=keys[a + "rope.freq_base"],
        eps=keys[a + "attention.layer_norm_rms_epsilon"])
    tokenizer = bpe.Tokenizer([merge.split(" ") for merge in keys["tokenizer.ggml.merges"]])
    if tokenizer.tokens != keys["tokenizer.ggml.tokens"]:
        raise ValueError("the file's tokens differ from those that its merges make")
    return {name: torch.from_numpy(array) for name, array in arrays.items()}, config, tokenizer


def write_held_out(n_stories=48):
    """held_out.txt: stories whose hero, name and home no training text combines, a blank line between them."""
    stories = [Story(random.Random(f"held out/{i}"), "held").text for i in range(n_stories)]
    with open(os.path.join(HERE, "held_out.txt"), "w") as file:
        file.write("\n\n".join(stories) + "\n")


@torch.no_grad()
def token_losses(weights, config, ids):
    """Negative log-likelihood of every token but the first."""
    h = model.hidden_states(weights, config, torch.tensor([ids[:-1]]))[0]
    return F.cross_entropy(h @ weights["token_embd.weight"].t(), torch.tensor(ids[1:]), reduction="none").tolist()


def _show_perplexity(name, losses):
    print(f"perplexity, {name}: {math.exp(sum(losses) / len(losses)):.3f} over {len(losses)} tokens")


def perplexities(weights, config, tokenizer):
    text = open(os.path.join(HERE, "held_out.txt")).read()
    losses = []
    for story in text.strip().split("\n\n"):
        losses += token_losses(weights, config, [bpe.BOS] + tokenizer.encode(story))
    _show_perplexity("held_out.txt, story by story after <|startoftext|>", losses)
    ids, losses = tokenizer.encode(text), []
    for start in range(0, len(ids), 511):
        losses += token_losses(weights, config, [bpe.BOS] + ids[start:start + 511])
    _show_perplexity("held_out.txt, windows of 512 tokens, each <|startoftext|> and 511 of the file", losses)
    losses, answers = [], []
    assistant = tokenizer.encode("assistant")[0]
    for number in range(300):
        ids = tokenizer.encode(chat_samples.sample(random.Random(f"held chat/{number}"), "held").rstrip("\n"))
        found, inside = token_losses(weights, config, ids), False
        losses += found
        for index in range(2, len(ids)):
            if ids[index - 2] == bpe.IM_START:
                inside = ids[index - 1] == assistant
            elif inside:
                answers.append(found[index - 1])
            inside = inside and ids[index] != bpe.IM_END
    _show_perplexity("300 held-out documents (chats and stories), all tokens", losses)
    _show_perplexity("the same, assistant's answers only", answers)


def ask(loaded, questions, **sampling):
    """[(answer, tokens, ended)] for each question (a string, or a list of (role, content))."""
    weights, config, tokenizer = loaded
    chats = [[("user", q)] if isinstance(q, str) else q for q in questions]
    prompts = [tokenizer.encode(chat_samples.render(chat, with_end=False)) for chat in chats]
    outputs = model.generate(weights, config, prompts, {bpe.IM_END, bpe.EOS}, **sampling)
    return [(tokenizer.decode(ids), len(ids), ids[-1] == bpe.IM_END) for ids in outputs]


def acceptance(loaded, seed):
    """Stories about ASKED under each sampling: the number that fail."""
    failed = 0
    for name, sampling in SAMPLING.items():
        answers = ask(loaded, [f"Tell me a story about {with_article(noun)}." for noun in ASKED], seed=seed, **sampling)
        good, derivable, lengths, least, themes = 0, 0, [], 99, set()
        for noun, (text, length, ended) in zip(ASKED, answers):
            found = grammar_check.problems(text, noun)
            if not ended or length > LONGEST_ANSWER:
                found.append(f"not ended in {LONGEST_ANSWER} tokens")
            derivable += "not derivable" not in found
            themes.add(grammar_check.theme_of(text, noun))
            hard = [p for p in found if p != "not derivable"]
            good += not hard
            lengths.append(length)
            least = min(least, mentions(text.lower(), noun))
            if found:
                print(f"  {noun}: {'; '.join(found)}\n    {text}")
        failed += len(ASKED) - good
        print(f"stories, {name}: {good} of {len(ASKED)} accepted, {derivable} derivable from the grammar, "
              f"{len(themes - {None})} themes, hero named at least {least} times, {min(lengths)}-{max(lengths)} tokens")
    return failed


def wordings(loaded):
    answers = ask(loaded, [question for question, _ in OTHER_WORDINGS])
    good = 0
    for (question, nouns), (text, _, ended) in zip(OTHER_WORDINGS, answers):
        fine = ended and not repeated_ngram(text) and all(mentions(text.lower(), noun) >= 2 for noun in nouns)
        good += fine
        if not fine:
            print(f"  {question}\n    {text}")
    print(f"other wordings: {good} of {len(OTHER_WORDINGS)} accepted")


def copying(loaded, seed):
    rng = random.Random(f"copy/{seed}")
    for kind, nouns in (("never trained", words.NEVER_TRAINED), ("made up", [made_up_word(rng) for _ in range(20)])):
        answers = ask(loaded, [f"Tell me a story about {with_article(noun)}." for noun in nouns])
        named = [mentions(text.lower(), noun) >= 2 for noun, (text, _, _) in zip(nouns, answers)]
        derived = sum(grammar_check.theme_of(text, noun) is not None for noun, (text, _, _) in zip(nouns, answers))
        missed = [noun for noun, fine in zip(nouns, named) if not fine]
        print(f"copying, nouns {kind}: {sum(named)} of {len(nouns)} named twice or more, {derived} derivable; "
              f"missed: {missed}")


def facts(loaded):
    asked = []
    for animal in words.ANIMALS:
        x = with_article(animal.noun)
        a = x[0].upper() + x[1:]
        asked.append((f"What sound does {x} make?", f"{a} says {animal.sound}." if animal.sound else f"{a} is very quiet."))
        asked.append((f"Where does {x} live?", f"{a} lives {animal.home}."))
        asked.append((f"What does {x} eat?", f"{a} eats {animal.food}."))
    answers = ask(loaded, [question for question, _ in asked], n_new=40)
    right = sum(text == wanted for (_, wanted), (text, _, _) in zip(asked, answers))
    print(f"facts about animals: {right} of {len(asked)} answers exactly right")


def samples(loaded):
    questions = ["Tell me a story about a fox.", "Hi", "Who are you?", "Thank you.", "What sound does a cow make?",
                 "What is the capital of France?"]
    for question, (text, _, _) in zip(questions, ask(loaded, questions)):
        print(f"\n> {question}\n{text}")
    chat = [("user", "Hello!"), ("assistant", "Hello! Would you like to hear a story?"), ("user",
                                                                                          "Yes, about a cat, please.")]
    print(f"\n> (after a greeting) {chat[-1][1]}\n{ask(loaded, [chat])[0][0]}")
    weights, config, tokenizer = loaded
    prompt = [bpe.BOS] + tokenizer.encode("Once upon a time")
    output = model.generate(weights, config, [prompt], {bpe.EOS, bpe.IM_END})[0]
    print(f"\n(plain) Once upon a time{tokenizer.decode(output)}")


def report(path, seed=1):
    """Prints every figure; returns how many stories broke an acceptance rule."""
    loaded = load(path)
    print(f"{os.path.basename(path)}: {os.path.getsize(path)} bytes")
    perplexities(*loaded)
    failed = acceptance(loaded, seed)
    wordings(loaded)
    copying(loaded, seed)
    facts(loaded)
    samples(loaded)
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", nargs="?", default=os.path.join(HERE, "demo.gguf"))
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    sys.exit(1 if report(options.path, options.seed) else 0)


if __name__ == "__main__":
    main()
